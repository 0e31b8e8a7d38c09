"""What the old names of programs link to, for one release: says the new name, and runs it."""

import sys
from pathlib import Path

from ranet import main

RENAMED = dict(
    convert_checkpoint='convert', publish_model='publish', model_card='card', make_metafile='metafile',
    make_tables='tables',
)  # fmt: skip

if __name__ == '__main__':
    old = Path(sys.argv[0]).stem
    name = RENAMED.get(old, old).replace('_', '-')
    print(f'{sys.argv[0]} is now: ranet {name}', file=sys.stderr)
    sys.exit(main([name, *sys.argv[1:]]))
