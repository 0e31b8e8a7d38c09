"""The transforms of the device by the names that they have in a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .transforms import AlternatingFlip, Cutout, RandomCrop, RandomErasing, RandomFlip
from .trivial import TrivialAugmentWide

TRANSFORMS: dict[str, type] = {
    **{kind.__name__: kind for kind in (RandomCrop, RandomFlip, Cutout, RandomErasing)},
    'ranet_mm.AlternatingFlip': AlternatingFlip,
    'torchvision/TrivialAugmentWide': TrivialAugmentWide,
}


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
