"""A moving average of the weights that costs one step of the device, not one for each tensor."""

from __future__ import annotations

from itertools import chain

import torch
from mmengine.model import ExponentialMovingAverage as MMEngineExponentialMovingAverage
from torch import Tensor, nn

from ...registry import MODELS


@MODELS.register_module()
class ExponentialMovingAverage(MMEngineExponentialMovingAverage):
    """MMEngine's, with the same arguments, checkpoints and values; `EMAHook(ema_type='ranet_mm....')` takes it."""

    pairs: tuple[list[Tensor], list[Tensor]] | None = None

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        steps = int(self.steps)  # it lies on the host
        if not steps or self.pairs is None:
            both = zip(tensors(self.module, self.update_buffers), tensors(model, self.update_buffers), strict=True)
            self.pairs = tuple(map(list, zip(*both, strict=True)))
        averages, values = self.pairs
        if not steps:
            torch._foreach_copy_(averages, values)
        elif steps % self.interval == 0:
            learnt = [pair for pair in zip(averages, values, strict=True) if pair[0].is_floating_point()]
            torch._foreach_lerp_(*map(list, zip(*learnt, strict=True)), self.momentum)  # as in `torch.optim.swa_utils`
        if not self.update_buffers:
            for average, buffer in zip(self.module.buffers(), model.buffers(), strict=True):
                average.copy_(buffer)
        self.steps += 1


def tensors(model: nn.Module, buffers: bool) -> chain[Tensor]:
    """What is averaged, in one order for every copy of a model: what its state dict holds."""
    names = model.state_dict().keys()
    return chain(model.parameters(), (b for name, b in model.named_buffers() if buffers and name in names))
