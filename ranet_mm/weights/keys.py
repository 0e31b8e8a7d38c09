"""Names of weights: those of the timm model are ours, OpenMMLab's classifier and wrappers put words before them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

BACKBONE, HEAD = 'backbone.', 'head.'
COUNTER = 'num_batches_tracked'  # which old files and other frameworks lack
FIRST_CONV, CLASSIFIER = 'stem.conv.weight', 'head.fc'
WRAPPERS = ('_orig_mod.', 'module.', 'model.')  # torch.compile; DataParallel and its kin; Lightning

Value = TypeVar('Value')


def unwrapped(state: Mapping[str, Value]) -> dict[str, Value]:
    """Weights without what wrappers put before, in any order, or between the parts of their names."""
    return {_unwrapped(key): value for key, value in state.items()}


def _unwrapped(key: str) -> str:
    key = key.replace(WRAPPERS[0], '')
    while key.startswith(WRAPPERS[1:]):
        key = key.partition('.')[2]
    return key


def plain(state: Mapping[str, Value]) -> dict[str, Value]:
    """Weights of an OpenMMLab classifier under the keys of the timm model; others are left as they are."""
    return {key.removeprefix(BACKBONE): value for key, value in state.items()}


def of_classifier(state: Mapping[str, Value]) -> dict[str, Value]:
    """Weights of a timm model, or of a classifier, under the keys of OpenMMLab's classifier."""
    return {key if key.startswith(HEAD) else BACKBONE + key: value for key, value in plain(state).items()}


def like(ours: Collection[str], state: dict[str, Value]) -> dict[str, Value]:
    """Weights of the timm model under those of a classifier that has the keys `ours`; others are left as they are."""
    if any(key in ours for key in state if not key.startswith(HEAD)):
        return state
    renamed = of_classifier(state)
    return renamed if any(key in ours for key in renamed) else state


def is_classifier(state: Collection[str]) -> bool:
    """Whether timm has such a model; a detector or segmentor has more parts."""
    return all(key.removeprefix(BACKBONE).startswith(('stem.', 'stages.', 'norm.', f'{CLASSIFIER}.')) for key in state)
