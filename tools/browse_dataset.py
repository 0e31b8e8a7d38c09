"""Draw what the network sees: `python tools/browse_dataset.py configs/ranet/att56_digits.py digits.png`."""

import sys

from ranet_mm.cli.browse_dataset import main

if __name__ == '__main__':
    sys.exit(main())
