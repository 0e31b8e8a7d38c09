"""Train a model: `python tools/train.py configs/ranet/att56_digits.py`."""

import sys

from ranet_mm.cli.train import main

if __name__ == '__main__':
    sys.exit(main())
