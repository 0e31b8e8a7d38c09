"""Activations that the backward pass computes again instead of finding them kept.

Autograd keeps the input of a normalization for its gradient, and the output of the ReLU behind it for the gradients of
the ReLU and of the convolution that reads it. The second is one pass over the first: `Lean` has it made anew. Whole
parts of the network can be computed again besides, by PyTorch's checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

# From the fastest to the leanest: what is computed again, besides the activations in all but the first.
LEVELS = ('none', 'activations', 'units', 'modules', 'stages')
PRECISE = torch.float32, torch.float64  # what statistics must have, for activations to be the same again
LEAN: ContextVar[bool] = ContextVar('LEAN', default=False)  # whether activations are made anew at this moment


def levels(recompute: str | Sequence[str], stages: int) -> tuple[str, ...]:
    """The level of each stage.

    Raises:
        ValueError: One is not known, or there is not one for each stage.
    """
    found = (recompute,) * stages if isinstance(recompute, str) else tuple(recompute)
    if len(found) != stages or any(level not in LEVELS for level in found):
        raise ValueError(
            f'recompute={recompute!r} is not allowed: it must be one of {", ".join(LEVELS)}, or {stages} of them, one '
            'for each stage'
        )
    return found


# Whole parts --------------------------------------------------------------------------------------------


class Block(nn.Module):
    """Base of what can be computed again as a whole.

    Attributes:
        recompute: Whether the backward pass computes it again.
        small: Whether what it keeps while it is computed again is little, so that nothing of it is made twice anew.
    """

    recompute = small = False

    def __call__(self, *inputs: Tensor) -> Tensor:
        call = super().__call__
        return recomputed(self, call, *inputs, leanly=not self.small) if self.recompute else call(*inputs)


def recomputed(module: nn.Module, call: Callable[..., Tensor], *inputs: Tensor, leanly: bool = True) -> Tensor:
    """A call of a module whose activations are computed again in the backward pass; batch statistics stay alone.

    Where it is not done `leanly`, the second time ends before the last operation whose inputs autograd keeps: here a
    convolution.
    """
    if not torch.is_grad_enabled() or torch.jit.is_tracing() or torch.compiler.is_exporting():
        return call(*inputs)
    if torch.compiler.is_compiling():  # which knows no contexts here
        return checkpoint(call, *inputs, use_reentrant=False)
    again = partial(lean, leanly and LEAN.get())
    return checkpoint(call, *inputs, use_reentrant=False, context_fn=lambda: (again(), statistics_kept(module, again)))


@contextmanager
def statistics_kept(module: nn.Module, within: Callable[[], Any]) -> Iterator[None]:
    """Normalize by the batch as in training, without adding it to the running statistics once more."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        with within():
            yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


# Activations --------------------------------------------------------------------------------------------


@contextmanager
def lean(enable: bool = True) -> Iterator[None]:
    """Keep no output of a ReLU that stands between a batch normalization and a convolution."""
    token = LEAN.set(enable)
    try:
        with Lean() if enable else nullcontext():
            yield
    finally:
        LEAN.reset(token)


