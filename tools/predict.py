"""Classify images: `python tools/predict.py IMAGE_OR_FOLDER`."""

import sys

from ranet_mm.cli.predict import main

if __name__ == '__main__':
    sys.exit(main())
