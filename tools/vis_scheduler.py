"""Learning rate of every iteration: `python tools/vis_scheduler.py configs/ranet/att56_digits.py --out lr.png`."""

import sys

from ranet_mm.cli.vis_scheduler import main

if __name__ == '__main__':
    sys.exit(main())
