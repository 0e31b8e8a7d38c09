"""The console command: `ranet NAME ...` runs the program `ranet_mm/cli/NAME.py`.

It stands outside the package, whose import brings torch and timm, so that `ranet --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

# What each does; its module has the same name, with underscores.
COMMANDS = {
    'models': 'list the models: parameters, input, weights',
    'configs': "list the package's own configs",
    'predict': 'classify images',
    'attend': 'draw what a network attends to in images',
    'train': 'train a model from a config',
    'test': 'evaluate a checkpoint',
    'report': 'write one page of HTML about a run: figures, mistakes, and what it attends to',
    'verify': "check a run's files, data, versions and metrics against its record",
    'sweep': 'run the grids of sweep files',
    'publish': 'strip a checkpoint down to weights that others load',
    'card': 'measure weights of a run, ship them with the package and write their card',
    'convert': 'convert weights from and to other implementations',
    'export': 'write ONNX, TorchScript or torch.export, and check the file',
    'complexity': 'count parameters, multiply-adds, activations and depth',
    'faithfulness': 'measure whether masks mean anything',
    'benchmark': 'measure images/s and peak memory, models side by side',
    'data-speed': 'measure what the data of a config cost, ordinary and on the device',
    'overhead': 'measure what the runner adds to a step of a bare loop',
    'print-config': 'print a config as it runs',
    'browse-dataset': 'draw what the network sees in training',
    'vis-scheduler': 'learning rate and momentum of every iteration',
    'confusion-matrix': 'which classes are taken for which, from dumped predictions',
    'eval-metric': 'metrics of dumped predictions',
    'make-shapes': 'write images of shapes with boxes and masks',
    'metafile': "bring a checkout's model index up to date",
    'tables': "write the tables and plots of a checkout's documents",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names with the others; returns its exit code."""
    name, *rest = [*(sys.argv[1:] if argv is None else argv)] or ['--help']
    if name in ('-h', '--help'):
        print(usage())
        return 0
    if name == '--version':
        print(f'ranet_mm {import_module("ranet_mm").__version__}')
        return 0
    if name not in COMMANDS:
        print(f'error: command {name!r} is not known: allowed are {", ".join(COMMANDS)}', file=sys.stderr)
        return 2
    if sys.stderr.isatty() and os.environ.get('RANK', '0') == '0':  # imports take seconds; logs need no such line
        print(f'ranet {name}: loading', file=sys.stderr, flush=True)
    return import_module(f'ranet_mm.cli.{name.replace("-", "_")}').main(rest)


def usage() -> str:
    width = max(map(len, COMMANDS))
    rows = (f'  {name.ljust(width)}  {text}' for name, text in COMMANDS.items())
    return '\n'.join(['usage: ranet COMMAND ... (ranet COMMAND --help lists its options)', '', *rows])


if __name__ == '__main__':
    sys.exit(main())
