"""Mixed precision on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from ..registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Forward passes under autocast to `dtype` (or its name), without loss scaling, on any device."""

    def __init__(self, *args: Any, dtype: torch.dtype | str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(get_device(), dtype=self.dtype):
            yield


@OPTIM_WRAPPERS.register_module()
def AutoAmpOptimWrapper(loss_scale: Any = 'dynamic', **kwargs: Any) -> OptimWrapper:  # noqa: N802
    """The fastest safe precision of this device: bfloat16, float16 with loss scaling, or float32.

    MMEngine's `AmpOptimWrapper` refuses to run on a CPU; with this wrapper one config runs on both.

    Args:
        loss_scale: As in `AmpOptimWrapper`; used with float16 alone.
        **kwargs: Arguments of `OptimWrapper`.
    """
    dtype = amp_dtype(get_device())
    print_log(f'Training in {str(dtype).removeprefix("torch.")} on {get_device()}', logger='current')
    if dtype == torch.float16:
        return AmpOptimWrapper(loss_scale=loss_scale, dtype=dtype, **kwargs)
    if dtype == torch.bfloat16:
        return AutocastOptimWrapper(dtype=dtype, **kwargs)
    return OptimWrapper(**kwargs)


def amp_dtype(device: str) -> torch.dtype:
    """bfloat16 where the hardware computes it, else float16 on an accelerator, else float32."""
    if device == 'cpu':
        native = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return torch.bfloat16 if native else torch.float32
    if device == 'cuda' and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16
