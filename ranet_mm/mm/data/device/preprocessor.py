"""The data preprocessor that makes pictures of indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn import functional as F

from ....registry import MODELS
from ..labels import Labels
from .batch import Key, Store
from .draws import Draws
from .mixing import Mixing


@MODELS.register_module()
class DevicePreprocessor(ClsDataPreprocessor):
    """mmpretrain's `ClsDataPreprocessor`, which for a batch of `DeviceDataset` makes the pictures on its device.

    It runs the random transforms of the data set's pipeline and normalises; in training it also resizes and mixes.
    Batches of other data sets are treated as `ClsDataPreprocessor` does.

    Args:
        batch_augments: `augments` (Mixup, CutMix) and `probs`, as in `ClsDataPreprocessor`, but drawn for each
            sample and with partners from the whole data set.
        size: Height and width that training pictures of the device are resized to, by antialiased bilinear
            interpolation; None leaves them as they are. `ProgressiveResizeHook` changes it during training.
        **kwargs: `mean`, `std`, `to_rgb`, `num_classes`, `to_onehot` and the others of `ClsDataPreprocessor`.

    Raises:
        ValueError: Mixing has no `num_classes`, a batch to be changed at random does not tell its epoch, or one to be
            resized is not of a `DeviceDataset`.
    """

    def __init__(
        self, *, batch_augments: Mapping[str, Any] | None = None, size: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(batch_augments=deepcopy(batch_augments), **kwargs)
        if self.to_onehot and not self.num_classes:
            raise ValueError('num_classes=None is not allowed: soft labels need the number of classes')
        self.mixing = Mixing(**batch_augments) if batch_augments else None
        self.size = size

    def forward(self, data: dict, training: bool = False) -> dict:
        """A batch of indices -> `inputs` (B, C, H, W) float32 on the device, and `data_samples`.

        In training these are `Labels` on the device, so that nothing is made for single images.
        """
        if 'store' not in data:
            if training and self.size:
                raise ValueError("size is not allowed without a train_dataloader of type='ranet_mm.DeviceDataset'")
            return super().forward(data, training)
        store = data['store'] if isinstance(data['store'], Store) else data['store'][0]  # one of each item
        numbers = [torch.as_tensor(data[name]) for name in Key._fields if name in data]
        index, *key = [column.to(self.device, non_blocking=True) for column in numbers]
        if not key and (store.transforms or (training and self.mixing)):
            raise ValueError("the sampler of random pictures is not allowed: its type must be 'ranet_mm.EpochSampler'")
        draws, there = Draws(*key, index) if key else None, store.on(self.device)
        inputs = self._pictures(there, index, draws, training)
        if not training:
            return dict(inputs=inputs, data_samples=self._described(store, data['inputs']))
        labels = there.labels[index]
        scores = self._scores(labels) if self.to_onehot else None
        if self.mixing:
            inputs, scores = self._mixed(there, draws, key, inputs, scores)
        return dict(inputs=inputs, data_samples=Labels(labels, scores))

    def _pictures(self, store: Store, index: Tensor, draws: Draws | None, training: bool) -> Tensor:
        images = store.images[index]
        for transform in store.transforms:
            images = transform(images, draws)
        if training and self.size:
            images = resized(images, self.size)
        return super().forward(dict(inputs=images))['inputs']

    def _mixed(
        self, store: Store, draws: Draws, key: Sequence[Tensor], inputs: Tensor, scores: Tensor
    ) -> tuple[Tensor, Tensor]:
        partner = draws.integers(len(store))
        others = self._pictures(store, partner, Draws(*key, partner), training=True)
        weight = self.mixing(draws, inputs.shape)
        share = weight.mean((1, 2, 3))[:, None]
        mixed = share * scores + (1 - share) * self._scores(store.labels[partner])
        return weight * inputs + (1 - weight) * others, mixed

    def _described(self, store: Store, indices: Tensor | Sequence[int]) -> list[DataSample]:
        """Samples on the host, where metrics read them, which say what they are and from which file."""
        indices = torch.as_tensor(indices)
        labels = store.labels[indices]
        samples = list(Labels(labels, self._scores(labels) if self.to_onehot else None))
        for sample, index in zip(samples, indices.tolist(), strict=True):
            for name, value in store.origins[index].items():
                sample.set_field(value, name, field_type='metainfo')
        return samples

    def _scores(self, labels: Tensor) -> Tensor:
        classes = torch.arange(self.num_classes, device=labels.device)
        return (labels[:, None] == classes).float()  # `one_hot` would ask the device whether the labels are in range


def resized(images: Tensor, side: int) -> Tensor:
    """(B, C, H, W) uint8 to (B, C, side, side), whole numbers from 0 to 255 in float32."""
    if images.shape[-2:] == (side, side):
        return images
    images = F.interpolate(images.float(), size=(side, side), mode='bilinear', antialias=True)
    return images.round().clamp(0, 255)
