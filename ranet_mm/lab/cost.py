"""How many images a config trains on, told without reading any."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import image_files

WRAPPERS = ('DeviceDataset', 'LabelNoise')  # have the images of the data set in them
CIFAR = {'cifar100': (500,) * 100, 'cifar10': (5_000,) * 10}  # training images of each class


def images(cfg: Mapping[str, Any]) -> int | None:
    """Training images of all epochs; None where it cannot be told."""
    epochs, size = cfg['train_cfg'].get('max_epochs'), samples(cfg['train_dataloader']['dataset'])
    return epochs * size if epochs and size else None


def samples(dataset: Mapping[str, Any]) -> int | None:
    """Images that a data set of CIFAR, or of a folder, has by its config; None for any other."""
    kind = dataset['type'].rpartition('.')[2]
    if kind in WRAPPERS:
        return samples(dataset['dataset'])
    sizes = () if dataset.get('ann_file') else class_sizes(kind, dataset.get('root', ''))
    holdout = dataset.get('holdout', 0)
    apart = sum(n // holdout for n in sizes) if holdout else 0
    found = apart if dataset.get('held_out') else sum(sizes) - apart
    return min(found, dataset.get('indices') or found) or None


@functools.cache
def class_sizes(kind: str, root: str) -> tuple[int, ...]:
    """Training images of each class: files of the folder where there is one, else what CIFAR has."""
    folder = Path(root).expanduser()
    if kind == 'ImageFolder' and folder.is_dir():
        return tuple(sum(1 for _ in image_files.below(folder / name)) for name in image_files.folders(folder))
    name = root.lower() if kind == 'ImageFolder' else kind.lower()
    return next((sizes for known, sizes in CIFAR.items() if known in name), ())
