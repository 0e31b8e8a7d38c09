"""Evaluate a checkpoint: `python tools/test.py configs/ranet/att56_digits.py work_dirs/att56_digits/epoch_8.pth`."""

import sys

from ranet_mm.cli.test import main

if __name__ == '__main__':
    sys.exit(main())
