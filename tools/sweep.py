"""Run the grids of sweep files: `python tools/sweep.py configs/sweeps/small/*.yml --dry-run`."""

import sys

from ranet_mm.cli.sweep import main

if __name__ == '__main__':
    sys.exit(main())
