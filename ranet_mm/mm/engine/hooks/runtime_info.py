"""MMEngine's runtime information, without waiting for the device at each step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.hooks import RuntimeInfoHook as MMEngineRuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from ....registry import HOOKS
from ..finite import on_host


@HOOKS.register_module()
class RuntimeInfoHook(MMEngineRuntimeInfoHook):
    """Losses and norms reach the message hub when the device has computed them, some steps later, and in order.

    MMEngine's own asks for each loss at once, so that the processor prepares no step while the device computes the one
    before. At the end of an epoch, and before a checkpoint or a validation, all of them are there.
    """

    def __init__(self) -> None:
        self.pending: deque[tuple[list[str], Tensor, Callable[[bool], bool]]] = deque()

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self.pending.clear()
        if hasattr(runner.optim_wrapper, 'later'):
            runner.optim_wrapper.later = {}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        norms = getattr(runner.optim_wrapper, 'later', None) or {}
        found = {**(outputs or {}), **norms}
        norms.clear()
        slow = {name: value for name, value in found.items() if not on_host(value)}
        for name in found.keys() - slow.keys():
            runner.message_hub.update_scalar(f'train/{name}', found[name])
        if slow:
            self.pending.append((list(slow), *fetch(list(slow.values()))))
        self._tell(runner, wait=False)

    def _tell(self, runner: Runner, wait: bool) -> None:
        while self.pending and self.pending[0][2](wait):
            names, values, _ = self.pending.popleft()
            for name, value in zip(names, values.tolist(), strict=True):
                runner.message_hub.update_scalar(f'train/{name}', value)

    def after_train_epoch(self, runner: Runner) -> None:
        self._tell(runner, wait=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._tell(runner, wait=True)

    def before_val(self, runner: Runner) -> None:
        self._tell(runner, wait=True)
        super().before_val(runner)

    def after_train(self, runner: Runner) -> None:
        self._tell(runner, wait=True)
        super().after_train(runner)


def fetch(values: list[Tensor]) -> tuple[Tensor, Callable[[bool], bool]]:
    """Begin to copy scalars to the host.

    Returns:
        Where they will be, and a function that says whether they are there; with True it waits for them.
    """
    device = torch.stack([value.detach().float().reshape(()) for value in values])
    host = torch.empty(device.shape, pin_memory=True).copy_(device, non_blocking=True)
    event = torch.cuda.Event()
    event.record()

    def arrived(wait: bool) -> bool:
        if wait:
            event.synchronize()
        return event.query()

    return host, arrived
