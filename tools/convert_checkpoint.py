"""Convert weights: `python tools/convert_checkpoint.py a.pth b.pth --from timm --to openmmlab --arch attention56`."""

import sys

from ranet_mm.cli.convert import main

if __name__ == '__main__':
    sys.exit(main())
