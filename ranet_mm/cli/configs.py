"""List the package's own configs by the names that every program takes."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from fnmatch import fnmatch

from ..mm import config
from . import program


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = program.Parser('configs', __doc__)
    parser.share('pattern')
    return parser.parse_args(argv)


def configs(args: argparse.Namespace) -> None:
    """Print each name with the first line of the file.

    Raises:
        ValueError: No name fits.
    """
    paths = {name: path for name, path in config.own_configs().items() if fnmatch(name, args.pattern)}
    if not paths:
        raise ValueError(f'no config has a name like {args.pattern!r}: leave it out to list them all')
    width = max(map(len, paths))
    for name, path in paths.items():
        text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
        print(f'{name.ljust(width)}  {text.partition(chr(10))[0]}'.rstrip())


main = program.entry(configs, parse_args)
