"""Metrics of dumped predictions: `python tools/analysis/eval_metric.py predictions.npz`."""

import sys

from ranet_mm.cli.eval_metric import main

if __name__ == '__main__':
    sys.exit(main())
