"""Print a config as it runs: bases merged, options applied, and what this machine fills in."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..mm import config
from . import program

if TYPE_CHECKING:
    from mmengine.config import Config


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = program.Parser('print-config', __doc__)
    parser.add_config()
    parser.add_argument('--field', metavar='NAME', help='this part alone, as in model.backbone')
    parser.add_argument('--out', metavar='FILE.py', type=Path, help='write it to this file instead')
    return parser.parse_args(argv)


def print_config(args: argparse.Namespace) -> None:
    """Print the config as Python, or write it where it is asked for.

    Raises:
        KeyError: The config has no such field.
        FileExistsError: The file to write exists.
    """
    cfg = config.load_config(args)
    if args.field:
        cfg = type(cfg)({args.field.rpartition('.')[2]: part(cfg, args.field)})
    if args.out is None:
        print(cfg.pretty_text.rstrip())
        return
    if args.out.exists():
        raise FileExistsError(f'{str(args.out)!r} exists: choose another name')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(cfg.pretty_text, encoding='utf-8')
    print(f'written to {args.out}')


def part(cfg: Config, field: str) -> Any:
    """What a dotted name stands for; a number counts in a list."""
    found = cfg.to_dict()
    for name in field.split('.'):
        keys = list(found) if isinstance(found, dict) else list(map(str, range(len(found or ()))))
        if name not in keys:
            raise KeyError(f'field {field!r} is not in the config: in place of {name!r} there are {", ".join(keys)}')
        found = found[name] if isinstance(found, dict) else found[int(name)]
    return found


main = program.entry(print_config, parse_args)
