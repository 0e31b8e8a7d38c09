"""Count parameters, multiply-adds, activations and depth of models."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

import torch
from torch import nn

from ..arch import ARCHS, resolve_arch
from ..complexity import complexity, facts
from ..mm import config
from .program import command, option, parse_options, table

COLUMNS = ('model', 'size', 'params', 'MACs', 'activations', 'depth')


@command(
    option('models', nargs='*', help='names of variants or of any timm model, or config files'),
    option('--family', action='store_true', help='all variants of this package'),
    option('--size', nargs='+', type=int, help='sides of the input in pixels (native by default)'),
    option('--num-classes', type=int, help='classes of the classifier (native by default)'),
    '--options',
    '--json',
)
def main(args: Namespace) -> None:
    names = [*args.models, *(ARCHS if args.family else ())]
    if not names:
        raise ValueError(f'no model is given: name one of {", ".join(ARCHS)}, or say --family')
    options = parse_options(args.options)
    sizes = args.size or [None]
    counted = [(name, count(name, size, args.num_classes, options)) for name in names for size in sizes]
    if args.json:
        print(json.dumps(dict(counted) if len(sizes) == 1 else [dict(name=n, **c) for n, c in counted], indent=1))
        return
    rows = [
        (name, c['img_size'], *(f'{c[key]:,}' for key in ('params', 'macs', 'activations')), c['depth'] or '-')
        for name, c in counted
    ]
    print(table([COLUMNS, *rows]))


def count(name: str, size: int | None, num_classes: int | None, options: dict[str, Any]) -> dict[str, Any]:
    """The counts of a variant, of a config's model or of a timm model.

    Raises:
        ValueError: The name is not known.
        FileNotFoundError: There is no such config file.
    """
    if name in ARCHS:
        return facts(resolve_arch(name, **options), size, num_classes)
    if name.endswith('.py'):
        model = built(name)
        arch = getattr(model.backbone, 'arch', None)
        native, depth = getattr(arch, 'img_size', 224), getattr(arch, 'depth', None)
    else:
        import timm

        if not timm.is_model(name):
            known = ', '.join(ARCHS)
            raise ValueError(f'model {name!r} is not known: allowed are {known}, timm models and config files')
        classes = {} if num_classes is None else dict(num_classes=num_classes)
        model = timm.create_model(name, **classes, **options)
        native, depth = model.pretrained_cfg['input_size'][-1], None
    size = size or native
    chans = getattr(getattr(model, 'backbone', model), 'in_chans', 3)
    counts = complexity(model.to('meta'), torch.empty(1, chans, size, size, device='meta'))
    return dict(**counts, depth=depth, img_size=size)


def built(path: str) -> nn.Module:
    """The model of a config."""
    from mmengine.registry import MODELS, init_default_scope

    cfg = config.read_config(path)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    return MODELS.build(cfg.model)
