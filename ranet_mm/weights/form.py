"""The form of what a checkpoint says of its model: see `description`. It is text that anyone may have written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

SIDE = 2**14  # pixels: to a side of more no image is brought
CLASSES = 10**7
DEPTH = 100  # of containers in each other
UNSIZED = 'mean', 'std'  # numbers that are of the images' values

Form = Callable[[Any], bool]


def numbers(value: Any, least: float = -math.inf) -> bool:
    return isinstance(value, list | tuple) and all(number(v) and v > least for v in value)


def number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e38  # in float32 it is no infinity


def whole(value: Any, least: int, most: int = SIDE) -> bool:
    return type(value) is int and least <= value <= most


def size(value: Any) -> bool:
    sides = value[1:] if isinstance(value, list | tuple) else ()
    return len(sides) == 2 and all(side is None or whole(side, 1) for side in (value[0], *sides))


def modest(value: Any, depth: int = 0) -> bool:
    """Plain data without a number that could be a size in pixels and is greater than `SIDE`."""
    if isinstance(value, Mapping | list | tuple):
        entries = [v for k, v in value.items() if k not in UNSIZED] if isinstance(value, Mapping) else value
        return depth < DEPTH and all(modest(entry, depth + 1) for entry in entries)
    return not isinstance(value, int | float) or abs(value) <= SIDE


def steps(value: Any) -> bool:
    plain = isinstance(value, list | tuple) and all(isinstance(step, Mapping) and 'type' in step for step in value)
    return plain and modest(value)


def preprocessor(value: Any) -> bool:
    return isinstance(value, Mapping) and not wrong(value, PREPROCESSOR)


def text(value: Any) -> bool:
    return isinstance(value, str)


def names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str | int | float) for name in value)


def mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(text, value))


def scales(value: Any) -> bool:
    return numbers(value, 0)


PREPROCESSOR: dict[str, Form] = dict(
    mean=numbers, std=scales, pad_size_divisor=lambda value: whole(value, 1), pad_value=number
)
PRETRAINED_CFG: dict[str, Form] = dict(
    mean=numbers, std=scales, input_size=size, interpolation=text, crop_mode=text,
    num_classes=lambda value: whole(value, 0, CLASSES), crop_pct=lambda value: number(value) and 2**-6 <= value <= 2**6,
    label_names=names,
)  # fmt: skip
# Options of timm's training script, as its checkpoints have them, where they say something of the model.
ARGUMENTS: dict[str, Form] = dict(
    PRETRAINED_CFG, model_kwargs=mapping, img_size=lambda value: whole(value, 1),
    in_chans=lambda value: whole(value, 1),
)  # fmt: skip
DESCRIPTION: dict[str, Form] = dict(
    architecture=text, model_args=mapping, pretrained_cfg=mapping, pipeline=steps, data_preprocessor=preprocessor,
    order=lambda value: value in ('RGB', 'BGR'), exclusive=lambda value: isinstance(value, bool),
)  # fmt: skip


def wrong(said: Mapping[str, Any], forms: Mapping[str, Form]) -> list[str]:
    """The fields that have another form; what is not said has none."""
    return [name for name, form in forms.items() if said.get(name) is not None and not form(said[name])]


def wrong_fields(about: Any) -> list[str]:
    """The fields of a description that are of another form."""
    if not isinstance(about, Mapping) or 'architecture' not in about:
        return ['architecture']
    parts = [name for name in ('model_args', 'pretrained_cfg') if not mapping(about.get(name))]
    return parts or [*wrong(about, DESCRIPTION), *wrong(about['pretrained_cfg'], PRETRAINED_CFG)]
