"""A deeper network that starts as a trained one: new attention modules at the end of each stage, without effect yet."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...arch import ArchCfg, changed_fields
from ...layers import ATTENTION, LEARNING, UNITS
from ...network import RANetFeatures
from .common import check_ours


def deepened(state: Mapping[str, Tensor], arch: ArchCfg, target: ArchCfg) -> dict[str, Tensor]:
    """Weights of `target`, which has more attention modules than `arch`, that give the logits of `state`.

    As in Net2Net (Chen et al., arXiv:1511.05641). Every unit of a new module is the identity and its mask the same
    everywhere, such that the module multiplies its input by a constant, 1.5 for residual learning of mixed attention. A
    pre-activation unit, which follows, normalizes that away. Differences of rounding and of the norms' epsilon stay.

    Args:
        state: Weights of a timm model of `arch`.
        arch: What the weights are of.
        target: The same network but for `modules`.

    Raises:
        ValueError: `target` has other differences or fewer modules, a unit cannot be the identity, or `state` is not of
            `arch`.
    """
    changes = changed_fields(target, arch)
    if others := sorted(set(changes) - {'modules'}):
        raise ValueError(f'{", ".join(others)} of the deeper network are not allowed to change, only modules')
    if any(new < old for new, old in zip(target.modules, arch.modules, strict=True)):
        raise ValueError(f'modules={target.modules!r} is not allowed: no stage may have fewer than {arch.modules!r}')
    kinds = {target.stage_unit(stage) for stage in range(len(target.modules) + bool(target.post_units))}
    if target.always_project or not all(UNITS[kind].preact for kind in kinds):
        raise ValueError(
            f'unit={target.unit!r}, always_project={target.always_project!r} are not allowed: units must be '
            'pre-activation units that add their raw input'
        )
    fresh = RANetFeatures(target, zero_init_last=True).state_dict()
    known = check_ours(state, arch)
    grown = fresh | {key: value.to(fresh[key].dtype if key in fresh else torch.float32) for key, value in known.items()}
    mask = ATTENTION[target.attention](torch.zeros(1, 1, 1, 1))
    gain = LEARNING[target.learning](mask, torch.ones(1)).item()
    for stage, (old, new) in enumerate(zip(arch.modules, target.modules, strict=True)):
        for block in range(old + 1, new + 1):
            grown[f'stages.{stage}.{block}.mask.conv2.weight'].zero_()
        for norm in _readers(grown, stage):
            grown[f'{norm}.running_mean'] *= gain ** (new - old)
            grown[f'{norm}.running_var'] *= gain ** (2 * (new - old))
    return grown


def _readers(state: Mapping[str, Tensor], stage: int) -> list[str]:
    """The norms that read what a stage gives: those of the next unit, or the last one."""
    unit = f'stages.{stage + 1}.0'
    named = (f'{unit}.norm1', f'{unit}.shortcut.0') if f'{unit}.norm1.weight' in state else ('norm',)
    return [norm for norm in named if f'{norm}.running_mean' in state]
