"""Norms of gradients over depth, while a network is trained."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from ....registry import HOOKS
from ....weights.keys import BACKBONE
from .checkpoint_guard import unwrapped


@HOOKS.register_module()
class GradientNormHook(Hook):
    """Send the Euclidean norm of the gradient of each part's weights to the runner's log and visualizer.

    Parts are the stem, the attention modules and units of the stages by their names, and what stands behind, as
    `gradient/stages.0.1`; `gradient/least` and `gradient/most` are those of the stages, over whose depth they should
    not vanish. Where gradients are accumulated, they are those of the batches so far; with several processes, those
    of the first before they are averaged; under a scaler of losses, they are divided by its scale.

    Args:
        interval: Iterations from one time to the next; nothing is computed between.

    Raises:
        ValueError: `interval` is not a whole number above 0.
    """

    priority = 'LOW'

    def __init__(self, interval: int = 50) -> None:
        if not isinstance(interval, int) or interval < 1:
            raise ValueError(f'interval={interval!r} is not allowed: it must be a whole number above 0')
        self.interval = interval
        self._handles: list[Any] = []
        self._squares: dict[str, list[Tensor]] = defaultdict(list)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if (runner.iter + 1) % self.interval:
            return
        for name, parameter in unwrapped(runner.model).named_parameters():
            if parameter.requires_grad:
                self._handles.append(parameter.register_post_accumulate_grad_hook(self._note(part(name))))

    def _note(self, name: str) -> Any:
        return lambda parameter: self._squares[name].append(parameter.grad.detach().float().square().sum())

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if not self._handles:
            return
        for handle in self._handles:
            handle.remove()
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        scale = scaler.get_scale() if scaler else 1
        norms = {name: torch.stack(found).sum().sqrt().item() / scale for name, found in self._squares.items()}
        self._handles, self._squares = [], defaultdict(list)
        stages = [norm for name, norm in norms.items() if name.startswith('stages.')]
        told = norms | (dict(least=min(stages), most=max(stages)) if stages else {})
        runner.visualizer.add_scalars({f'gradient/{name}': norm for name, norm in told.items()}, step=runner.iter + 1)


def part(name: str) -> str:
    """The part of the network that a weight is in: `stages.0.1` of `backbone.stages.0.1.trunk.0.conv1.weight`."""
    words = name.removeprefix(BACKBONE).split('.')
    return '.'.join(words[: 3 if words[0] == 'stages' else 1])
