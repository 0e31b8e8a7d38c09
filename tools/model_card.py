"""Write a model card: `python tools/model_card.py NAME TEST_FOLDER RECORD`."""

import sys

from ranet_mm.cli.card import main

if __name__ == '__main__':
    sys.exit(main())
