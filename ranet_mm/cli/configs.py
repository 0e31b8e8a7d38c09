"""List the package's own configs by the names that every program takes."""

from __future__ import annotations

import ast
from argparse import Namespace
from fnmatch import fnmatch

from ..mm import config
from .program import command, table


@command('pattern')
def main(args: Namespace) -> None:
    """Print each name with the first line of the file."""
    paths = {name: path for name, path in config.own_configs().items() if fnmatch(name, args.pattern)}
    if not paths:
        raise ValueError(f'no config has a name like {args.pattern!r}: leave it out to list them all')
    texts = (ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or '' for path in paths.values())
    print(table([(name, text.partition('\n')[0]) for name, text in zip(paths, texts, strict=True)], left=2))
