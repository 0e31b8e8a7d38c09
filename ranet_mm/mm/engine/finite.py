"""Losses that are no finite numbers: their steps are left out where that is known in time, and their origin is told."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from .workdir import pointed

UNKNOWN = 'no module by itself'


def guard(model: nn.Module, wrapper: Any, always: bool) -> None:
    """Have an optimizer wrapper leave out the step of a loss that is not finite, so that it spoils no weights.

    A loss on the host is known at once. One on a device, or on several processes, is waited for only where that is
    asked for, as each step then ends with its computation; statistics, as of normalization, are then put back too.

    Args:
        model: What is trained.
        wrapper: Of the run; several optimizers in one are left as they are.
        always: Whether to wait.
    """
    if not isinstance(wrapper, OptimWrapper) or (hasattr(wrapper, 'loss_scaler') and not always):
        return  # a scaler leaves out steps by itself
    update, buffers = wrapper.update_params, [*model.buffers()] if always else []
    kept = [buffer.clone() for buffer in buffers]

    def update_params(loss: Tensor, *args: Any, **kwargs: Any) -> None:
        known = always or (on_host(loss) and get_world_size() == 1)
        if not known or everywhere_finite(loss):
            update(loss, *args, **kwargs)
            copy(buffers, kept)
            return
        copy(kept, buffers)
        wrapper._inner_count += 1
        if wrapper._accumulative_counts > 1 and wrapper.should_update():  # the step of the batches before
            wrapper.step()
            wrapper.zero_grad()

    wrapper.update_params = update_params


def on_host(value: Any) -> bool:
    """Whether a value can be read at once."""
    return not isinstance(value, Tensor) or value.is_cpu


@torch.no_grad()
def copy(values: list[Tensor], places: list[Tensor]) -> None:
    if values:
        torch._foreach_copy_(places, values)


def everywhere_finite(loss: Tensor) -> bool:
    """Whether the loss of each process is finite: they go on together."""
    spoilt = (~loss.detach().isfinite()).any().float()
    if get_world_size() > 1:
        all_reduce(spoilt, 'max')
    return not spoilt.item()


def explained(runner: Runner, batch: Any) -> str:
    """What a run that ends by its loss is told: its learning rate, the origin, and where to go on from."""
    rate = runner.message_hub.get_scalar('train/lr').current()
    latest = pointed(Path(runner.work_dir))
    last = f'the last good checkpoint is {str(latest)!r}' if latest else 'no checkpoint is there'
    return f'with a learning rate of {rate:g}; not finite first: {origin(runner, batch)}; {last}'


def origin(runner: Runner, batch: Any) -> str:
    """The first parameter that is not finite, or else the first module whose output is not, in a run of the batch."""
    model = getattr(runner.model, 'module', runner.model)
    if name := next((name for name, value in model.named_parameters() if not value.isfinite().all()), None):
        return f'the parameter {name}, by an earlier step'
    found: list[str] = []

    def watch(name: str, output: Any) -> None:
        floats = (x for x in tree_leaves(output) if isinstance(x, Tensor) and x.is_floating_point())
        if not found and not all(x.isfinite().all() for x in floats):
            found.append(name)

    hooks = [
        module.register_forward_hook(lambda module, args, output, name=name: watch(name, output))
        for name, module in model.named_modules()
        if name
    ]
    with contextlib.suppress(Exception), torch.no_grad(), runner.optim_wrapper.optim_context(model):
        data = model.data_preprocessor(batch, True)  # in the mode of training, as it was
        for name, value in losses(model, data).items():
            watch(name, value)
    for hook in hooks:
        hook.remove()
    return f'the output of {found[0]}' if found else UNKNOWN


def losses(model: nn.Module, data: Any) -> dict[str, Any]:
    """What a model of OpenMMLab gives in training."""
    return model(**data, mode='loss') if isinstance(data, dict) else model(*data, mode='loss')
