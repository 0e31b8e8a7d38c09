"""Draw what the network sees: images after the pipeline, the collation and the data preprocessor of training."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .. import files
from ..mm import config
from ..mm.data.restored import restored
from .program import COUNT, command, config_options, option

LOADERS = {'train': 'train_dataloader', 'val': 'val_dataloader', 'test': 'test_dataloader'}
INCHES = 1.6  # of an image's side in the drawing


@command(
    config_options,
    option('out', metavar='FILE.png', type=Path, help='where to draw'),
    option('--split', choices=LOADERS, default='train', help='which data, and as in which mode'),
    option('--number', **COUNT, default=40, help='images to draw'),
    option('--columns', **COUNT, default=8, help='images in a row'),
)
def main(args: Namespace) -> None:
    """Draw the first images of the loader, and say what they are."""
    cfg = config.load_config(args)
    if not cfg.get(LOADERS[args.split]):
        raise ValueError(f'config file {args.config!r} has no {LOADERS[args.split]}')
    shown = list(images(cfg, args.split, args.number))
    draw(args.out, shown, args.columns)
    height, width = shown[0][0].shape[-2:]
    print(f'{len(shown)} images of {args.split}, the first of {height}x{width} pixels, drawn to {args.out}')


def images(cfg: config.Config, split: str, number: int) -> Iterator[tuple[Tensor, str]]:
    """Images as the network gets them, (3, H, W) in 0..1, each with its label."""
    loader, preprocessor = build(cfg, LOADERS[split])
    names = getattr(loader.dataset, 'metainfo', {}).get('classes') or ()
    for batch in loader:
        with torch.no_grad():
            seen = preprocessor(batch, split == 'train')
        for image, sample in zip(seen['inputs'], seen.get('data_samples') or batch['data_samples'], strict=True):
            yield restored(image, preprocessor), label(sample, names)
            number -= 1
            if not number:
                return


def build(cfg: config.Config, name: str) -> tuple[DataLoader, nn.Module]:
    """A loader in this process, and the model's preprocessor with the batch augmentations that the model asks for."""
    from mmengine.registry import MODELS, init_default_scope
    from mmengine.runner import Runner, set_random_seed

    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    set_random_seed(cfg.get('randomness', {}).get('seed') or 0)
    loader = Runner.build_dataloader(dict(cfg[name], num_workers=0, persistent_workers=False), seed=0)
    with torch.random.fork_rng():
        model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model})
    return loader, model.data_preprocessor


def label(sample: Any, names: Sequence[str]) -> str:
    """The class; for a mixture of several their shares; for a detector's image the number of its boxes."""
    if 'gt_instances' in sample:
        return f'{len(sample.gt_instances)} objects'
    shares = sample.get('gt_score')
    if shares is not None:
        found = [(share, i) for i, share in enumerate(shares.tolist()) if share > 0]
        if len(found) > 1:
            return ' '.join(f'{share:.2f} {_name(i, names)}' for share, i in sorted(found, reverse=True)[:2])
    labels = sample.get('gt_label')
    return '' if labels is None else ', '.join(_name(int(i), names) for i in labels.flatten())


def _name(index: int, names: Sequence[str]) -> str:
    return names[index] if index < len(names) else str(index)


def draw(path: Path, shown: Sequence[tuple[Tensor, str]], columns: int) -> None:
    from matplotlib.figure import Figure

    rows, columns = math.ceil(len(shown) / columns), min(columns, len(shown))
    figure = Figure((INCHES * columns, INCHES * 1.2 * rows), layout='constrained')
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis('off')
    for axes, (image, text) in zip(figure.axes, shown, strict=False):
        axes.imshow(image.permute(1, 2, 0).numpy(), interpolation='nearest')
        axes.set_title(text, fontsize=8)
    with files.whole(path) as draft:
        figure.savefig(draft, dpi=150)


parse_args = main.parse_args
