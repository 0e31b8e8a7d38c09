"""The network as a backbone for mmpretrain, mmdet and mmseg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..arch import ArchCfg
from ..layers import ActLayer, NormLayer
from ..network import RANetFeatures
from ..registry import MODELS


@ROOT_MODELS.register_module()
@MODELS.register_module()
class ResidualAttentionNet(RANetFeatures, BaseModule):
    """Residual Attention Network (arXiv:1704.06904) as a backbone.

    Weights have the keys of the timm model, so that a classifier's keys are the timm keys with
    `backbone.` before all but `head.fc`.

    Args:
        arch: Name of a variant, mapping of `ArchCfg` fields or `ArchCfg`.
        in_channels: Channels of the input image.
        out_indices: Stages whose maps are returned; negative ones count from the last stage. The last
            stage is returned normalized and activated, as the classifier reads it; others raw.
        frozen_stages: 0 freezes the stem, k also the first k stages; -1 freezes nothing.
        norm_eval: Keep batch statistics fixed in training mode.
        with_cp: Recompute activations in the backward pass to save memory.
        norm_cfg: Normalization layer; `requires_grad` as in mmcv.
        act_cfg: Activation layer.
        init_cfg: Weights to load (`dict(type='Pretrained', ...)`); the network is initialized already.
        **options: `output_stride`, `drop_path_rate` and `zero_init_last` of `RANetFeatures`, and fields of
            `ArchCfg` to change, for example `p=2, t=1`.

    Raises:
        ValueError: An option, an index or the shape of an input is not allowed.
        TypeError: There is no such option.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] | ArchCfg = 'attention56',
        *,
        in_channels: int = 3,
        out_indices: Sequence[int] = (-1,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            arch,
            in_chans=in_channels,
            norm_layer=_norm_layer(norm_cfg),
            act_layer=_act_layer(act_cfg),
            **options,
        )
        self.init_cfg = init_cfg
        self.out_indices = _checked_indices(out_indices, len(self.stages))
        if not -1 <= frozen_stages <= len(self.stages):
            raise ValueError(
                f'frozen_stages={frozen_stages!r} is not allowed: it must be from -1 to {len(self.stages)}'
            )
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.grad_checkpointing = with_cp
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) -> one map for each of `out_indices`."""
        outs = self.forward_stages(x)
        last = len(outs) - 1
        return tuple(self.act(self.norm(outs[i])) if i == last else outs[i] for i in self.out_indices)

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
        for module in frozen:
            module.eval()
            module.requires_grad_(False)


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
