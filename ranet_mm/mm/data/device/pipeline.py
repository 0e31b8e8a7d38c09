"""What of a pipeline loads an image, once, and what is random and runs on the device, each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS as MMPRETRAIN_TRANSFORMS

from .transforms import AlternatingFlip, Cutout, RandomCrop, RandomErasing, RandomFlip
from .trivial import TrivialAugmentWide

# By the names that they have in a pipeline.
TRANSFORMS: dict[str, type] = {
    **{kind.__name__: kind for kind in (RandomCrop, RandomFlip, Cutout, RandomErasing)},
    'ranet_mm.AlternatingFlip': AlternatingFlip,
    'torchvision/TrivialAugmentWide': TrivialAugmentWide,
}
CONTAINERS = [dict(type=name) for name in ('PackInputs', 'NumpyToPIL', 'PILToNumpy')]


def build(cfg: Mapping[str, Any], table: Mapping[str, type] = TRANSFORMS) -> Any:
    """An object from `dict(type=name, **options)`.

    Raises:
        ValueError: The table has no such type.
        TypeError: The type has no such option.
    """
    options = dict(cfg)
    name = options.pop('type', None)
    if name not in table:
        raise ValueError(f'type={name!r} is not allowed on the device: it must be one of {", ".join(table)}')
    allowed = [field.name for field in fields(table[name])]
    for option in options:
        if option not in allowed:
            raise TypeError(f'{name} has no option {option!r} on the device: it has {", ".join(allowed)}')
    return table[name](**options)


def take_pipeline(cfg: dict) -> list[dict]:
    """Take the pipeline out of a data set's config, or out of the one that it wraps."""
    while 'pipeline' not in cfg and isinstance(cfg.get('dataset'), Mapping):
        cfg = cfg['dataset']
    return list(cfg.pop('pipeline', ()))


def split(pipeline: Sequence[Mapping[str, Any]]) -> tuple[list[dict], list[dict]]:
    """What loads, and what is random; without what only changes the container."""
    pipeline = [dict(transform) for transform in pipeline if dict(transform) not in CONTAINERS]
    first = next((i for i, transform in enumerate(pipeline) if transform['type'] in TRANSFORMS), len(pipeline))
    return pipeline[:first], pipeline[first:]


def loader(cfg: dict) -> BaseTransform:
    """A transform that gives the same result each time.

    Raises:
        ValueError: It is random.
    """
    transform = MMPRETRAIN_TRANSFORMS.build(cfg)
    if not isinstance(transform, BaseTransform) or getattr(transform, '_methods_with_randomness', ()):
        raise ValueError(
            f'transform {cfg["type"]} is not allowed on the device: random ones are {", ".join(TRANSFORMS)}'
        )
    return transform
