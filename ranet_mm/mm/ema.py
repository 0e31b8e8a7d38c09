"""A moving average of the weights that costs one step of the device, not one for each tensor."""

from __future__ import annotations

from itertools import chain

import torch
from mmengine.model import ExponentialMovingAverage as MMEngineExponentialMovingAverage
from torch import Tensor, nn

from ..registry import MODELS


@MODELS.register_module()
class ExponentialMovingAverage(MMEngineExponentialMovingAverage):
    """MMEngine's, with the same arguments, checkpoints and values; `EMAHook(ema_type='ranet_mm....')` takes it."""

    pairs: tuple[list[Tensor], list[Tensor]] | None = None

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        if self.steps == 0:  # every tensor, by name
            super().update_parameters(model)
            return
        if self.pairs is None:
            both = zip(tensors(self.module, self.update_buffers), tensors(model, self.update_buffers), strict=True)
            self.pairs = tuple(map(list, zip(*(pair for pair in both if pair[0].is_floating_point()), strict=True)))
        if self.steps % self.interval == 0:
            torch._foreach_lerp_(*self.pairs, self.momentum)  # as in `torch.optim.swa_utils`
        if not self.update_buffers:
            for average, buffer in zip(self.module.buffers(), model.buffers(), strict=True):
                average.copy_(buffer)
        self.steps += 1


def tensors(model: nn.Module, buffers: bool) -> chain[Tensor]:
    """What is averaged, in one order for every copy of a model: what its state dict holds."""
    names = model.state_dict().keys()
    return chain(model.parameters(), (b for name, b in model.named_buffers() if buffers and name in names))
