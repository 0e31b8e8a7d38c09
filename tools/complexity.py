"""Count a model: `python tools/complexity.py attention56 attention92 --size 224 320`."""

import sys

from ranet_mm.cli.complexity import main

if __name__ == '__main__':
    sys.exit(main())
