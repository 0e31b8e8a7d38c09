"""Muon, the optimizer of the `progressive` recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from torch import Tensor, nn

from ...registry import OPTIMIZERS
from .optim import amp_dtype

# Five steps of a quintic whose coefficients were optimized for each step: singular values from 0.01 to 1 end near 1.
# Figures from timm 1.0.31, `timm.optim.muon`, there called "quintic".
QUINTIC = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)


@OPTIMIZERS.register_module()
class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al., 2024) for kernels of convolutions, Nesterov SGD for all other parameters.

    A kernel's momentum, as a matrix of (outputs, inputs x height x width), is replaced by the nearest orthogonal matrix
    and scaled such that the root mean square of its elements is 0.2 (Liu et al., "Muon is scalable", 2025). PyTorch's
    Muon takes matrices alone; timm's moves kernels the same way to 2 %, but all other parameters by AdamW, computes
    always in bfloat16, one kernel after the other (4,155 operations a step of Attention-56, views aside; here 402), and
    all of them in each process. Here processes share out the kernels, which each must hold whole: not for
    `FSDPStrategy`.

    Args:
        params: Parameters or groups of them.
        lr: Rate of kernels.
        momentum: Of kernels.
        sgd_ratio: SGD's rate as a multiple of `lr`.
        sgd_momentum: Of all other parameters.
        weight_decay: A step takes this fraction of a parameter away, times its rate (decoupled decay).

    Raises:
        ValueError: `lr` or `sgd_ratio` is negative, a momentum is not in [0, 1), or no parameter is a kernel.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        sgd_ratio: float = 5.0,
        sgd_momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        for name, value in (('lr', lr), ('sgd_ratio', sgd_ratio)):
            if value < 0:
                raise ValueError(f'{name}={value!r} is not allowed: it must be 0 or more')
        for name, value in (('momentum', momentum), ('sgd_momentum', sgd_momentum)):
            if not 0 <= value < 1:
                raise ValueError(f'{name}={value!r} is not allowed: it must be 0 or more and below 1')
        sgd = dict(sgd_ratio=sgd_ratio, sgd_momentum=sgd_momentum)
        super().__init__(params, dict(lr=lr, momentum=momentum, **sgd, weight_decay=weight_decay))
        if not any(p.dim() == 4 for group in self.param_groups for p in group['params']):
            raise ValueError(
                'params is not allowed: no parameter has the 4 dimensions of a kernel; FSDPStrategy flattens them'
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        kernels = []  # of each group, with their steps
        for group in self.param_groups:
            params = [p for p in group['params'] if p.grad is not None]
            others, mine = [p for p in params if p.dim() != 4], [p for p in params if p.dim() == 4]
            kernels.append((mine, self._nesterov(mine, group['momentum']), group))
            _move(others, self._nesterov(others, group['sgd_momentum']), group['lr'] * group['sgd_ratio'], group)
        found = iter(orthogonalized([step for _, steps, _ in kernels for step in steps]))
        for mine, _, group in kernels:
            _move(mine, list(islice(found, len(mine))), group['lr'], group)
        return loss

    def _nesterov(self, params: list[nn.Parameter], momentum: float) -> list[Tensor]:
        if not params:
            return []
        for p in params:
            if 'momentum_buffer' not in self.state[p]:
                self.state[p]['momentum_buffer'] = torch.zeros_like(p)
        buffers, grads = [self.state[p]['momentum_buffer'] for p in params], [p.grad for p in params]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, grads)
        return list(torch._foreach_add(grads, buffers, alpha=momentum))


def _move(params: list[nn.Parameter], steps: list[Tensor], lr: float, group: dict[str, Any]) -> None:
    if params:
        torch._foreach_mul_(params, 1 - lr * group['weight_decay'])
        torch._foreach_add_(params, steps, alpha=-lr)


def orthogonalized(kernels: list[Tensor]) -> list[Tensor]:
    """Each kernel's nearest orthogonal matrix times 0.2 * sqrt(its longer side), in the kernel's shape.

    Kernels of one shape, or of that shape turned, are computed at once: a network has a hundred of them, and few
    shapes. With several processes each computes a share of each shape.
    """
    rank, processes = get_rank(), get_world_size()
    matrices = [kernel.flatten(1) for kernel in kernels]
    done: list[Tensor] = [None] * len(kernels)
    shapes: dict[tuple, list[int]] = {}
    for i, matrix in enumerate(matrices):
        shapes.setdefault((*sorted(matrix.shape), matrix.dtype), []).append(i)
    for (_, longer, _), places in shapes.items():
        own = places[rank::processes]
        wide = [matrices[i] if matrices[i].shape[1] == longer else matrices[i].mT for i in own]
        found = iter(newton_schulz(torch.stack(wide)) * (0.2 * longer**0.5) if own else ())
        for i in places:
            if i not in own:
                done[i] = torch.zeros_like(matrices[i])
            else:
                done[i] = next(found) if matrices[i].shape[1] == longer else next(found).mT
    if processes > 1 and done:
        flat = torch.cat([matrix.flatten() for matrix in done])
        all_reduce(flat)
        done = flat.split([matrix.numel() for matrix in done])
    return [matrix.reshape(kernel.shape) for matrix, kernel in zip(done, kernels, strict=True)]


def newton_schulz(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal rows, or columns where there are more rows; singular values within 0.1 of 1.

    Args:
        matrix: (..., m, n).
    """
    half = matrix.dtype == torch.float32 and amp_dtype(matrix.device.type) == torch.bfloat16
    x = (matrix.bfloat16() if half else matrix).reshape(-1, *matrix.shape[-2:])
    if tall := x.shape[-2] > x.shape[-1]:
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for a, b, c in QUINTIC:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrix.dtype).reshape(matrix.shape)
