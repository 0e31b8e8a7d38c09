"""The classifier for mmpretrain."""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS as ROOT_MODELS
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn

from ..registry import MODELS


@ROOT_MODELS.register_module()
@MODELS.register_module()
class ResidualAttentionHead(LinearClsHead):
    """Dropout, then a linear classifier with the key `fc`.

    Args:
        num_classes: Number of classes.
        in_channels: Features of each image: `num_features` of the backbone, or C * H * W after
            `ResidualAttentionNeck(mode='flatten')`.
        dropout: Probability of dropping a feature in training.
        **kwargs: `loss` (any of mmpretrain's), `topk`, `cal_acc`, `init_cfg` of mmpretrain's heads.

    Raises:
        ValueError: `num_classes` is not positive, `dropout` is not in [0, 1), or an image has another number of
            features than `in_channels`.
    """

    def __init__(self, num_classes: int, in_channels: int, dropout: float = 0.0, **kwargs: Any) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout={dropout!r} is not allowed: it must be from 0 to below 1')
        super().__init__(num_classes, in_channels, **kwargs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Tuple of (N, in_channels), of which the last counts -> (N, num_classes)."""
        x = self.pre_logits(feats)
        if x.shape[-1] != self.in_channels:
            raise ValueError(
                f'{x.shape[-1]} features are not allowed: in_channels={self.in_channels} of the head must be the '
                "channels of the last map, and C * H * W after a neck with mode='flatten', which fixes the image size"
            )
        return self.fc(self.dropout(x))
