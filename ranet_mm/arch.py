"""Every variant as data: `ArchCfg` describes one network, `ARCHS` names the published ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from typing import Any, NamedTuple

from .compat import COMPAT
from .layers import ATTENTION, LEARNING, UNITS, UPSAMPLE


class StageCfg(NamedTuple):
    """One stage: a unit that changes the shape, then attention modules, then further units.

    Attributes:
        unit: Kind of its units, a key of `layers.UNITS`.
        chs: Output channels.
        stride: Stride of the unit that opens it.
        modules: Attention modules.
        pools: Max poolings inside their masks.
        units: Residual units after the first one.
    """

    unit: str
    chs: int
    stride: int
    modules: int
    pools: int
    units: int


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
        unit: Kind of residual unit, a key of `layers.UNITS`; or one for each stage, the post stage included.
        always_project: Give every unit a shortcut convolution, also where the shape stays.
        attention: Attention function, a key of `layers.ATTENTION`.
        learning: How mask and trunk merge, a key of `layers.LEARNING`.
        mask: `encoder_decoder`, or `local` for three residual units without sampling (paper Table 4).
        upsample: How masks are enlarged, a key of `layers.UPSAMPLE`.
        width: Multiplier of every channel count; results are rounded to multiples of 8.
        flatten: End by flattening the last map instead of pooling it, which fixes the input size.
        compat: Graph of another implementation to follow, for its weights: a key of `compat.COMPAT`.
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
    unit: str | tuple[str, ...] = 'type1'
    always_project: bool = False
    attention: str = 'mixed'
    learning: str = 'residual'
    mask: str = 'encoder_decoder'
    upsample: str = 'bilinear'
    width: float = 1.0
    flatten: bool = False
    compat: str | None = None
    img_size: int = 224

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            _check_at_least(name, getattr(self, name), least)
        for name, allowed in _ALLOWED.items():
            _check_one_of(name, getattr(self, name), allowed)
        if isinstance(self.width, bool) or not isinstance(self.width, int | float) or not 0 < self.width < inf:
            raise ValueError(f'width={self.width!r} is not allowed: it must be a number greater than 0')
        for name in ('widths', 'strides', 'mask_pools'):
            self._check_length(name, len(self.modules))
        if not isinstance(self.unit, str):
            self._check_length('unit', len(self.modules) + bool(self.post_units))
        if self.mask == 'local' and any(self.mask_pools):
            raise ValueError(
                f"mask_pools={self.mask_pools!r} is not allowed with mask='local', which has no pooling: it must "
                f'be {(0,) * len(self.modules)!r}'
            )
        if self.mask == 'local' and self.compat:
            raise ValueError(
                f"compat={self.compat!r} is not allowed with mask='local', which adds nothing: leave it out"
            )

    def _check_length(self, name: str, stages: int) -> None:
        if len(getattr(self, name)) != stages:
            raise ValueError(
                f'{name}={getattr(self, name)!r} is not allowed: it must have {stages} entries, one for each stage, '
                f'as modules={self.modules!r} and post_units={self.post_units}'
            )

    def stage_unit(self, stage: int) -> str:
        """Kind of the units of a stage."""
        return self.unit if isinstance(self.unit, str) else self.unit[stage]

    def stages(self) -> list[StageCfg]:
        """The attention stages, and the post stage where there is one."""
        rows = [*zip(self.widths, self.strides, self.modules, self.mask_pools, [0] * len(self.modules), strict=True)]
        if self.post_units:
            rows.append((self.post_width, self.post_stride, 0, 0, self.post_units - 1))
        return [StageCfg(self.stage_unit(n), self.channels(width), *rest) for n, (width, *rest) in enumerate(rows)]

    @property
    def depth(self) -> int:
        """Weighted layers along the trunk, the number in the network's name (paper section 4.1).

        3(2p+t) for each attention module, 3 for each residual unit outside, 1 for the stem and 1 for
        the classifier. Gluon-CV's modules have one unit after the merge, whatever p is.
        """
        after = 1 if self.compat == 'gluoncv' else self.p
        units = len(self.modules) + self.post_units
        return 3 * (self.p + self.t + after) * sum(self.modules) + 3 * units + 2

    def last_side(self, output_stride: int = 32) -> int:
        """Side of the last map for an image of `img_size`, in pixels."""
        side, total = -(-self.img_size // self.stem_stride), self.stem_stride
        if self.stem_pool:
            side, total = max(1, side // 2), total * 2
        for stage in self.stages():
            if total * stage.stride <= output_stride:
                side, total = -(-side // stage.stride), total * stage.stride
        return side

    def channels(self, base: int) -> int:
        """`base` channels scaled by the width multiplier, a multiple of 8 where it is scaled."""
        return base if self.width == 1 else max(8, 8 * round(base * self.width / 8))


# Smallest value of each integer field; for tuples, of each entry.
_LEAST = dict(
    modules=1, widths=8, strides=1, mask_pools=0, post_width=8, post_units=0, post_stride=1, stem_width=1,
    stem_kernel=1, stem_stride=1, p=1, t=1, r=1, img_size=32,
)  # fmt: skip

_KINDS = {True: 'a sequence, one entry for each stage', False: 'one whole number'}

# The tables themselves, so that a row added to one is allowed at once.
_ALLOWED: dict[str, Iterable[Any]] = dict(
    unit=UNITS, attention=ATTENTION, learning=LEARNING, mask=('encoder_decoder', 'local'), upsample=UPSAMPLE,
    compat=COMPAT,
)  # fmt: skip


def _check_at_least(name: str, value: Any, least: int) -> None:
    entries = value if isinstance(value, tuple) else (value,)
    if isinstance(value, tuple) != isinstance(getattr(ArchCfg, name), tuple):
        raise ValueError(f'{name}={value!r} is not allowed: it must be {_KINDS[not isinstance(value, tuple)]}')
    if not entries or any(isinstance(v, bool) or not isinstance(v, int) or v < least for v in entries):
        raise ValueError(f'{name}={value!r} is not allowed: it must be a whole number, {least} or more')


def _check_one_of(name: str, value: Any, allowed: Iterable[Any]) -> None:
    entries = value if isinstance(value, tuple) else (value,)
    allowed = [*allowed]  # looked up by equality: what someone gives may have no hash
    if not entries or any(v not in allowed for v in entries):
        raise ValueError(f'{name}={value!r} is not allowed: it must be one of {", ".join(map(str, allowed))}')


# CIFAR layout: a 3x3 stem without pooling, and a post stage that keeps the 8x8 map, so that the
# lowest mask map is the last trunk map when the masks pool 2, 1 and 0 times.
_CIFAR = ArchCfg(
    widths=(128, 256, 512), mask_pools=(2, 1, 0), post_width=1024, post_stride=1,
    stem_width=32, stem_kernel=3, stem_stride=1, stem_pool=False, img_size=32,
)  # fmt: skip

# A reconstruction: the paper gives no more than the units' kind, 31.9M parameters and 6.3 GFLOPs at 299 px.
# Strides put Inception-ResNet's A, B and C units on its grids of about 37, 19 and 10 pixels.
_INCEPTION = ArchCfg(
    unit=('inception_a', 'inception_b', 'inception_c', 'inception_c'), strides=(2, 2, 2),
    widths=(384, 960, 1280), post_width=1792, post_stride=1, img_size=299,
)  # fmt: skip

_TABLE1 = replace(_CIFAR, post_units=0, flatten=True)  # the report's Table 1 to the letter
_DEEPEST = dict(p=2, t=4, r=3)  # paper Table 6, Attention-452

# On ImageNet the authors' files spread 3m modules over the stages as m-1, m, m+1 (56 has one each). On CIFAR
# the paper stacks m in each stage; Attention-92 follows the report's Table 1 there (1, 2, 3).
ARCHS: dict[str, ArchCfg] = {
    'attention56': ArchCfg(),
    'attention92': ArchCfg(modules=(1, 2, 3)),
    'attention128': ArchCfg(modules=(2, 3, 4)),
    'attention164': ArchCfg(modules=(3, 4, 5)),
    'attention236': ArchCfg(modules=(5, 6, 7)),
    'attention452': ArchCfg(modules=(5, 6, 7), **_DEEPEST),
    'attentionnext56': ArchCfg(unit='resnext'),
    'attentionnext92': ArchCfg(unit='resnext', modules=(1, 2, 3)),
    'attentioninception56': _INCEPTION,
    'attention56_cifar': _CIFAR,
    'attention92_cifar': replace(_CIFAR, modules=(1, 2, 3)),
    'attention128_cifar': replace(_CIFAR, modules=(3, 3, 3)),
    'attention164_cifar': replace(_CIFAR, modules=(4, 4, 4)),
    'attention236_cifar': replace(_CIFAR, modules=(6, 6, 6)),
    'attention452_cifar': replace(_CIFAR, modules=(6, 6, 6), **_DEEPEST),
    'attention56_table1': _TABLE1,
    'attention92_table1': replace(_TABLE1, modules=(1, 2, 3)),
}


def resolve_arch(arch: str | Mapping[str, Any] | ArchCfg, **overrides: Any) -> ArchCfg:
    """Return the `ArchCfg` that a name, a mapping of fields or an `ArchCfg` stands for.

    Args:
        arch: A key of `ARCHS`; a mapping of `ArchCfg` fields, where `base` may name the variant that
            the others change; or an `ArchCfg`.
        **overrides: Fields to change on top; `strides` may have an entry for the post stage too.

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
    overrides = _split_strides(arch, overrides)
    if overrides.get('mask') == 'local':
        overrides.setdefault('mask_pools', (0,) * _length(overrides.get('modules', arch.modules)))
    known = [f.name for f in fields(ArchCfg)]
    for name in overrides:
        if name not in known:
            raise TypeError(f'{name!r} is not an option of the network: allowed are {", ".join(known)}')
    return replace(arch, **{k: tuple(v) if isinstance(v, list) else v for k, v in overrides.items()})


