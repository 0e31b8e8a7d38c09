"""Print a config as it runs: `python tools/print_config.py configs/ranet/att56_digits.py --field model`."""

import sys

from ranet_mm.cli.print_config import main

if __name__ == '__main__':
    sys.exit(main())
