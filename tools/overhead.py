"""Measure what the runner adds to a training step: `python tools/overhead.py CONFIG`."""

import sys

from ranet_mm.cli.overhead import main

if __name__ == '__main__':
    sys.exit(main())
