"""The network as a backbone for mmpretrain, mmdet and mmseg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule, PretrainedInit
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...arch import ArchCfg
from ...layers import UNITS, ActLayer, NormLayer
from ...network import RANetFeatures, zero_init
from ...registry import MODELS
from ...weights.description import GEOMETRY, computed, contradictions
from ...weights.fit import check, fit_backbone
from ...weights.read import ABOUT

OUT_NORMS = ('shared', 'own', 'none')


@ROOT_MODELS.register_module()
@MODELS.register_module()
class ResidualAttentionNet(RANetFeatures, BaseModule):
    """Residual Attention Network (arXiv:1704.06904) as a backbone.

    Weights have the keys of the timm model, so that a classifier's keys are the timm keys with
    `backbone.` before all but `head.fc`.

    Args:
        arch: Name of a variant, mapping of `ArchCfg` fields or `ArchCfg`.
        in_channels: Channels of the input image.
        out_indices: Stages whose maps are returned; negative ones count from the last stage.
        out_norm: How the maps of pre-activation stages, which are sums without a norm, are returned.
            `shared`: normalized and activated by the layers that open the next stage (behind the last stage,
            those before the classifier): pretrained, and no further parameters. `own`: by a norm of each map's
            own, with the key `norm{stage}`, as Swin and ConvNeXt have; the last keeps `norm`. `none`: raw.
        frozen_stages: 0 freezes the stem, k also the first k stages; -1 freezes nothing.
        norm_eval: Keep batch statistics fixed in training mode.
        with_cp: The same as `recompute='stages'`, as mmpretrain calls it.
        norm_cfg: Normalization layer; `requires_grad` as in mmcv.
        act_cfg: Activation layer.
        zero_init_last: Start every unit as the identity.
        init_cfg: Weights to load (`dict(type='Pretrained', ...)`, see `weights.fit.fit_backbone`), or MMEngine's
            initializers; the network is initialized already.
        **options: `output_stride`, `dilations`, `drop_path_rate` and `recompute` of `RANetFeatures`, and fields of
            `ArchCfg` to change, for example `p=2, t=1`; `strides` may have an entry for the post stage too, as in
            ResNet.

    Raises:
        ValueError: An option, an index, the shape of an input or loaded weights are not allowed.
        TypeError: There is no such option.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] | ArchCfg = 'attention56',
        *,
        in_channels: int = 3,
        out_indices: Sequence[int] = (-1,),
        out_norm: str = 'shared',
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = None,
        zero_init_last: bool = False,
        init_cfg: dict | list[dict] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            arch,
            in_chans=in_channels,
            norm_layer=_norm_layer(norm_cfg),
            act_layer=_act_layer(act_cfg),
            zero_init_last=zero_init_last,
            **options,
        )
        self.init_cfg, self.zero_init_last = init_cfg, zero_init_last
        self._layers = dict(norm_layer=norm_cfg, act_layer=act_cfg)
        self.last_stage = len(self.stages) - 1
        self.out_indices = _checked_indices(out_indices, len(self.stages))
        self._set_out_norm(out_norm, _norm_layer(norm_cfg), _act_layer(act_cfg))
        if not -1 <= frozen_stages <= len(self.stages):
            raise ValueError(
                f'frozen_stages={frozen_stages!r} is not allowed: it must be from -1 to {len(self.stages)}'
            )
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        if with_cp:
            self.set_recompute('stages')
        self._freeze()

    def _set_out_norm(self, out_norm: str, norm_layer: NormLayer, act_layer: ActLayer) -> None:
        if out_norm not in OUT_NORMS:
            raise ValueError(f'out_norm={out_norm!r} is not allowed: it must be one of {", ".join(OUT_NORMS)}')
        self.out_norm = out_norm
        for stage in sorted({*self.out_indices} - {self.last_stage}) if out_norm == 'own' else ():
            if self._preact(stage):
                self.add_module(f'norm{stage}', norm_layer(self.feature_info[stage + 1]['num_chs']))
                self.add_module(f'act{stage}', act_layer())

    def _preact(self, stage: int) -> bool:
        return UNITS[self.arch.stage_unit(stage)].preact

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) -> one map for each of `out_indices`."""
        wanted = sorted({*self.out_indices})
        _, maps = self.forward_maps(x, [stage + 1 for stage in wanted], wanted[-1] + 1)
        out = {stage: self._out(stage, x) for stage, x in zip(wanted, maps, strict=True)}
        return tuple(out[stage] for stage in self.out_indices)

    def _out(self, stage: int, x: Tensor) -> Tensor:
        """The map of a stage as `out_norm` wants it."""
        if self.out_norm == 'none':
            return x
        if stage == self.last_stage:
            return self.act(self.norm(x))
        if self.out_norm == 'own':
            own = hasattr(self, f'norm{stage}')
            return getattr(self, f'act{stage}')(getattr(self, f'norm{stage}')(x)) if own else x
        reader = self.stages[stage + 1][0]
        return reader.act1(reader.norm1(x)) if self._preact(stage + 1) else x

    def switch_to_deploy(self) -> None:
        """As `RANetFeatures.switch_to_deploy`; no stage is kept behind the last map, and no norm is shared."""
        if self.deployed:
            return
        last = max(self.out_indices)
        for stage in {*self.out_indices} - {self.last_stage} if self.out_norm == 'shared' else ():
            if self._preact(stage + 1):
                reader = self.stages[stage + 1][0]
                self.add_module(f'norm{stage}', reader.norm1)
                self.add_module(f'act{stage}', reader.act1)
        self.out_norm = 'own' if self.out_norm == 'shared' else self.out_norm
        self.stages = self.stages[: last + 1]
        super().switch_to_deploy()

    def init_weights(self) -> None:
        """Apply `init_cfg`; without one nothing changes."""
        super().init_weights()
        cfgs = [self.init_cfg] if isinstance(self.init_cfg, Mapping) else self.init_cfg or []
        pretrained = any(cfg['type'] in ('Pretrained', PretrainedInit) for cfg in cfgs)
        if cfgs and self.zero_init_last and not pretrained:
            zero_init(self)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, metadata: Mapping[str, Any], *args: Any
    ) -> None:
        fit_backbone(self, state_dict, prefix, partial(print_log, logger='current'))
        differences = contradictions(self.network, metadata.get(ABOUT, {}), left_out=GEOMETRY)
        check('weights do not fit the backbone', differences)
        super()._load_from_state_dict(state_dict, prefix, metadata, *args)

    @property
    def network(self) -> dict[str, Any]:
        """All that decides what it computes; see `weights.description.network`."""
        return computed(self.arch, **self._layers)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Layer of a parameter and the number of layers, for layer-wise learning rates.

        The stem is layer 0, each residual unit or attention module of the stages is the next; whatever follows them
        is the last layer, with what comes after the backbone.

        Args:
            param_name: Name of the parameter in a model.
            prefix: What stands before the backbone's own names there.
        """
        blocks = [len(stage) for stage in self.stages]
        last = sum(blocks) + 1
        part, stage, block = (*param_name.removeprefix(prefix).split('.'), '', '')[:3]
        if param_name.startswith(prefix) and part == 'stem':
            return 0, last + 1
        if param_name.startswith(prefix) and part == 'stages':
            return sum(blocks[: int(stage)]) + int(block) + 1, last + 1
        return last, last + 1

    def train(self, mode: bool = True) -> ResidualAttentionNet:
        """Set the mode, keep what is frozen in evaluation mode, and return the model."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self) -> None:
        frozen = [self.stem, *self.stages][: self.frozen_stages + 1]
        if self.frozen_stages == len(self.stages):
            frozen.append(self.norm)
        for parameter in self._unused():  # one without a gradient stops distributed training
            parameter.requires_grad_(False)
        for module in frozen:
            module.eval()
            module.requires_grad_(False)

    def _unused(self) -> list[nn.Parameter]:
        """Weights without influence on the maps: of stages behind the last map, but for the norm that it takes."""
        last = max(self.out_indices)
        read = last < self.last_stage and self.out_norm == 'shared' and self._preact(last + 1)
        used = {*self.stages[last + 1][0].norm1.parameters()} if read else set()
        modules = [*self.stages[last + 1 :], *([] if self.last_stage in self._normed() else [self.norm])]
        return [p for module in modules for p in module.parameters() if p not in used]

    def _normed(self) -> tuple[int, ...]:
        """Stages whose maps are returned normalized."""
        return () if self.out_norm == 'none' else self.out_indices


def _checked_indices(out_indices: Sequence[int], stages: int) -> tuple[int, ...]:
    if not out_indices or any(not -stages <= i < stages for i in out_indices):
        raise ValueError(
            f'out_indices={out_indices!r} is not allowed: each must be from {-stages} to {stages - 1}, '
            f'as the network has {stages} stages'
        )
    return tuple(i % stages for i in out_indices)


def _norm_layer(cfg: Mapping[str, Any] | None) -> NormLayer:
    if cfg is None:
        return nn.BatchNorm2d
    from mmcv.cnn import build_norm_layer

    return lambda chs: build_norm_layer(dict(cfg), chs)[1]


def _act_layer(cfg: Mapping[str, Any] | None) -> ActLayer:
    if cfg is None:
        return partial(nn.ReLU, inplace=True)
    from mmcv.cnn import build_activation_layer

    return lambda: build_activation_layer(dict(cfg))
