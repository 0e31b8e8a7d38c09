"""Run a script that knows nothing of this package, with its models registered in timm.

python -m ranet_mm.timm.__main__ validate.py DATA --model attention56_cifar --pretrained
torchrun --nproc-per-node 8 -m ranet_mm.timm.__main__ train.py --data-dir DATA --model attention56
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Hand `sys.argv` without its first entry to the script that the second one names, as Python would."""
    if len(sys.argv) < 2:
        sys.exit('error: name a script: python -m ranet_mm.timm.__main__ SCRIPT [options of the script]')
    script = Path(sys.argv[1])
    if not script.is_file():
        sys.exit(f'error: script {str(script)!r} does not exist')
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(script.resolve().parent))
    runpy.run_path(str(script), run_name='__main__')


if __name__ == '__main__':
    main()
