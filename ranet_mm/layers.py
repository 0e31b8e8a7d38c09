"""Layers of the Residual Attention Network (arXiv:1704.06904), torch only.

Shapes are (N, C, H, W) in and out. Wiring follows the authors' deploy files; `docs/fidelity.md` says where
the paper's text leaves a choice open. Each table (`UNITS`, `ATTENTION`, `LEARNING`, `UPSAMPLE`) takes a new
row for a new kind.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NormLayer = Callable[[int], nn.Module]
ActLayer = Callable[[], nn.Module]
UnitLayer = Callable[[int], nn.Module]  # channels -> a unit that keeps the shape


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
        if not torch.jit.is_scripting():
            if torch.compiler.is_exporting():
                return self._exported(x)
            if torch.are_deterministic_algorithms_enabled() and x.is_cuda:
                return self._deterministic(x)
        # 1 // side is 1 for a side of one pixel, whose window would not fit without padding.
        return F.max_pool2d(x, 3, 2, (1 // x.shape[-2], 1 // x.shape[-1]), ceil_mode=True)

    @torch.jit.unused
    def _deterministic(self, x: Tensor) -> Tensor:
        """The same values and gradients; on a GPU, PyTorch's own gradient is summed in no fixed order."""
        height, width = (max(1, side // 2) for side in x.shape[-2:])
        x = F.pad(x, (0, 2 * width + 1 - x.shape[-1], 0, 2 * height + 1 - x.shape[-2]), value=float('-inf'))
        windows = [x[..., i : i + 2 * height : 2, j : j + 2 * width : 2] for i in range(3) for j in range(3)]
        return torch.stack(windows).max(0).values

    @torch.jit.unused
    def _exported(self, x: Tensor) -> Tensor:
        """The same values without a strided pooling, which ties an exported graph to even or to odd sizes."""
        right, below = (1 if side > 1 else 2 for side in (x.shape[-1], x.shape[-2]))
        return F.max_pool2d(F.pad(x, (0, right, 0, below), value=float('-inf')), 3, 1)[..., ::2, ::2]


# Residual units -----------------------------------------------------------------------------------------


class Unit(nn.Module):
    """Base of all residual units: a residual path plus the input, or a projection of it.

    Subclasses build the residual path in `build`, the shortcut of a unit that projects in `projection`, and
    say in `forward` what each of them reads. Both take the builders `norm` and `act` of the two layers below.

    Args:
        in_chs: Channels of the input.
        chs: Channels of the output; those of the input where left out.
        stride: Stride of the unit.
        dilation: Dilation of the spatial convolutions.
        project: Have a shortcut convolution even where the shape stays.
        norm_layer: Builds a normalization from its number of channels.
        act_layer: Builds an activation.
        drop_path: Probability of dropping the residual of a sample in training.
    """

    preact: bool  # whether the network normalizes and activates after the last unit

    def __init__(
        self,
        in_chs: int,
        chs: int | None = None,
        stride: int = 1,
        dilation: int = 1,
        project: bool = False,
        norm_layer: NormLayer = nn.BatchNorm2d,
        act_layer: ActLayer = nn.ReLU,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        chs = chs or in_chs
        self.build(in_chs, chs, stride, dilation, norm_layer, act_layer)
        project = project or stride != 1 or in_chs != chs
        self.shortcut = self.projection(in_chs, chs, stride, norm_layer, act_layer) if project else None
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def build(self, in_chs: int, chs: int, stride: int, dilation: int, norm: NormLayer, act: ActLayer) -> None:
        raise NotImplementedError

    def projection(self, in_chs: int, chs: int, stride: int, norm: NormLayer, act: ActLayer) -> nn.Module:
        raise NotImplementedError

    def zero_init(self) -> None:
        """Start as the identity (behind the projection, where there is one)."""
        raise NotImplementedError


class ResidualUnit(Unit):
    """Pre-activation bottleneck: 3 x (norm, act, conv), plus the raw input (arXiv:1603.05027).

    Where the shape changes, the shortcut is a 1x1 convolution of the first activation, which it shares
    with the residual path (the report's unit type 1, the authors' files).
    """

    preact = True

    def build(self, in_chs: int, chs: int, stride: int, dilation: int, norm: NormLayer, act: ActLayer) -> None:
        mid = chs // 4
        self.norm1, self.act1 = norm(in_chs), act()
        self.conv1 = conv(in_chs, mid, 1)
        self.norm2, self.act2 = norm(mid), act()
        self.conv2 = conv(mid, mid, 3, stride, dilation)
        self.norm3, self.act3 = norm(mid), act()
        self.conv3 = conv(mid, chs, 1)

    def projection(self, in_chs: int, chs: int, stride: int, norm: NormLayer, act: ActLayer) -> nn.Module:
        return conv(in_chs, chs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        a = self.act1(self.norm1(x))
        identity = x if self.shortcut is None else self.shortcut(a)
        return identity + self.drop_path(self.residual(a))

    def residual(self, a: Tensor) -> Tensor:
        y = self.conv1(a)
        y = self.conv2(self.act2(self.norm2(y)))
        return self.conv3(self.act3(self.norm3(y)))

    def zero_init(self) -> None:
        nn.init.zeros_(self.conv3.weight)  # a zero scale before the last ReLU would never get a gradient


class ResidualUnitType2(ResidualUnit):
    """The report's unit type 2: a shortcut convolution has a norm and an activation of its own."""

    def projection(self, in_chs: int, chs: int, stride: int, norm: NormLayer, act: ActLayer) -> nn.Module:
        return nn.Sequential(norm(in_chs), act(), conv(in_chs, chs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.shortcut is None else self.shortcut(x)
        return identity + self.drop_path(self.residual(self.act1(self.norm1(x))))


class PostActUnit(Unit):
    """Base of units that activate after the sum, by `act3`; their projection has a norm."""

    preact = False

    def projection(self, in_chs: int, chs: int, stride: int, norm: NormLayer, act: ActLayer) -> nn.Module:
        return nn.Sequential(conv(in_chs, chs, 1, stride), norm(chs))

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.shortcut is None else self.shortcut(x)
        return self.act3(identity + self.drop_path(self.residual(x)))

    def zero_init(self) -> None:
        nn.init.zeros_(self.norm3.weight)


class ResNeXtUnit(PostActUnit):
    """Post-activation bottleneck with a 3x3 convolution of 32 groups (arXiv:1611.05431)."""

    groups = 32

    def build(self, in_chs: int, chs: int, stride: int, dilation: int, norm: NormLayer, act: ActLayer) -> None:
        mid = chs // 2
        if mid % self.groups:
            raise ValueError(
                f'{chs} channels are not allowed in a ResNeXt unit: they must be a multiple of {2 * self.groups}'
            )
        self.conv1 = conv(in_chs, mid, 1)
        self.norm1, self.act1 = norm(mid), act()
        self.conv2 = conv(mid, mid, 3, stride, dilation, self.groups)
        self.norm2, self.act2 = norm(mid), act()
        self.conv3 = conv(mid, chs, 1)
        self.norm3, self.act3 = norm(chs), act()

    def residual(self, x: Tensor) -> Tensor:
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.act2(self.norm2(self.conv2(y)))
        return self.norm3(self.conv3(y))


class InceptionUnit(PostActUnit):
    """Inception-ResNet unit: branches of convolutions side by side, joined by a 1x1 (arXiv:1602.07261).

    Every branch starts with a 1x1 convolution to an eighth of the channels and goes on with the kernels of
    its entry in `branches`. The stride is on the last convolution of each branch.
    """

    branches: tuple[tuple[tuple[int, int], ...], ...]

    def build(self, in_chs: int, chs: int, stride: int, dilation: int, norm: NormLayer, act: ActLayer) -> None:
        mid = chs // 8
        self.paths = nn.ModuleList()
        for kernels in self.branches:
            path = nn.Sequential()
            for i, kernel in enumerate(((1, 1), *kernels)):
                last = i == len(kernels)
                path.append(conv(mid if i else in_chs, mid, kernel, stride if last else 1, dilation))
                path.extend([norm(mid), act()])
            self.paths.append(path)
        self.conv3 = conv(mid * len(self.branches), chs, 1)
        self.norm3, self.act3 = norm(chs), act()

    def residual(self, x: Tensor) -> Tensor:
        return self.norm3(self.conv3(torch.cat([path(x) for path in self.paths], 1)))


class InceptionUnitA(InceptionUnit):
    """Three branches: 1x1; 3x3; 3x3, 3x3."""

    branches = ((), ((3, 3),), ((3, 3), (3, 3)))


class InceptionUnitB(InceptionUnit):
    """Two branches: 1x1; 1x7, 7x1."""

    branches = ((), ((1, 7), (7, 1)))


class InceptionUnitC(InceptionUnit):
    """Two branches: 1x1; 1x3, 3x1."""

    branches = ((), ((1, 3), (3, 1)))


UNITS: dict[str, Callable[..., nn.Module]] = {
    'type1': ResidualUnit,
    'type2': ResidualUnitType2,
    'resnext': ResNeXtUnit,
    'inception_a': InceptionUnitA,
    'inception_b': InceptionUnitB,
    'inception_c': InceptionUnitC,
}


def conv(
    in_chs: int, chs: int, kernel: int | tuple[int, int], stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Convolution without bias whose output has the input's size, divided by the stride."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = tuple(side // 2 * dilation for side in sides)
    return nn.Conv2d(in_chs, chs, sides, stride, padding, dilation, groups, bias=False)


def units(unit: UnitLayer, chs: int, count: int) -> nn.Sequential:
    """`count` units in a row."""
    return nn.Sequential(*(unit(chs) for _ in range(count)))


# Soft mask branch ---------------------------------------------------------------------------------------


class Resize(nn.Module):
    """Interpolation of `x` to the size of `like`."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.align_corners = True if mode == 'bilinear' else None

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=like.shape[-2:], mode=self.mode, align_corners=self.align_corners)


class TransposedConv(nn.Module):
    """Learned upsampling of `x` to the size of `like`, at most one pixel over twice that of `x`."""

    def __init__(self, chs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(chs, chs, 4, 2, 1, output_padding=1, bias=False)

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        x = self.conv(x)
        # A slice would tie an exported graph to sizes that need a cut; negative padding cuts without asking.
        return F.pad(x, (0, like.shape[-1] - x.shape[-1], 0, like.shape[-2] - x.shape[-2]))


UPSAMPLE: dict[str, Callable[[int], nn.Module]] = {
    'bilinear': lambda chs: Resize('bilinear'),
    'nearest': lambda chs: Resize('nearest'),
    'transposed': TransposedConv,
}


class Hourglass(nn.Module):
    """Pool -> r units -> [skip unit + inner hourglass] -> r units -> resize back to the input's size.

    The lowest level has no inner hourglass, so 2r units meet there (paper Fig. 2). With `pools` = 0 those
    2r units stand alone, at the input's size.
    """

    pool_layer = MaxPool

    def __init__(
        self,
        unit: UnitLayer,
        chs: int,
        pools: int,
        r: int = 1,
        upsample: Callable[[int], nn.Module] = UPSAMPLE['bilinear'],
    ) -> None:
        super().__init__()
        self.pool = self.pool_layer() if pools > 0 else None
        self.down = units(unit, chs, r)
        self.skip = unit(chs) if pools > 1 else None
        self.inner = type(self)(unit, chs, pools - 1, r, upsample) if pools > 1 else None
        self.up = units(unit, chs, r)
        self.resize = upsample(chs) if pools > 0 else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.down(x if self.pool is None else self.pool(x))
        if self.inner is not None and self.skip is not None:
            h = self.skip(h) + self.inner(h)
        h = self.up(h)
        return h if self.resize is None else self.resize(h, x)


def mixed_attention(x: Tensor) -> Tensor:
    """sigmoid(x), each channel and position by itself (paper Eq. 4)."""
    return torch.sigmoid(x)


def channel_attention(x: Tensor) -> Tensor:
    """x / |x| over the channels of a position, in [-1, 1] (paper Eq. 5); a zero vector stays zero."""
    return F.normalize(x, dim=1, eps=1e-6)


def spatial_attention(x: Tensor) -> Tensor:
    """sigmoid((x - mean) / std) over the positions of a channel (paper Eq. 6); a constant map gives 0.5."""
    var, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    return torch.sigmoid((x - mean) * torch.rsqrt(var + 1e-5))


ATTENTION: dict[str, Callable[[Tensor], Tensor]] = {
    'mixed': mixed_attention,
    'channel': channel_attention,
    'spatial': spatial_attention,
}


class SoftMaskBranch(nn.Module):
    """Body, then two 1x1 convolutions and the attention function: a mask of the input's shape.

    After pre-activation units a norm and an activation come first: norm, act, conv, norm, act, conv. After
    others the first convolution stands alone: conv, norm, act, conv.
    """

    def __init__(
        self,
        hourglass: nn.Module,
        chs: int,
        preact: bool = True,
        attention: Callable[[Tensor], Tensor] = mixed_attention,
        norm_layer: NormLayer = nn.BatchNorm2d,
        act_layer: ActLayer = nn.ReLU,
    ) -> None:
        super().__init__()
        self.hourglass = hourglass
        self.norm1, self.act1 = (norm_layer(chs), act_layer()) if preact else (None, None)
        self.conv1 = conv(chs, chs, 1)
        self.norm2, self.act2 = norm_layer(chs), act_layer()
        self.conv2 = conv(chs, chs, 1)
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hourglass(x))

    def head(self, h: Tensor) -> Tensor:
        if self.norm1 is not None and self.act1 is not None:
            h = self.act1(self.norm1(h))
        h = self.conv2(self.act2(self.norm2(self.conv1(h))))
        return self.attention(h)


# Attention module ---------------------------------------------------------------------------------------


def residual_learning(mask: Tensor, trunk: Tensor) -> Tensor:
    """(1 + mask) * trunk (paper Eq. 3), in one pass and without rounding 1 + mask in half precision."""
    return torch.addcmul(trunk, mask, trunk)


def naive_learning(mask: Tensor, trunk: Tensor) -> Tensor:
    """mask * trunk (paper Eq. 1)."""
    return mask * trunk


LEARNING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'residual': residual_learning,
    'naive': naive_learning,
}


class Merge(nn.Module):
    """What joins mask and trunk, as a module: its inputs and its output can be read in every form of the network."""

    def __init__(self, learning: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.learning = learning

    def forward(self, mask: Tensor, trunk: Tensor) -> Tensor:
        return self.learning(mask, trunk)


class AttentionModule(nn.Module):
    """p units -> (trunk of t units, soft mask) -> merge of both -> p units (paper Fig. 2)."""

    def __init__(
        self,
        unit: UnitLayer,
        chs: int,
        mask: nn.Module,
        p: int = 1,
        t: int = 2,
        merge: Callable[[Tensor, Tensor], Tensor] = residual_learning,
    ) -> None:
        super().__init__()
        self.pre = units(unit, chs, p)
        self.trunk = units(unit, chs, t)
        self.mask = mask
        self.post = units(unit, chs, p)
        self.merge = Merge(merge)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pre(x)
        return self.post(self.merge(self.mask(x), self.trunk(x)))
