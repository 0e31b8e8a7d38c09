"""The network without a classifier, torch only. Both ecosystems' classes inherit it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .arch import ArchCfg, StageCfg, resolve_arch
from .compat import COMPAT
from .deployment import folded
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
from .recompute import Block, lean, levels, recomputed

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
        recompute: What training computes again in the backward pass instead of keeping it, for all stages or for each;
            see `set_recompute`.
        **overrides: Fields of `ArchCfg` to change.

    Attributes:
        arch: The resolved `ArchCfg`.
        feature_info: Channels, stride and module name of the stem's and of each stage's output.
        num_features: Channels of the output.
        deployed: Whether it is in deploy form.
        recompute: The level of each stage, see `set_recompute`.
        compiled: Whether its units are compiled.
        min_size: Least height and width of an input in pixels. Training that makes smaller pictures on purpose says so
            here.

    Raises:
        ValueError: An option or the shape of an input is not allowed.
        TypeError: An option does not exist.
    """

    __jit_unused_properties__ = ['grad_checkpointing']

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
        recompute: str | Sequence[str] = 'none',
        **overrides: Any,
    ) -> None:
        super().__init__()
        self.arch = cfg = resolve_arch(arch, **overrides)
        self.in_chans, self.output_stride = in_chans, output_stride
        self.min_size = MIN_SIZE
        self.deployed = self.compiled = False
        layers = dict(norm_layer=norm_layer, act_layer=act_layer)
        self.stem, self.stages, self.feature_info = build(
            cfg, in_chans, layers, strides(cfg, output_stride, dilations), drop_path_rate
        )
        self.num_features = self.feature_info[-1]['num_chs']
        preact = UNITS[cfg.stages()[-1].unit].preact
        self.norm = norm_layer(self.num_features) if preact else nn.Identity()
        self.act = act_layer() if preact else nn.Identity()
        init_weights(self, zero_init_last)
        self.set_recompute(recompute)

    @torch.jit.ignore
    def set_recompute(self, recompute: str | Sequence[str]) -> None:
        """Choose what training computes again in the backward pass instead of keeping it. Gradients stay.

        Args:
            recompute: For all stages, or one for each: `none`; `activations`, the outputs of ReLUs between a batch
                normalization and a convolution; or besides these whole `units`, whole `modules` (attention modules and
                the units beside them), or `stages`.

        Raises:
            ValueError: A level is not known, there is not one for each stage, or the network is in deploy form.
        """
        self.recompute = levels(recompute, len(self.stages))
        if self.deployed and self.grad_checkpointing:
            raise ValueError(f'recompute={recompute!r} is not allowed in deploy form, which is not trained')
        for stage, level in zip(self.stages, self.recompute, strict=True):
            blocks = [*stage] if level == 'modules' else stage.modules() if level == 'units' else ()
            chosen = {block for block in blocks if level == 'modules' or isinstance(block, Unit)}
            for block in stage.modules():
                if isinstance(block, Block):
                    block.recompute = block in chosen

    @property
    def grad_checkpointing(self) -> bool:
        """Whether anything is computed again; as timm calls it."""
        return any(level != 'none' for level in self.recompute)

    @grad_checkpointing.setter
    def grad_checkpointing(self, enable: bool) -> None:
        self.set_recompute('stages' if enable else 'none')

    @torch.jit.ignore
    def switch_to_deploy(self) -> None:
        """Turn into a faster form for inference, in place: the logits stay, but for rounding.

        Normalization is folded into convolutions, and maps have the memory order N, H, W, C. Weights in this form have
        names of their own: they are loaded into a network that has been switched too. Each layer keeps them a second
        time, in the order in which the library of the device reads them.
        """
        if self.deployed:
            return
        self.set_recompute('none')
        self.stem.conv, self.stem.norm, self.stem.act = folded(self.stem[:3]), nn.Identity(), nn.Identity()
        for number, stage in enumerate(self.stages):
            self.stages[number] = folded(stage)
        self.deployed = True
        self.requires_grad_(False).eval()

    @torch.jit.ignore
    def train(self, mode: bool = True) -> RANetFeatures:
        """Set the mode.

        Raises:
            ValueError: Training is asked for in deploy form.
        """
        if mode and self.deployed:
            raise ValueError(
                'mode=True is not allowed in deploy form: normalization has been folded into the convolutions, so '
                'train the network as it was before `switch_to_deploy`'
            )
        return super().train(mode)

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """(N, in_chans, H, W) -> the raw output of each stage."""
        return self.forward_maps(x, list(range(1, 1 + len(self.stages))), len(self.stages))[1]

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, num_features, H / stride, W / stride), normalized and activated."""
        x, _ = self.forward_maps(x, [], len(self.stages))
        return self.act(self.norm(x))

    def forward_maps(self, x: Tensor, wanted: list[int], stages: int) -> tuple[Tensor, list[Tensor]]:
        """Run the stem and the first stages.

        Args:
            x: Images, (N, in_chans, H, W).
            wanted: Places in `feature_info`, where 0 is the stem's activation.
            stages: How many to run.

        Returns:
            The raw output of the last stage that ran, and the maps that are wanted, in the network's order.
        """
        x, maps = self._checked(x), []
        for layer, module in enumerate(self.stem):
            x = module(x)
            if layer == 2 and 0 in wanted:
                maps.append(x)
        for number, stage in enumerate(self.stages):
            if number < stages:
                if not torch.jit.is_scripting() and self.recompute[number] != 'none':
                    x = self._recomputed(number, x)
                else:
                    x = stage(x)
                if number + 1 in wanted:
                    maps.append(x)
        return x, maps

    @torch.jit.unused
    def _recomputed(self, number: int, x: Tensor) -> Tensor:
        """A stage as `recompute` says; what is compiled has its own way of making activations anew."""
        stage = self.stages[number]
        with lean(not (self.compiled or torch.compiler.is_compiling() or torch.jit.is_tracing())):
            return recomputed(stage, stage, x) if self.recompute[number] == 'stages' else stage(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_features(x)

    def _checked(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            self._check_input(x)
            if self.deployed and not torch.compiler.is_exporting():  # where sizes that are not known have no order
                x = x.contiguous(memory_format=torch.channels_last)
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


def build(
    cfg: ArchCfg,
    in_chans: int,
    layers: Mapping[str, Callable[..., nn.Module]],
    geometry: Sequence[tuple[int, int]],
    drop_path_rate: float,
) -> tuple[nn.Sequential, nn.Sequential, list[dict[str, Any]]]:
    """Stem, stages, and what `feature_info` says of their outputs.

    Args:
        cfg: The network.
        in_chans: Channels of the input image.
        layers: `norm_layer` and `act_layer`.
        geometry: Stride and dilation of each stage.
        drop_path_rate: Of the last unit or module.
    """
    parts, chs, reduction = COMPAT[cfg.compat], cfg.channels(cfg.stem_width), cfg.stem_stride
    stem = nn.Sequential(
        OrderedDict(
            conv=conv(in_chans, chs, cfg.stem_kernel, cfg.stem_stride),
            norm=layers['norm_layer'](chs),
            act=layers['act_layer'](),
        )
    )
    info = [dict(num_chs=chs, reduction=reduction, module='stem.act')]
    if cfg.stem_pool:
        stem.add_module('pool', parts.pool())
        reduction *= 2
    blocks_in_all = sum(1 + stage.modules + stage.units for stage in cfg.stages())
    rates = (drop_path_rate * block / max(1, blocks_in_all - 1) for block in range(blocks_in_all))
    stages, before = nn.Sequential(), 1
    for stage, (stride, dilation) in zip(cfg.stages(), geometry, strict=True):
        unit = partial(UNITS[stage.unit], dilation=dilation, project=cfg.always_project, **layers)
        opening = unit(chs, stage.chs, stride, dilation=before, drop_path=next(rates))
        chs, reduction, before = stage.chs, reduction * stride, dilation
        modules = [attention(cfg, stage, unit, next(rates), layers) for _ in range(stage.modules)]
        plain = [unit(chs, drop_path=next(rates)) for _ in range(stage.units)]
        info.append(dict(num_chs=chs, reduction=reduction, module=f'stages.{len(stages)}'))
        stages.append(nn.Sequential(opening, *modules, *plain))
    return stem, stages, info


def attention(
    cfg: ArchCfg,
    stage: StageCfg,
    unit: Callable[..., Unit],
    drop_path: float,
    layers: Mapping[str, Callable[..., nn.Module]],
) -> nn.Module:
    """One attention module of a stage; units of its mask are never dropped."""
    parts, chs = COMPAT[cfg.compat], stage.chs
    if cfg.mask == 'local':
        body = units(unit, chs, 3)
    else:
        body = parts.hourglass(unit, chs, stage.pools, cfg.r, UPSAMPLE[cfg.upsample])
    mask = parts.mask(body, chs, UNITS[stage.unit].preact, ATTENTION[cfg.attention], **layers)
    return parts.module(partial(unit, drop_path=drop_path), chs, mask, cfg.p, cfg.t, LEARNING[cfg.learning])


def strides(cfg: ArchCfg, output_stride: int, dilations: Sequence[int] | None) -> list[tuple[int, int]]:
    """Stride and dilation of each stage.

    Raises:
        ValueError: `output_stride` or `dilations` is not allowed.
    """
    if output_stride not in (8, 16, 32):
        raise ValueError(f'output_stride={output_stride!r} is not allowed: it must be 8, 16 or 32')
    if dilations is not None:
        _check_dilations(dilations, len(cfg.stages()), output_stride)
        return [(stage.stride, dilation) for stage, dilation in zip(cfg.stages(), dilations, strict=True)]
    found, reduction, dilation = [], cfg.stem_stride * (2 if cfg.stem_pool else 1), 1
    for stage in cfg.stages():
        fits = reduction * stage.stride <= output_stride
        reduction, dilation = (reduction * stage.stride, dilation) if fits else (reduction, dilation * stage.stride)
        found.append((stage.stride if fits else 1, dilation))
    return found


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
