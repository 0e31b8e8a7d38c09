"""Count parameters, multiply-adds, activations and depth of models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..arch import ARCHS, resolve_arch
from ..complexity import complexity, facts
from ..mm import config
from . import program

COLUMNS = ('model', 'size', 'params', 'MACs', 'activations', 'depth')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = program.Parser('complexity', __doc__)
    parser.add_argument('models', nargs='*', help='names of variants or of any timm model, or config files')
    parser.add_argument('--family', action='store_true', help='all variants of this package')
    parser.add_argument('--size', nargs='+', type=int, help='sides of the input in pixels (native by default)')
    parser.add_argument('--num-classes', type=int, help='classes of the classifier (native by default)')
    parser.share('--options', '--json')
    return parser.parse_args(argv)


def count(name: str, size: int | None, num_classes: int | None, options: dict[str, Any]) -> dict[str, Any]:
    """The counts of a variant, of a config's model or of a timm model.

    Raises:
        ValueError: The name is not known.
        FileNotFoundError: There is no such config file.
    """
    if name.endswith('.py'):
        return count_config(name, size)
    if name in ARCHS:
        return facts(resolve_arch(name, **options), size, num_classes)
    return count_timm(name, size, num_classes, options)


def count_config(path: str, size: int | None) -> dict[str, Any]:
    from mmengine.registry import MODELS, init_default_scope

    cfg = config.read_config(path)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    model = MODELS.build(cfg.model)
    arch = getattr(model.backbone, 'arch', None)
    size = size or getattr(arch, 'img_size', 224)
    counts = count_on_meta(model, size)
    return dict(**counts, depth=getattr(arch, 'depth', None), img_size=size)


def count_timm(name: str, size: int | None, num_classes: int | None, options: dict[str, Any]) -> dict[str, Any]:
    import timm

    if not timm.is_model(name):
        raise ValueError(f'model {name!r} is not known: allowed are {", ".join(ARCHS)}, timm models and config files')
    kwargs = options if num_classes is None else dict(num_classes=num_classes, **options)
    model = timm.create_model(name, **kwargs)
    size = size or model.pretrained_cfg['input_size'][-1]
    return dict(**count_on_meta(model, size), depth=None, img_size=size)


def count_on_meta(model: nn.Module, size: int) -> dict[str, int]:
    return complexity(model.to('meta'), torch.empty(1, 3, size, size, device='meta'))


def run(args: argparse.Namespace) -> None:
    names = [*args.models, *(ARCHS if args.family else ())]
    if not names:
        raise ValueError(f'no model is given: name one of {", ".join(ARCHS)}, or say --family')
    options = program.parse_options(args.options)
    sizes = args.size or [None]
    counted = [(name, count(name, size, args.num_classes, options)) for name in names for size in sizes]
    if args.json:
        print(json.dumps(dict(counted) if len(sizes) == 1 else [dict(name=n, **c) for n, c in counted], indent=1))
        return
    rows = [COLUMNS]
    for name, c in counted:
        numbers = (f'{c[key]:,}' for key in ('params', 'macs', 'activations'))
        rows.append((name, str(c['img_size']), *numbers, str(c['depth'] or '-')))
    print(program.table(rows))


main = program.entry(run, parse_args)
