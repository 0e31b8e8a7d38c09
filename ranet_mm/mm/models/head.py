"""The classifier for mmpretrain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import MODELS as ROOT_MODELS
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ...registry import MODELS
from ..data.labels import Labels


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

    def _get_loss(self, cls_score: Tensor, data_samples: Sequence[DataSample], **kwargs: Any) -> dict[str, Tensor]:
        """mmpretrain's, which looks at each sample by itself where the labels are not handed over at once."""
        if not isinstance(data_samples, Labels) or self.cal_acc:
            return super()._get_loss(cls_score, data_samples, **kwargs)
        return dict(loss=self.loss_module(cls_score, data_samples.target, avg_factor=len(cls_score), **kwargs))

    def _get_predictions(self, cls_score: Tensor, data_samples: Sequence[DataSample] | None) -> list[DataSample]:
        """mmpretrain's, of scores on the host: metrics would wait for the device at each sample."""
        scores = cls_score if cls_score.dtype == torch.float64 else cls_score.float()  # a softmax in full precision
        return super()._get_predictions(scores.cpu(), data_samples)
