"""The network without a classifier, torch only. Both ecosystems' classes inherit it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .arch import ArchCfg, resolve_arch
from .compat import COMPAT
from .layers import (
    ATTENTION,
    LEARNING,
    UNITS,
    UPSAMPLE,
    ActLayer,
    NormLayer,
    Unit,
    conv,
    units,
)

MIN_SIZE = 32


class RANetFeatures(nn.Module):
    """Residual Attention Network up to the last activation (paper Table 2, Fig. 2).

    image -> stem -> stages.0, 1, ... = [unit, attention modules] -> last stage = units -> norm, act

    Args:
        arch: Name of a variant, mapping of fields or `ArchCfg`.
        in_chans: Channels of the input image.
        output_stride: Greatest stride of a feature map; later strides become dilations.
        dilations: Dilation of each stage, the post stage included; as `output_stride` asks where left out. The
            unit that opens a stage still has the dilation of the stage before, whose map it reads.
        norm_layer: Builds a normalization from its number of channels.
        act_layer: Builds an activation.
        drop_path_rate: Stochastic depth rate of the last trunk unit; earlier ones grow linearly to it.
        zero_init_last: Start every unit as the identity, by a zero scale or weight at its end.
        **overrides: Fields of `ArchCfg` to change.

    Attributes:
        arch: The resolved `ArchCfg`.
        feature_info: Channels, stride and module name of the stem's and of each stage's output.
        num_features: Channels of the output.
        min_size: Least height and width of an input in pixels. Training that makes smaller pictures on purpose says so
            here.

    Raises:
        ValueError: An option or the shape of an input is not allowed.
        TypeError: An option does not exist.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] | ArchCfg = 'attention56',
        *,
        in_chans: int = 3,
        output_stride: int = 32,
        dilations: Sequence[int] | None = None,
        norm_layer: NormLayer = nn.BatchNorm2d,
        act_layer: ActLayer = partial(nn.ReLU, inplace=True),
        drop_path_rate: float = 0.0,
        zero_init_last: bool = False,
        **overrides: Any,
    ) -> None:
        super().__init__()
        self.arch = cfg = resolve_arch(arch, **overrides)
        self.in_chans, self.output_stride = in_chans, output_stride
        self.min_size = MIN_SIZE
        self.grad_checkpointing = False
        build = _StageBuilder(cfg, output_stride, dilations, norm_layer, act_layer, drop_path_rate)
        self.stem = build.stem(in_chans)
        self.stages = build.stages()
        self.feature_info = build.feature_info
        self.num_features = build.chs
        self.norm = norm_layer(self.num_features) if build.preact else nn.Identity()
        self.act = act_layer() if build.preact else nn.Identity()
        init_weights(self, zero_init_last)

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """(N, in_chans, H, W) -> the raw output of each stage."""
        return self._forward_parts(x)[1:]

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, num_features, H / stride, W / stride), normalized and activated."""
        return self.act(self.norm(self._forward_parts(x)[-1]))

    def _forward_parts(self, x: Tensor) -> list[Tensor]:
        """The outputs of the stem and of each stage."""
        x = self.stem(self._checked(x))
        outs = [x]
        for stage in self.stages:
            if self.grad_checkpointing and not torch.jit.is_scripting():
                x = checkpoint(stage, x, use_reentrant=False)
            else:
                x = stage(x)
            outs.append(x)
        return outs

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_features(x)

    def _checked(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            self._check_input(x)
        return x

    @torch.jit.unused
    def _check_input(self, x: Tensor) -> None:
        if isinstance(x, torch.fx.Proxy):
            return
        if x.dim() != 4 or x.shape[1] != self.in_chans:
            raise ValueError(
                f'input of shape {tuple(x.shape)} is not allowed: (N, {self.in_chans}, H, W) is expected, '
                f'as in_chans={self.in_chans}'
            )
        if x.shape[-2] < self.min_size or x.shape[-1] < self.min_size:  # not min(), which ties H to W in an export
            raise ValueError(
                f'input of {x.shape[-2]}x{x.shape[-1]} pixels is not allowed: '
                f'each side must have {self.min_size} pixels or more'
            )


class _StageBuilder:
    """Builds stem and stages in order and keeps count of channels, stride, dilation and drop rate."""

    def __init__(
        self,
        cfg: ArchCfg,
        output_stride: int,
        dilations: Sequence[int] | None,
        norm_layer: NormLayer,
        act_layer: ActLayer,
        drop_path_rate: float,
    ) -> None:
        if output_stride not in (8, 16, 32):
            raise ValueError(f'output_stride={output_stride!r} is not allowed: it must be 8, 16 or 32')
        if dilations is not None:
            _check_dilations(dilations, len(cfg.modules) + bool(cfg.post_units), output_stride)
        self.cfg, self.output_stride, self.drop_path_rate = cfg, output_stride, drop_path_rate
        self.dilations = dilations
        self.layers, self.parts = dict(norm_layer=norm_layer, act_layer=act_layer), COMPAT[cfg.compat]
        self.chs, self.stride, self.dilation, self.blocks = 0, 1, 1, 0
        self.total_blocks = sum(cfg.modules) + len(cfg.modules) + cfg.post_units
        self.feature_info: list[dict[str, Any]] = []

    def stem(self, in_chans: int) -> nn.Sequential:
        cfg = self.cfg
        self.chs, self.stride = cfg.channels(cfg.stem_width), cfg.stem_stride
        stem = OrderedDict(
            conv=conv(in_chans, self.chs, cfg.stem_kernel, cfg.stem_stride),
            norm=self.layers['norm_layer'](self.chs),
            act=self.layers['act_layer'](),
        )
        self._record('stem.act')
        if cfg.stem_pool:
            stem['pool'] = self.parts.pool()
            self.stride *= 2
        return nn.Sequential(stem)

    def stages(self) -> nn.Sequential:
        cfg, stages = self.cfg, nn.Sequential()
        for width, stride, count, pools in zip(cfg.widths, cfg.strides, cfg.modules, cfg.mask_pools, strict=True):
            kind = UNITS[cfg.stage_unit(len(stages))]
            blocks = [self._opening_unit(kind, cfg.channels(width), stride)]
            blocks += [self._attention(kind, pools) for _ in range(count)]
            self._add(stages, blocks)
        if cfg.post_units:
            kind = UNITS[cfg.stage_unit(len(stages))]
            blocks = [self._opening_unit(kind, cfg.channels(cfg.post_width), cfg.post_stride)]
            blocks += [self._unit(kind, self._next_drop_path())(self.chs) for _ in range(cfg.post_units - 1)]
            self._add(stages, blocks)
        self.preact = kind.preact
        return stages

    def _opening_unit(self, kind: type[Unit], chs: int, stride: int) -> Unit:
        before = self.dilation
        if self.dilations is not None:
            self.dilation = self.dilations[len(self.feature_info) - 1]
        elif self.stride * stride > self.output_stride:
            self.dilation, stride = self.dilation * stride, 1
        unit = self._unit(kind, self._next_drop_path())(self.chs, chs, stride, dilation=before)
        self.chs, self.stride = chs, self.stride * stride
        return unit

    def _attention(self, kind: type[Unit], pools: int) -> nn.Module:
        cfg, plain = self.cfg, self._unit(kind, 0.0)
        if cfg.mask == 'local':
            body = units(plain, self.chs, 3)
        else:
            body = self.parts.hourglass(plain, self.chs, pools, cfg.r, UPSAMPLE[cfg.upsample])
        mask = self.parts.mask(body, self.chs, kind.preact, ATTENTION[cfg.attention], **self.layers)
        unit = self._unit(kind, self._next_drop_path())
        return self.parts.module(unit, self.chs, mask, cfg.p, cfg.t, LEARNING[cfg.learning])

    def _unit(self, kind: type[Unit], drop_path: float) -> partial[Unit]:
        return partial(
            kind, dilation=self.dilation, project=self.cfg.always_project, drop_path=drop_path, **self.layers
        )

    def _next_drop_path(self) -> float:
        rate = self.drop_path_rate * self.blocks / max(1, self.total_blocks - 1)
        self.blocks += 1
        return rate

    def _add(self, stages: nn.Sequential, blocks: list[nn.Module]) -> None:
        self._record(f'stages.{len(stages)}')
        stages.append(nn.Sequential(*blocks))

    def _record(self, module: str) -> None:
        self.feature_info.append(dict(num_chs=self.chs, reduction=self.stride, module=module))


def _check_dilations(dilations: Sequence[int], stages: int, output_stride: int) -> None:
    if len(dilations) != stages or any(not isinstance(d, int) or d < 1 for d in dilations):
        raise ValueError(
            f'dilations={dilations!r} is not allowed: it must be {stages} whole numbers, 1 or more, one for each stage'
        )
    if output_stride != 32:
        raise ValueError(f'output_stride={output_stride} is not allowed besides dilations={dilations!r}: leave out one')


def init_weights(model: nn.Module, zero_init_last: bool = False) -> None:
    """He initialization (arXiv:1502.01852), as in paper section 4.1; classifiers get N(0, 0.01)."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
    if zero_init_last:
        zero_init(model)


def zero_init(model: nn.Module) -> None:
    """Make every unit the identity, behind its projection where it has one."""
    for module in model.modules():
        if isinstance(module, Unit):
            module.zero_init()
