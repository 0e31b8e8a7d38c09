"""Weights that start a backbone: fitted to it where that is sound, else refused in one sentence."""

from __future__ import annotations

from collections.abc import Iterable

from mmengine.logging import print_log
from torch import Tensor

from ..network import RANetFeatures
from .checkpoint import FIRST_CONV, attention_modules, mismatches, use_safe_reader
from .shipped import SCHEME  # noqa: F401 - importing it lets MMEngine read shipped weights

use_safe_reader()


def fit_weights(backbone: RANetFeatures, state: dict[str, Tensor], prefix: str) -> None:
    """Make weights fit a backbone, in place; called by the backbone in each loading, MMEngine's or PyTorch's.

    The first convolution is adapted to the number of input channels. Where the backbone is loaded by itself, keys of a
    classifier's checkpoint lose their `backbone.`, and its head is left out.

    Args:
        backbone: The network to load into.
        state: Weights of the backbone, or of a model that has it.
        prefix: What stands before the backbone's keys in `state`.

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
    if FIRST_CONV in theirs:
        state[prefix + FIRST_CONV] = theirs[FIRST_CONV] = _fit_first_conv(theirs[FIRST_CONV], backbone.in_chans)
    _check_stages(ours, theirs)


def _take_backbone(state: dict[str, Tensor], ours: Iterable[str]) -> None:
    if not state.keys() & set(ours):
        backbone = {k.removeprefix('backbone.'): v for k, v in state.items() if k.startswith('backbone.')}
        if backbone:
            state.clear()
            state.update(backbone)
    for key in [k for k in state if k.startswith('head.')]:
        del state[key]


def _fit_first_conv(weight: Tensor, in_chans: int) -> Tensor:
    if weight.shape[1] != in_chans:
        print_log(f'{FIRST_CONV} is adapted from {weight.shape[1]} to {in_chans} input channels', logger='current')
        return adapt_channels(weight, in_chans)
    return weight


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
    differences = mismatches(ours, theirs) if theirs else []
    if differences:
        more = f' and {len(differences) - 3} more' if len(differences) > 3 else ''
        raise ValueError(f'weights do not fit the backbone: {"; ".join(differences[:3])}{more}')


def _stages(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    counters = 'num_batches_tracked'  # which old files lack
    return {k: v for k, v in weights.items() if k.startswith('stages.') and not k.endswith(counters)}


def _stage(key: str) -> str:
    return key.split('.')[1]
