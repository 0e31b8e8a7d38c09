"""What of a pipeline loads an image, once, and what is random and runs on the device, each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS as MMPRETRAIN_TRANSFORMS

from .table import TRANSFORMS

CONTAINERS = [dict(type=name) for name in ('PackInputs', 'NumpyToPIL', 'PILToNumpy')]


def take_pipeline(cfg: dict) -> list[dict]:
    """Take the pipeline out of a data set's config, or out of the one that it wraps."""
    while 'pipeline' not in cfg and isinstance(cfg.get('dataset'), Mapping):
        cfg = cfg['dataset']
    return list(cfg.pop('pipeline', ()))


def split(pipeline: Sequence[Mapping[str, Any]]) -> tuple[list[dict], list[dict]]:
    """What loads, and what is random; without what only changes the container."""
    pipeline = [dict(transform) for transform in pipeline if dict(transform) not in CONTAINERS]
    names = [transform['type'] in TRANSFORMS for transform in pipeline]
    first = names.index(True) if True in names else len(pipeline)
    return pipeline[:first], pipeline[first:]


def loader(cfg: dict) -> Any:
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
