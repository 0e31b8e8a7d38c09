"""Measure whether masks mean anything: without them, by the pixels that they mark, on objects, and their statistics."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Subset

from .. import files
from ..deployment import deploy, has_deploy_form
from ..lab import faithful
from ..lab.classifier import load as load_model
from ..lab.tested import load as load_images
from .program import COUNT, FILE, command, option, table

BATCH = 100
OBJECTS = 100  # generated images


@command(
    option('data', help='folder of test images, one subfolder for each class; or digits'),
    option('--model', help='name in timm, with the tag of its weights'),
    '--checkpoint',
    option('--images', **COUNT, default=1000, help='images, drawn at random, on which masks are replaced'),
    option('--curves', **COUNT, default=200, help='of these, how many for deletion and insertion'),
    option('--title', help='what the network is called in tables; by default MODEL, or the name of FILE'),
    option('--training', metavar='COMMAND', help='what trained it; tables compare networks that say so'),
    option('--json', **FILE, help='write everything to this file too'),
)
def main(args: Namespace) -> None:
    """Print a table of each part."""
    from timm.data import create_transform, resolve_model_data_config

    model = load_model(args.model, args.checkpoint)
    transform = create_transform(**resolve_model_data_config(model))
    images, labels = drawn(args.data, transform, model, args.images)
    torch.manual_seed(0)
    found: dict[str, Any] = dict(
        kind='attention', model=args.title or args.model or Path(args.checkpoint).name,
        **({'training': args.training} if args.training else {}), data=os.path.normpath(args.data),
        images=len(images), curve_images=min(args.curves, len(images)), torch=torch.__version__,
        statistics=faithful.statistics(model, images[:BATCH]),
        objects=faithful.on_objects(model, *objects(transform)) if images.shape[1] == 3 else [],
        curves=faithful.curves(model, images[: args.curves], faithful.methods(model)),
    )  # fmt: skip
    found['ablations'] = faithful.ablations(faster(model), images, labels, BATCH)  # the last, as it changes the model
    if args.json:
        files.write_json(args.json, found)
    for part in ('ablations', 'curves', 'objects', 'statistics'):
        print(f'\n{part}\n{table(cells(found[part]))}' if found[part] else '')


def drawn(data: str, transform: Callable, model: nn.Module, count: int) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and labels (N,), drawn at random, without putting one back."""
    pairs, _ = load_images(data, transform, getattr(model, 'pretrained_cfg', {}).get('label_names'))
    chosen = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))[:count]
    images, labels = zip(*Subset(pairs, chosen.tolist()), strict=True)
    return torch.stack(images), torch.tensor(labels)


def objects(transform: Callable) -> tuple[Tensor, Tensor]:
    """Generated images of 64 x 64 pixels with shapes, and which pixels are of a shape, (N, H, W)."""
    from ..mm.data.shapes import ShapesCfg, samples

    found = [*samples(ShapesCfg(test=OBJECTS), 'test')]
    normalize = transform.transforms[-1]
    images = torch.stack([torch.from_numpy(sample.image).permute(2, 0, 1) / 255 for sample in found])
    return normalize(images), torch.from_numpy(np.stack([sample.classes() > 0 for sample in found]))


def faster(model: nn.Module) -> nn.Module:
    return deploy(model) if has_deploy_form(model) else model


def cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    """A heading and a line for each row; of a curve, its area."""
    flat = [{**row, **{k: v['area'] for k, v in row.items() if isinstance(v, dict)}} for row in rows]
    shown = [[f'{v:.3f}' if isinstance(v, float) else str('all' if v is None else v) for v in r.values()] for r in flat]
    return [[*flat[0]], *shown]


parse_args = main.parse_args