def _length(value: Any) -> int:
    """Entries of a sequence; what is none is told later, by its name."""
    return len(value) if isinstance(value, tuple | list) else 0


def _split_strides(arch: ArchCfg, overrides: dict[str, Any]) -> dict[str, Any]:
    """Fields in which `strides` has no entry for the post stage, as ResNet's has."""
    strides, stages = overrides.get('strides'), _length(overrides.get('modules') or arch.modules)
    if 'post_stride' in overrides or _length(strides) != stages + 1:
        return overrides
    return {**overrides, 'strides': strides[:-1], 'post_stride': strides[-1]}


def units(cfg: ArchCfg) -> int:
    """Residual units in all, or a few more."""
    modules = zip(cfg.modules, cfg.mask_pools, strict=True)
    inside = sum(count * (2 * cfg.p + cfg.t + 2 * cfg.r * max(1, pools)) for count, pools in modules)
    return inside + len(cfg.modules) + cfg.post_units


def changed_fields(cfg: ArchCfg, base: ArchCfg) -> dict[str, Any]:
    """Fields of `cfg` that differ from those of `base`."""
    return {f.name: getattr(cfg, f.name) for f in fields(cfg) if getattr(cfg, f.name) != getattr(base, f.name)}


def nearest(cfg: ArchCfg, names: Iterable[str] = ARCHS) -> tuple[str, dict[str, Any]]:
    """The name that comes nearest to a network, and the fields that make it that network."""
    name = min(names, key=lambda known: len(changed_fields(cfg, ARCHS[known])))
    return name, changed_fields(cfg, ARCHS[name])


def named(cfg: ArchCfg) -> str:
    """The name that comes nearest to a network, and the options that make it that network, for a sentence."""
    name, changed = nearest(cfg)
    changes = ', '.join(f'{field}={value!r}' for field, value in changed.items())
    return f'{name} with {changes}' if changes else name
