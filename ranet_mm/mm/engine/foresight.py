"""What would end or spoil a run late, told before its first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.runner import BaseLoop
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import BatchSampler


def check_lengths(cfg: Mapping[str, Any]) -> None:
    """Make sure that a training loop's lengths are whole and not zero.

    Raises:
        ValueError: One of them is not, which MMEngine would tell after the first epoch, or never.
    """
    for name in ('max_epochs', 'max_iters', 'val_interval', 'val_begin'):
        value, least = cfg.get(name, 1), int(name != 'val_begin')
        if value != int(value) or value < least:
            raise ValueError(f'train_cfg.{name}={value!r} is not allowed: it must be a whole number of {least} or more')


def check_optimization(cfg: Mapping[str, Any]) -> None:
    """Make sure that gradients are added up and clipped such that something is trained, and not the wrong way round.

    Raises:
        ValueError: `accumulative_counts`, `max_norm` or `clip_value` is not allowed.
    """
    counts, clip = cfg.get('accumulative_counts', 1), cfg.get('clip_grad') or {}
    if counts != int(counts) or counts < 1:
        raise ValueError(
            f'optim_wrapper.accumulative_counts={counts!r} is not allowed: it must be a whole number of 1 or more'
        )
    for name in ('max_norm', 'clip_value'):
        if not clip.get(name, 1) > 0:
            raise ValueError(f'optim_wrapper.clip_grad.{name}={clip[name]!r} is not allowed: it must be above 0')


def schedules_beyond(schedulers: Sequence[Mapping[str, Any]], loop: Any) -> list[str]:
    """What of the schedules in a config comes after the end of training, a sentence each.

    Of those that count iterations only the last one is looked at: a warm-up is cut short in any trial.
    """
    found = []
    for i, scheduler in enumerate(schedulers):
        by_epoch = scheduler.get('by_epoch', True)
        total, unit = (loop.max_epochs, 'epochs') if by_epoch else (loop.max_iters, 'iterations')
        last = dict(begin=total - 1, end=total, T_max=total, milestones=total - 1)
        said = {name: scheduler[name] for name in last if scheduler.get(name)}
        late = [f'{n}={v}' for n, v in said.items() if (v if n != 'milestones' else max(v)) > last[n]]
        if late and (by_epoch or i == len(schedulers) - 1):
            found.append(
                f'param_scheduler[{i}] ({scheduler["type"]}) has {", ".join(late)}, but training ends after {total} '
                f'{unit}: the schedule does not come to its end'
            )
    return found


def without_parameter(paramwise: Mapping[str, Any], model: nn.Module) -> list[str]:
    """Names in `custom_keys` that no parameter of the model has in its own."""
    names = [name for name, _ in model.named_parameters()]
    return [key for key in paramwise.get('custom_keys', {}) if not any(key in name for name in names)]


def refuse_one_image(model: nn.Module, loop: BaseLoop) -> None:
    """Have the first training step refuse a batch of one image to come, where a norm layer gets maps of one pixel.

    PyTorch does so when that batch comes, after an epoch's worth of steps. Whether there are such maps is seen in the
    first forward pass, whatever its network, its image size and what of it is frozen.

    Args:
        model: The model without a wrapper; its first forward pass raises a ValueError then.
        loop: The training loop, which counts iterations or epochs.
    """
    if (sentence := one_image(loop)) is None:
        return

    def check(name: str, norm: nn.Module, maps: Tensor) -> None:
        of_groups = isinstance(norm, nn.GroupNorm)  # which PyTorch refuses where each group is one channel
        if (of_groups or norm.training) and maps[0].numel() == (norm.num_groups if of_groups else len(maps[0])):
            raise ValueError(sentence.format(f'the norm layer {name} has one value of each channel'))

    shared = nn.SyncBatchNorm if get_world_size() > 1 else ()  # normalizes over the images of all processes
    norms = [(n, m) for n, m in model.named_modules() if isinstance(m, _BatchNorm | nn.GroupNorm)]
    norms = [(n, m) for n, m in norms if not isinstance(m, shared)]
    hooks = [m.register_forward_pre_hook(lambda m, args, n=n: check(n, m, args[0])) for n, m in norms]

    def unhook(*_: Any) -> None:
        for hook in hooks:
            hook.remove()

    hooks.append(model.register_forward_hook(unhook))


def one_image(loop: Any) -> str | None:
    """What is to be said of a batch of one image to come; None where each has more."""
    batches, length = loop.dataloader.batch_sampler, len(loop.dataloader)
    size = getattr(batches, 'batch_size', None)
    if size == 1:
        return 'train_dataloader.batch_size=1 is not allowed: with one image {} to be trained by; set it to 2 or more'
    plain = type(getattr(batches, 'batches', batches)) is BatchSampler and not isinstance(
        batches.sampler, InfiniteSampler
    )
    if not plain or batches.drop_last or loop.max_iters < length or len(batches.sampler) % size != 1:
        return None
    return (
        f'{len(batches.sampler)} images in batches of {size} end with a batch of 1 image, with which {{}} to be '
        f'trained by: set train_dataloader.drop_last=True, or a train_dataloader.batch_size other than {size}'
    )
