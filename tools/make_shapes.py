"""Write images of shapes with boxes and masks: `python tools/make_shapes.py data/shapes`."""

import sys

from ranet_mm.cli.shapes import main

if __name__ == '__main__':
    sys.exit(main())
