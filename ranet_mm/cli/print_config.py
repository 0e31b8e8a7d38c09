"""Print a config as it runs: bases merged, options applied, and what this machine fills in."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from .. import files
from ..mm import config
from .program import command, config_options, option


@command(
    config_options,
    option('--field', metavar='NAME', help='this part alone, as in model.backbone'),
    option('--out', metavar='FILE.py', type=Path, help='write it to this file instead'),
)
def main(args: Namespace) -> None:
    """Print the config as Python, or write it where it is asked for."""
    cfg = config.load_config(args)
    if args.field:
        cfg = type(cfg)({args.field.rpartition('.')[2]: part(cfg, args.field)})
    if args.out is None:
        print(cfg.pretty_text.rstrip())
        return
    if args.out.exists():
        raise FileExistsError(f'{str(args.out)!r} exists: choose another name')
    files.write(args.out, cfg.pretty_text)
    print(f'written to {args.out}')


def part(cfg: config.Config, field: str) -> Any:
    """What a dotted name stands for; a number counts in a list.

    Raises:
        KeyError: The config has no such field.
    """
    found = cfg.to_dict()
    for name in field.split('.'):
        keys = list(found) if isinstance(found, dict) else list(map(str, range(len(found or ()))))
        if name not in keys:
            raise KeyError(f'field {field!r} is not in the config: in place of {name!r} there are {", ".join(keys)}')
        found = found[name] if isinstance(found, dict) else found[int(name)]
    return found
