"""Bring the model index up to date: `python tools/make_metafile.py`, or `--check` to compare."""

import sys

from ranet_mm.cli.metafile import main

if __name__ == '__main__':
    sys.exit(main())
