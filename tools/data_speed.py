"""Measure what the data of a config cost: `python tools/data_speed.py configs/ranet/att56_cifar10-folder.py`."""

import sys

from ranet_mm.cli.data_speed import main

if __name__ == '__main__':
    sys.exit(main())
