"""List the models: trunk depth, parameters, input, and the weights that ship with the package."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

from .. import weights
from ..arch import ARCHS
from ..complexity import Classifier, shapes_alone
from .program import command, option, table

COLUMNS = ('model', 'depth', 'params', 'input', 'classes', 'weights')


def row(name: str, tags: Sequence[str]) -> dict[str, Any]:
    """What the table says of one model."""
    arch = ARCHS[name]
    classes = 10 if arch.img_size <= 64 else 1000
    with shapes_alone():
        params = sum(p.numel() for p in Classifier(name, classes).parameters())
    return dict(
        name=name, depth=arch.depth, params=params, input_size=(3, arch.img_size, arch.img_size), num_classes=classes,
        weights=list(tags),
    )  # fmt: skip


@command('pattern', '--json', option('--pretrained', action='store_true', help='models with weights alone'))
def main(args: Namespace) -> None:
    tags = {name: [w.partition('.')[2] for w in weights.index() if w.partition('.')[0] == name] for name in ARCHS}
    names = [name for name in ARCHS if fnmatch(name, args.pattern) and (tags[name] or not args.pretrained)]
    if not names:
        of = ' with weights' if args.pretrained else ''
        raise ValueError(f'no model{of} has a name like {args.pattern!r}: there are {", ".join(ARCHS)}')
    rows = [row(name, tags[name]) for name in names]
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    cells = [
        (r['name'], r['depth'], f'{r["params"]:,}', 'x'.join(map(str, r['input_size'][1:])), r['num_classes'],
         ', '.join(r['weights']) or '-')
        for r in rows
    ]  # fmt: skip
    print(table([COLUMNS, *cells]))
