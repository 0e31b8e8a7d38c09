"""Maps in the memory order that convolutions are faster in."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from ....registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep maps in the memory order N, H, W, C, which convolutions are faster in; see `to_channels_last`.

    A model that is wrapped for several processes is left as it is: torch lays out its buckets by the order of the
    weights when it wraps them, and sums wrong gradients after a change. `Runner` changes the order before.
    """

    def before_run(self, runner: Runner) -> None:
        if not is_model_wrapper(runner.model):
            to_channels_last(runner.model)


def to_channels_last(model: nn.Module) -> None:
    """Put convolution weights, and with them every map, into the memory order N, H, W, C.

    mmcv's compiled layers, RoIAlign among them, take any map for N, C, H, W and compute nonsense without a word: a
    model that has one is left as it is.
    """
    if not any(type(module).__module__.startswith('mmcv.ops') for module in model.modules()):
        model.to(memory_format=torch.channels_last)
