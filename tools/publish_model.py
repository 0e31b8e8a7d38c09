"""Strip a checkpoint: `python tools/publish_model.py work_dirs/att56_digits/epoch_10.pth published/att56_digits`."""

import sys

from ranet_mm.cli.publish import main

if __name__ == '__main__':
    sys.exit(main())
