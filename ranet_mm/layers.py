"""Layers of the Residual Attention Network (arXiv:1704.06904), torch only.

Shapes are (N, C, H, W) in and out. Wiring follows the authors' deploy files; `docs/fidelity.md` says where
the paper's text leaves a choice open.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NormLayer = Callable[[int], nn.Module]
ActLayer = Callable[[], nn.Module]


class DropPath(nn.Module):
    """Stochastic depth: drops the residual of a sample with probability `rate` (arXiv:1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = 1 - self.rate
        return x * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(keep).div_(keep)


class MaxPool(nn.Module):
    """3x3/2 max pooling as in the authors' Caffe: no padding, last window cut off by the border.

    (N, C, H, W) -> (N, C, max(1, H // 2), max(1, W // 2)); a side of 1 pixel passes through.
    """

    def forward(self, x: Tensor) -> Tensor:
        # 1 // side is 1 for a side of one pixel, whose window would not fit without padding.
        return F.max_pool2d(x, 3, 2, (1 // x.shape[-2], 1 // x.shape[-1]), ceil_mode=True)


class ResidualUnit(nn.Module):
    """Pre-activation bottleneck: 3 x (norm, act, conv), plus the raw input (arXiv:1603.05027).

    Where the shape changes, the shortcut is a 1x1 convolution of the first activation, which it shares
    with the residual path (the report's unit type 1).
    """

    preact = True

    def __init__(
        self,
        in_chs: int,
        chs: int | None = None,
        stride: int = 1,
        dilation: int = 1,
        norm_layer: NormLayer = nn.BatchNorm2d,
        act_layer: ActLayer = nn.ReLU,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        chs = chs or in_chs
        mid = chs // 4
        self.norm1 = norm_layer(in_chs)
        self.conv1 = nn.Conv2d(in_chs, mid, 1, bias=False)
        self.norm2 = norm_layer(mid)
        self.conv2 = nn.Conv2d(mid, mid, 3, stride, dilation, dilation, bias=False)
        self.norm3 = norm_layer(mid)
        self.conv3 = nn.Conv2d(mid, chs, 1, bias=False)
        changes = stride != 1 or in_chs != chs
        self.shortcut = nn.Conv2d(in_chs, chs, 1, stride, bias=False) if changes else None
        self.act = act_layer()
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        a = self.act(self.norm1(x))
        identity = x if self.shortcut is None else self.shortcut(a)
        y = self.conv1(a)
        y = self.conv2(self.act(self.norm2(y)))
        y = self.conv3(self.act(self.norm3(y)))
        return identity + self.drop_path(y)


UnitLayer = Callable[[int], nn.Module]  # channels -> a unit that keeps the shape


def units(unit: UnitLayer, chs: int, count: int) -> nn.Sequential:
    """`count` units in a row."""
    return nn.Sequential(*(unit(chs) for _ in range(count)))


class Hourglass(nn.Module):
    """Pool -> r units -> [skip unit + inner hourglass] -> r units -> bilinear back to the input's size.

    The lowest level has no inner hourglass, so 2r units meet there (paper Fig. 2). With `pools` = 0 those
    2r units stand alone, at the input's size.
    """

    def __init__(self, unit: UnitLayer, chs: int, pools: int, r: int = 1) -> None:
        super().__init__()
        self.pool = MaxPool() if pools > 0 else None
        self.down = units(unit, chs, r)
        self.skip = unit(chs) if pools > 1 else None
        self.inner = Hourglass(unit, chs, pools - 1, r) if pools > 1 else None
        self.up = units(unit, chs, r)

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.pool is None else self.pool(x)
        h = self.down(h)
        if self.inner is not None and self.skip is not None:
            h = self.skip(h) + self.inner(h)
        h = self.up(h)
        if self.pool is None:
            return h
        return F.interpolate(h, size=x.shape[-2:], mode='bilinear', align_corners=True)


class SoftMaskBranch(nn.Module):
    """Hourglass, then two 1x1 convolutions and the sigmoid: a mask in [0, 1] of the input's shape."""

    def __init__(
        self,
        unit: UnitLayer,
        chs: int,
        pools: int,
        r: int = 1,
        norm_layer: NormLayer = nn.BatchNorm2d,
        act_layer: ActLayer = nn.ReLU,
    ) -> None:
        super().__init__()
        self.hourglass = Hourglass(unit, chs, pools, r)
        self.norm1 = norm_layer(chs)
        self.conv1 = nn.Conv2d(chs, chs, 1, bias=False)
        self.norm2 = norm_layer(chs)
        self.conv2 = nn.Conv2d(chs, chs, 1, bias=False)
        self.act = act_layer()

    def forward(self, x: Tensor) -> Tensor:
        h = self.hourglass(x)
        h = self.conv1(self.act(self.norm1(h)))
        h = self.conv2(self.act(self.norm2(h)))
        return torch.sigmoid(h)


class AttentionModule(nn.Module):
    """p units -> (trunk of t units, soft mask) -> (1 + mask) * trunk -> p units (paper Eq. 3, Fig. 2)."""

    def __init__(self, unit: UnitLayer, chs: int, mask: nn.Module, p: int = 1, t: int = 2) -> None:
        super().__init__()
        self.pre = units(unit, chs, p)
        self.trunk = units(unit, chs, t)
        self.mask = mask
        self.post = units(unit, chs, p)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pre(x)
        trunk, mask = self.trunk(x), self.mask(x)
        # (1 + mask) * trunk in one pass over memory, and without rounding 1 + mask in half precision.
        return self.post(torch.addcmul(trunk, mask, trunk))
