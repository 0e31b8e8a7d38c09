"""Graphs of other implementations, for the weights that were trained in them.

The ports take the second input of the authors' `Interp` layer, which only gives a size, for an addend, and pad
their poolings: `docs/converting.md` says whose weights need which graph. `COMPAT` takes a new row for a new one.
"""

from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from .layers import AttentionModule, Hourglass, MaxPool, SoftMaskBranch


class PaddedMaxPool(nn.Module):
    """3x3/2 max pooling with a padding of 1: (N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2))."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, 1)


class AddingHourglass(Hourglass):
    """Adds, after each upsampling, the feature that has the size it was enlarged to."""

    pool_layer = PaddedMaxPool

    def forward(self, x: Tensor, large: Tensor) -> Tensor:
        h = self.down(x if self.pool is None else self.pool(x))
        if self.inner is not None and self.skip is not None:
            h = self.skip(h) + self.inner(h, h)
        h = self.up(h)
        return h if self.resize is None else self.resize(h, x) + large


class AddingMaskBranch(SoftMaskBranch):
    """Soft mask branch that reads the trunk's output besides its input."""

    def forward(self, x: Tensor, trunk: Tensor) -> Tensor:
        return self.head(self.hourglass(x, trunk))


class AddingAttentionModule(AttentionModule):
    """Attention module whose mask adds the output of the trunk."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.pre(x)
        trunk = self.trunk(x)
        return self.post(self.merge(self.mask(x, trunk), trunk))


class GluonAttentionModule(AddingAttentionModule):
    """The same with a single unit after the merge, whatever p is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.post = self.post[:1]


class Parts(NamedTuple):
    """The classes that a network is built from."""

    pool: type[nn.Module] = MaxPool
    hourglass: type[Hourglass] = Hourglass
    mask: type[SoftMaskBranch] = SoftMaskBranch
    module: type[AttentionModule] = AttentionModule


_PORT = Parts(PaddedMaxPool, AddingHourglass, AddingMaskBranch, AddingAttentionModule)

COMPAT: dict[str | None, Parts] = {
    None: Parts(),
    'tengshaofeng': _PORT,
    'gluoncv': _PORT._replace(module=GluonAttentionModule),
}
