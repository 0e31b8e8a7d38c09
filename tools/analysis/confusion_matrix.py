"""Which classes are taken for which: `python tools/analysis/confusion_matrix.py predictions.npz`."""

import sys

from ranet_mm.cli.confusion_matrix import main

if __name__ == '__main__':
    sys.exit(main())
