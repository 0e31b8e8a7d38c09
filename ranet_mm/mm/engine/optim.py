"""Mixed precision on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor, nn
from torch.optim import Optimizer

from ...registry import OPTIM_WRAPPERS

WAYS = 'fused', 'foreach'  # options of PyTorch's optimizers that say how weights are updated


class NoWait:
    """Part of an optimizer wrapper that clips gradients without waiting for the device to tell their norm.

    Attributes:
        later: Where norms go as tensors, for a hook that logs them when they are known; None logs them at once.
    """

    later: dict[str, Tensor] | None = None

    def _clip_grad(self) -> None:
        if self.later is None:
            super()._clip_grad()
            return
        params = [p for group in self.optimizer.param_groups for p in group['params'] if p.grad is not None]
        norm = self.clip_func(params, **self.clip_grad_kwargs) if params else None
        if norm is not None:  # clipping by value gives none
            self.later[self.grad_name] = norm


class PlainOptimWrapper(NoWait, OptimWrapper):
    """MMEngine's `OptimWrapper`."""


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(NoWait, OptimWrapper):
    """Forward passes under autocast to `dtype` (or its name), without loss scaling, on any device."""

    def __init__(self, *args: Any, dtype: torch.dtype | str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(get_device(), dtype=self.dtype):
            yield


@OPTIM_WRAPPERS.register_module()
def AutoAmpOptimWrapper(  # noqa: N802
    dtype: str | None = None, loss_scale: Any = 'dynamic', **kwargs: Any
) -> OptimWrapper:
    """The fastest safe precision of this device: bfloat16, float16 with loss scaling, or float32.

    MMEngine's `AmpOptimWrapper` refuses to run on a CPU; with this wrapper one config runs on both.

    Args:
        dtype: `bfloat16` or `float32`, on any device, or `float16`, on a GPU, where it is not to be the fastest.
        loss_scale: As in `AmpOptimWrapper`; used with float16 alone.
        **kwargs: Arguments of `OptimWrapper`.

    Raises:
        ValueError: `dtype` is none of these.
    """
    device = get_device()
    names = ('float32', 'bfloat16') if device == 'cpu' else ('float32', 'bfloat16', 'float16')
    if dtype is not None and dtype not in names:
        raise ValueError(
            f'optim_wrapper.dtype={dtype!r} is not allowed on {device}: it must be {" or ".join(names)}, or left out'
        )
    merge_groups(kwargs['optimizer'])
    dtype = getattr(torch, dtype) if dtype else amp_dtype(device)
    print_log(f'Training in {str(dtype).removeprefix("torch.")} on {device}', logger='current')
    if dtype == torch.float16:
        return AmpOptimWrapper(loss_scale=loss_scale, dtype=dtype, **kwargs)
    if dtype == torch.bfloat16:
        return AutocastOptimWrapper(dtype=dtype, **kwargs)
    return PlainOptimWrapper(**kwargs)


def merge_groups(optimizer: Optimizer) -> None:
    """Make one group of all parameters with the same options.

    MMEngine makes a group of each parameter where some are not decayed, so that an optimizer that updates a group at
    once has nothing to join: a step of Attention-56 then launches a hundred times as many kernels.
    """
    merged: dict[str, dict[str, Any]] = {}
    for group in optimizer.param_groups:
        options = repr(sorted((name, value) for name, value in group.items() if name != 'params'))
        merged.setdefault(options, {**group, 'params': []})['params'] += group['params']
    optimizer.param_groups[:] = merged.values()


def fuse(optimizer: Optimizer) -> None:
    """Have SGD update a weight in one pass instead of one for each operation: the same values but for rounding.

    A state loaded later, also one that was saved without, goes on so. Groups with a word of their own on `fused` or
    `foreach` keep it.
    """
    if type(optimizer) is not torch.optim.SGD or any(optimizer.defaults.get(name) is not None for name in WAYS):
        return
    _fuse_groups(optimizer)
    optimizer.register_load_state_dict_post_hook(_fuse_groups)


def _fuse_groups(optimizer: Optimizer) -> None:
    for group in optimizer.param_groups:
        fits = all(p.is_floating_point() and p.device.type in ('cpu', 'cuda') for p in group['params'])
        if fits and not group['differentiable'] and all(group[name] is None for name in WAYS):
            group['fused'] = True


def amp_dtype(device: str) -> torch.dtype:
    """bfloat16 where the hardware computes it, else float16 on an accelerator, else float32."""
    if device == 'cpu':
        native = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return torch.bfloat16 if native else torch.float32
    if device == 'cuda' and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16
