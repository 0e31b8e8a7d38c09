"""What all converters share: strict renaming of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...arch import ArchCfg
from ...network import RANetFeatures
from ..fit import check, misfits
from ..keys import COUNTER, FIRST_CONV

Arch = str | Mapping[str, Any] | ArchCfg
Shape = Sequence[int]


def shapes_of(cfg: ArchCfg, num_classes: int) -> dict[str, Shape]:
    """Shape of every weight and statistic, by key."""
    shapes, features = _feature_shapes(cfg)
    return {**shapes, 'head.fc.weight': (num_classes, features), 'head.fc.bias': (num_classes,)}


@lru_cache(maxsize=8)
def _feature_shapes(cfg: ArchCfg) -> tuple[dict[str, Shape], int]:
    """Shapes before the classifier, and the features that it reads."""
    with torch.device('meta'):
        net = RANetFeatures(cfg)
    shapes = {key: value.shape for key, value in net.state_dict().items() if not key.endswith(COUNTER)}
    side = cfg.last_side() if cfg.flatten else 1
    return shapes, net.num_features * side**2


def rename(source: Mapping[str, Any], names: Mapping[str, str], shapes: Mapping[str, Shape]) -> dict[str, Tensor]:
    """The arrays of `source` under new keys; dimensions of 1 may differ from those of `shapes`.

    Args:
        source: Arrays by their key.
        names: Key in `source` by new key.
        shapes: Shape by new key.

    Raises:
        ValueError: Keys are missing, unexpected or misshaped.
    """
    expected = {key: shapes[new] for new, key in names.items()}
    found = {key: np.shape(value) for key, value in source.items()}
    check('the weights do not fit the network', misfits(expected, found, ones=True))
    return {new: _tensor(source[key]).reshape(tuple(shapes[new])) for new, key in names.items()}


def _tensor(value: Any) -> Tensor:
    return value.detach().clone() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))


def with_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with the batch counters that other frameworks do not keep, at 0."""
    filled: dict[str, Tensor] = {}
    for key, value in state.items():
        filled[key] = value
        if key.endswith('running_var'):
            filled.setdefault(key.replace('running_var', COUNTER), torch.zeros((), dtype=torch.long))
    return filled


def count_classes(source: Mapping[str, Any], bias: str) -> int:
    """Classes of a classifier with the given bias, 1000 where it is missing."""
    return int(np.prod(np.shape(source[bias]))) if bias in source else 1000


def check_ours(state: Mapping[str, Tensor], cfg: ArchCfg) -> dict[str, Tensor]:
    """A state dict of the network as it is, for images of any channels; batch counters are added where missing.

    Raises:
        ValueError: Keys are missing, unexpected or misshaped.
    """
    weights = {key: value for key, value in state.items() if not key.endswith(COUNTER)}
    shapes = shapes_of(cfg, count_classes(weights, 'head.fc.bias'))
    if np.ndim(first := weights.get(FIRST_CONV)) == 4:
        out, _, *kernel = shapes[FIRST_CONV]
        shapes[FIRST_CONV] = (out, first.shape[1], *kernel)
    found = with_counters(rename(weights, {key: key for key in shapes}, shapes))
    return found | {key: value for key, value in state.items() if key.endswith(COUNTER) and key in found}
