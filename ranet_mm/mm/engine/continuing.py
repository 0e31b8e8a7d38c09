"""What MMEngine leaves out of a checkpoint, without which a resumed run is not the one that was interrupted."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import gather_object, get_rank, get_world_size
from mmengine.hooks import EarlyStoppingHook, Hook
from torch import nn

PROCESSES = 'processes'  # in a checkpoint's `meta`: what each process had, in their order
LOST = 'gradient of some iterations is lost'  # MMEngine warns of it without a look whether it is

State = dict[str, Any]


def gathered(model: nn.Module, hooks: Iterable[Hook], drawn: Mapping[str, Any]) -> list[State] | None:
    """What each process has, for the first of them: gradients that wait for a step, generators, counts of hooks.

    Of several processes each has batch statistics of its own inside an epoch, of which the checkpoint's weights are the
    first one's.

    Args:
        model: The model without a wrapper. A step drops gradients: there are none where nothing is accumulated.
        hooks: Of the runner.
        drawn: What `generators` gave.
    """
    gradients = {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}
    counts = [dict(wait_count=hook.wait_count, best_score=float(hook.best_score)) for hook in stopping(hooks)]
    buffers = {name: b.cpu() for name, b in model.named_buffers()} if get_world_size() > 1 else {}
    return gather_object(dict(gradients=gradients, buffers=buffers, generators=drawn, stopping=counts))


def restore(model: nn.Module, hooks: Iterable[Hook], states: Sequence[State]) -> State:
    """Give gradients and counts back; the generators are set when the loop draws again (`set_generators`).

    Gradients of another number of processes are averaged, as the step that they wait for does.

    Returns:
        What this process had, or the first one where their number is another.
    """
    as_before = len(states) == get_world_size()
    mine = states[get_rank()] if as_before else states[0]
    found = [state['gradients'] for state in ([mine] if as_before else states)]
    for name, p in model.named_parameters():
        if name in found[0] and p.requires_grad:
            p.grad = torch.empty_like(p.detach()).copy_(sum(gradients[name] for gradients in found) / len(found))
    for name, buffer in model.named_buffers():
        if as_before and name in mine['buffers']:
            buffer.copy_(mine['buffers'][name])
    for hook, counts in zip(stopping(hooks), mine['stopping'], strict=False):
        hook.wait_count, hook.best_score = counts['wait_count'], counts['best_score']
    return mine


def stopping(hooks: Iterable[Hook]) -> list[EarlyStoppingHook]:
    return [hook for hook in hooks if isinstance(hook, EarlyStoppingHook)]


def generators() -> dict[str, Any]:
    """The states of this process's random generators."""
    name, words, *rest = np.random.get_state()
    words = torch.from_numpy(words.astype(np.int64))  # other processes cannot be sent tensors of 32 bits without a sign
    found = dict(python=random.getstate(), numpy=(name, words, *rest), torch=torch.get_rng_state())
    return {**found, 'cuda': torch.cuda.get_rng_state()} if torch.cuda.is_available() else found


def set_generators(states: Mapping[str, Any]) -> None:
    """Have this process draw what follows on the states of `generators`."""
    name, words, *rest = states['numpy']
    version, numbers, *more = states['python']
    random.setstate((version, tuple(numbers), *more))
    np.random.set_state((name, words.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states['torch'].cpu())
    if 'cuda' in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states['cuda'].cpu())
