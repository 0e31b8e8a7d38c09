"""Every variant as data: `ArchCfg` describes one network, `ARCHS` names the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class ArchCfg:
    """Plain-data description of a Residual Attention Network.

    Every stage but the last is one residual unit that changes the shape, followed by attention
    modules; the last (post) stage is residual units only.

    Attributes:
        modules: Attention modules of each stage; its length is the number of attention stages.
        widths: Output channels of each attention stage, before `width`.
        strides: Stride of the unit that opens each attention stage.
        mask_pools: Max poolings inside the masks of each stage.
        post_width: Output channels of the post stage, before `width`.
        post_units: Residual units in the post stage; 0 leaves the stage out.
        post_stride: Stride of the post stage's first unit.
        stem_width: Channels of the stem convolution, before `width`.
        stem_kernel: Kernel size of the stem convolution, in pixels.
        stem_stride: Stride of the stem convolution.
        stem_pool: Whether a 3x3/2 max pooling follows the stem.
        p: Residual units before the split into trunk and mask, and again after the merge.
        t: Residual units of the trunk branch.
        r: Residual units between two poolings of the mask branch (2r at the lowest size).
        width: Multiplier of every channel count; results are rounded to multiples of 8.
        img_size: Native input size in pixels; other sizes are allowed.
    """

    modules: tuple[int, ...] = (1, 1, 1)
    widths: tuple[int, ...] = (256, 512, 1024)
    strides: tuple[int, ...] = (1, 2, 2)
    mask_pools: tuple[int, ...] = (3, 2, 1)
    post_width: int = 2048
    post_units: int = 3
    post_stride: int = 2
    stem_width: int = 64
    stem_kernel: int = 7
    stem_stride: int = 2
    stem_pool: bool = True
    p: int = 1
    t: int = 2
    r: int = 1
    width: float = 1.0
    img_size: int = 224

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            _check_at_least(name, getattr(self, name), least)
        if self.width <= 0:
            raise ValueError(f'width={self.width!r} is not allowed: it must be greater than 0')
        for name in ('widths', 'strides', 'mask_pools'):
            if len(getattr(self, name)) != len(self.modules):
                raise ValueError(
                    f'{name}={getattr(self, name)!r} is not allowed: it must have one entry for each of the '
                    f'{len(self.modules)} stages of modules={self.modules!r}'
                )

    @property
    def depth(self) -> int:
        """Weighted layers along the trunk, the number in the network's name (paper section 4.1).

        3(2p+t) for each attention module, 3 for each residual unit outside, 1 for the stem and 1 for
        the classifier.
        """
        units = len(self.modules) + self.post_units
        return 3 * (2 * self.p + self.t) * sum(self.modules) + 3 * units + 2

    def channels(self, base: int) -> int:
        """`base` channels scaled by the width multiplier, a multiple of 8 where it is scaled."""
        return base if self.width == 1 else max(8, 8 * round(base * self.width / 8))


# Smallest value of each integer field; for tuples, of each entry.
_LEAST = dict(
    modules=1, widths=8, strides=1, mask_pools=0, post_width=8, post_units=0, post_stride=1, stem_width=1,
    stem_kernel=1, stem_stride=1, p=1, t=1, r=1, img_size=32,
)  # fmt: skip


def _check_at_least(name: str, value: Any, least: int) -> None:
    entries = value if isinstance(value, tuple) else (value,)
    if not entries or any(isinstance(v, bool) or not isinstance(v, int) or v < least for v in entries):
        raise ValueError(f'{name}={value!r} is not allowed: it must be {least} or more, a whole number')


# CIFAR layout: a 3x3 stem without pooling, and a post stage that keeps the 8x8 map, so that the
# lowest mask map is the last trunk map when the masks pool 2, 1 and 0 times.
_CIFAR = ArchCfg(
    widths=(128, 256, 512), mask_pools=(2, 1, 0), post_width=1024, post_stride=1,
    stem_width=32, stem_kernel=3, stem_stride=1, stem_pool=False, img_size=32,
)  # fmt: skip

ARCHS: dict[str, ArchCfg] = {
    'attention56': ArchCfg(),
    'attention92': ArchCfg(modules=(1, 2, 3)),
    'attention56_cifar': _CIFAR,
    'attention92_cifar': replace(_CIFAR, modules=(1, 2, 3)),
}


def resolve_arch(arch: str | Mapping[str, Any] | ArchCfg, **overrides: Any) -> ArchCfg:
    """Return the `ArchCfg` that a name, a mapping of fields or an `ArchCfg` stands for.

    Args:
        arch: A key of `ARCHS`; a mapping of `ArchCfg` fields, where `base` may name the variant that
            the others change; or an `ArchCfg`.
        **overrides: Fields to change on top.

    Raises:
        ValueError: `arch` is not a known name, or a field has a value that is not allowed.
        TypeError: A field does not exist, or `arch` is of another type.
    """
    if isinstance(arch, Mapping):
        overrides = {**arch, **overrides}
        arch = overrides.pop('base', ArchCfg())
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f'arch={arch!r} is not known: allowed are {", ".join(ARCHS)}')
        arch = ARCHS[arch]
    if not isinstance(arch, ArchCfg):
        raise TypeError(f'arch={arch!r} is not allowed: it must be a name, a mapping or an ArchCfg')
    known = [f.name for f in fields(ArchCfg)]
    for name in overrides:
        if name not in known:
            raise TypeError(f'{name!r} is not an option of the network: allowed are {", ".join(known)}')
    return replace(arch, **{k: tuple(v) if isinstance(v, list) else v for k, v in overrides.items()})
