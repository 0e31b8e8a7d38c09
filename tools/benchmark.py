"""Measure models side by side: `python tools/benchmark.py attention56_cifar attention92_cifar`."""

import sys

from ranet_mm.cli.benchmark import main

if __name__ == '__main__':
    sys.exit(main())
