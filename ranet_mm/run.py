"""The old name of `python -m ranet_mm.timm`, for one release."""

import sys

from .timm.__main__ import main

if __name__ == '__main__':
    print('python -m ranet_mm.run is now python -m ranet_mm.timm', file=sys.stderr)
    main()
