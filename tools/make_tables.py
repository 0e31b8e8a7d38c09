"""Write the tables of the documents: `python tools/make_tables.py`, or `--check` to compare."""

import sys

from ranet_mm.cli.tables import main

if __name__ == '__main__':
    sys.exit(main())