class Lean(TorchFunctionMode):
    """Follows a map through batch normalization, ReLU and convolution, whichever modules call them."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        wanted = func in INSTEAD and LEAN.get() and torch.is_grad_enabled()
        ours = INSTEAD[func](*args, **kwargs) if wanted else None
        return func(*args, **kwargs) if ours is None else ours


class Activation:
    """A rectified map while the backward pass needs it.

    Attributes:
        eps: Of its normalization.
        value: The map, from the first gradient that asks for it to the last.
    """

    def __init__(self, eps: float) -> None:
        self.eps, self.value = eps, None

    def made(self, kept: Sequence[Tensor | None]) -> Tensor:
        if self.value is None:
            self.value = normalized(*kept, self.eps).relu_()
        return self.value

    def taken(self, kept: Sequence[Tensor | None]) -> Tensor:
        value, self.value = self.made(kept), None
        return value


class Mark(NamedTuple):
    """What is known of a map, as an attribute of its tensor.

    Attributes:
        activation: What it is or becomes.
        kept: Input, scale, shift, mean and variance of its normalization.
        rectified: Whether the ReLU has been.
        version: Of the tensor, which another one tells that it was written over.
    """

    activation: Activation
    kept: tuple[Tensor | None, ...]
    rectified: bool
    version: int


def mark(x: Tensor, rectified: bool) -> Mark | None:
    found = getattr(x, 'mark', None)
    return found if found and found.rectified == rectified and found.version == x._version else None


def normalized(x: Tensor, scale: Tensor | None, shift: Tensor | None, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    return F.batch_norm(x, mean, var, scale, shift, False, 0.0, eps)


def batch_norm(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor | None:  # fmt: skip
    """`F.batch_norm`, marked; None where it is none of ours."""
    learns = any(t is not None and t.requires_grad for t in (x, weight, bias))
    precise = any(t is not None and t.dtype in PRECISE for t in (x, weight, running_mean))
    if x.device.type not in ('cpu', 'cuda') or not learns or not precise or x.numel() <= x.shape[1]:
        return None
    y, mean, var = _Norm.apply(x, weight, bias, running_mean, running_var, training, momentum, eps)
    kept = tuple(None if t is None else t.detach() for t in (x, weight, bias, mean, var))
    y.mark = Mark(Activation(0.0 if training else eps), kept, False, y._version)
    return y


def relu(x: Tensor, inplace: bool = False) -> Tensor | None:
    """`F.relu` of what was normalized, marked; None elsewhere."""
    found = mark(x, rectified=False)
    if found is None:
        return None
    y = _ReLU.apply(x, inplace, found.activation, *found.kept)
    y.mark = found._replace(rectified=True, version=y._version)
    return y


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:  # fmt: skip
    """`F.conv2d` of an activation that is made anew; None elsewhere."""
    found = mark(x, rectified=True)
    if found is None or isinstance(padding, str):
        return None
    if torch.is_autocast_enabled(x.device.type):
        weight, bias = (None if t is None else t.to(torch.get_autocast_dtype(x.device.type)) for t in (weight, bias))
    if weight.dtype != x.dtype:
        return None
    shape = tuple((v, v) if isinstance(v, int) else tuple(v) for v in (stride, padding, dilation))
    return _Conv.apply(x, weight, bias, (*shape, groups), found.activation, *found.kept)


INSTEAD: dict[Callable, Callable[..., Tensor | None]] = {F.batch_norm: batch_norm, F.relu: relu, F.conv2d: conv2d}


class _Norm(Function):
    """Batch normalization that gives the mean and the variance that it went by, too."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor | None, shift: Tensor | None, running_mean: Tensor | None,
        running_var: Tensor | None, training: bool, momentum: float, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        y, mean, deviation = torch.native_batch_norm(
            x, scale, shift, running_mean, running_var, training, momentum, eps
        )  # fmt: skip
        if training:
            var, eps = deviation.pow(-2), 0.0
        else:
            mean, deviation, var = running_mean.clone(), None, running_var.clone()
        ctx.training, ctx.eps = training, eps
        ctx.save_for_backward(x, scale, mean, var, deviation)
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, scale, mean, var, deviation = ctx.saved_tensors
        gradients = torch.ops.aten.native_batch_norm_backward(
            gradient, x, scale, mean, var, mean, deviation, ctx.training, ctx.eps,
            ctx.needs_input_grad[:3],
        )  # fmt: skip
        return *gradients, None, None, None, None, None


class _ReLU(Function):
    """ReLU that keeps what its output is made from."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, inplace: bool, activation: Activation, *kept: Tensor | None) -> Tensor:
        ctx.activation = activation
        ctx.save_for_backward(*kept)
        if inplace:
            ctx.mark_dirty(y)
            return y.relu_()
        return y.relu()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kept = ctx.saved_tensors
        made = ctx.activation.taken(kept)
        torch.ops.aten.threshold_backward.grad_input(gradient, made, 0, grad_input=made)
        return made, None, None, *[None] * len(kept)


class _Conv(Function):
    """Convolution that keeps what its input is made from."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, shape: tuple, activation: Activation,
        *kept: Tensor | None,
    ) -> Tensor:  # fmt: skip
        ctx.activation, ctx.shape, ctx.outputs = activation, shape, None if bias is None else bias.shape
        ctx.save_for_backward(weight, *kept)
        return F.conv2d(x, weight, bias, *shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, *kept = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.shape
        gradients = torch.ops.aten.convolution_backward(
            gradient, ctx.activation.made(kept), weight, ctx.outputs, stride, padding, dilation, False, (0, 0), groups,
            ctx.needs_input_grad[:3],
        )  # fmt: skip
        return *gradients, None, None, *[None] * len(kept)
