"""Weights and the network that is to take them: compared, adapted where that is sound, else refused in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..arch import named
from ..files import printable
from ..network import RANetFeatures
from . import keys
from .keys import BACKBONE, COUNTER, FIRST_CONV, HEAD


def misfits(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], adapted: Collection[str] = (), ones: bool = False
) -> str:
    """What does not fit, as `missing: ...; unexpected: ...; misshaped: ...; mistyped: ...`; empty where all fits.

    Args:
        ours: Arrays, or their shapes, by the keys that are expected.
        theirs: The same of what there is.
        adapted: Keys that may differ.
        ones: Whether dimensions of 1 may differ.
    """
    mistyped = [f'{key} {theirs[key].dtype}' for key in ours if key in theirs and _is_other(ours[key], theirs[key])]
    shapes = [{key: tuple(getattr(value, 'shape', value)) for key, value in side.items()} for side in (ours, theirs)]
    ours, theirs = ({k: v for k, v in side.items() if k not in adapted} for side in shapes)
    found = dict(
        missing=[key for key in ours if key not in theirs],
        unexpected=[key for key in theirs if key not in ours],
        misshaped=[
            f'{key} {theirs[key]} in place of {shape}'
            for key, shape in ours.items()
            if key in theirs and _counted(theirs[key], ones) != _counted(shape, ones)
        ],
        mistyped=mistyped,
    )
    return '; '.join(f'{kind}: {listed(keys)}' for kind, keys in found.items() if keys)


def _is_other(ours: Any, theirs: Any) -> bool:
    """Whether PyTorch would round or cut numbers to copy them: complex ones, or 8-bit integers without their scale."""
    both = isinstance(ours, Tensor) and isinstance(theirs, Tensor)
    return both and ours.is_floating_point() and not theirs.is_floating_point()


def _counted(shape: Sequence[int], ones: bool) -> list[int]:
    return [side for side in shape if side != 1 or not ones]


def listed(keys: Sequence[str], most: int = 4) -> str:
    """The first names of many, for a sentence; what cannot be printed is escaped."""
    return ', '.join(map(printable, keys[:most])) + (f' and {len(keys) - most} more' if len(keys) > most else '')


def check(what: str, found: str) -> None:
    """Refuse weights that do not fit.

    Raises:
        ValueError: `misfits` has found something.
    """
    if found:
        raise ValueError(f'{what}: {found}')


def fitting(state: Mapping[str, Tensor], model: nn.Module, adapted: Collection[str] = ()) -> dict[str, Tensor]:
    """Weights under the keys of a timm model of ours, if they fit it; keys in `adapted` may differ.

    Raises:
        ValueError: Keys or shapes differ; the sentence lists the first of them.
    """
    state = keys.plain(keys.unwrapped(state))
    check(f'weights do not fit {named(model.arch)}', misfits(model.state_dict(), state, adapted))
    return state


def fit_backbone(backbone: RANetFeatures, state: dict[str, Tensor], prefix: str, log: Callable[[str], Any]) -> None:
    """Make weights fit a backbone, in place; called by the backbone in each loading, MMEngine's or PyTorch's.

    The first convolution is adapted to the number of input channels. Where the backbone is loaded by itself, keys of a
    classifier's checkpoint lose their `backbone.`, and its head is left out.

    Args:
        backbone: The network to load into.
        state: Weights of the backbone, or of a model that has it.
        prefix: What stands before the backbone's keys in `state`.
        log: Takes a line that says what was adapted.

    Raises:
        ValueError: The weights are of another network; the sentence says how the two differ.
    """
    ours = backbone.state_dict()
    if not prefix:
        _take_backbone(state, ours)
    theirs = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    if theirs and not theirs.keys() & ours.keys():
        raise ValueError(
            f'weights do not fit: none of them is of a {type(backbone).__name__}, the first is {next(iter(theirs))!r}'
        )
    weight = theirs.get(FIRST_CONV)
    if weight is not None and weight.shape[1] != backbone.in_chans:
        log(f'{FIRST_CONV} is adapted from {weight.shape[1]} to {backbone.in_chans} input channels')
        state[prefix + FIRST_CONV] = theirs[FIRST_CONV] = adapt_channels(weight, backbone.in_chans)
    _check_stages(ours, theirs)


def _take_backbone(state: dict[str, Tensor], ours: Iterable[str]) -> None:
    if not state.keys() & set(ours):
        backbone = keys.plain({key: value for key, value in state.items() if key.startswith(BACKBONE)})
        if backbone:
            state.clear()
            state.update(backbone)
    for key in [k for k in state if k.startswith(HEAD)]:
        del state[key]


def adapt_channels(weight: Tensor, in_chans: int) -> Tensor:
    """Weights of a convolution for another number of input channels, as timm adapts them.

    (O, I, H, W) -> (O, in_chans, H, W): the sum over I for a single channel, else a repetition of the channels that
    keeps the scale of the output. In single precision, whatever the weights have.
    """
    weight, chans = weight.float(), weight.shape[1]
    if in_chans == 1:
        return weight.sum(1, keepdim=True)
    return weight.repeat(1, -(-in_chans // chans), 1, 1)[:, :in_chans] * (chans / in_chans)


def _check_stages(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """The backbone's stages must be those of the weights, which may have further stages."""
    ours, theirs = _stages(ours), _stages(theirs)
    stages = {_stage(key) for key in ours}
    theirs = {key: value for key, value in theirs.items() if _stage(key) in stages}
    modules, given = attention_modules(ours), attention_modules(theirs)
    if theirs and modules != given:
        raise ValueError(
            f'weights of a network with {given} attention modules in its stages do not fit this one, which has '
            f'{modules}: set `arch` of the backbone to that of the weights'
        )
    check('weights do not fit the backbone', misfits(ours, theirs) if theirs else '')


def _stages(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in weights.items() if k.startswith('stages.') and not k.endswith(COUNTER)}


def _stage(key: str) -> str:
    return key.split('.')[1]


def attention_modules(weights: Collection[str]) -> str:
    """`1, 2, 3` for three stages of so many attention modules; empty for a network that is not ours."""
    found = {match.groups() for key in weights if (match := re.search(r'\bstages\.(\d+)\.(\d+)\.trunk\.', key))}
    stages = [stage for stage, _ in found]
    return ', '.join(str(stages.count(stage)) for stage in sorted(set(stages), key=int))
