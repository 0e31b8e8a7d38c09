"""Export a model: `python tools/export.py attention56_cifar attention56_cifar.onnx`."""

import sys

from ranet_mm.cli.export import main

if __name__ == '__main__':
    sys.exit(main())
