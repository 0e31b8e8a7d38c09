"""What a batch hands to the preprocessor: indices, and the images that they are of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.dataset import DefaultSampler
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map

from ....registry import DATA_SAMPLERS, FUNCTIONS
from .transforms import Transform


class Key(NamedTuple):
    """What the augmentation of a sample depends on; `inputs` is its index."""

    inputs: int
    seed: int
    epoch: int


@DATA_SAMPLERS.register_module()
class EpochSampler(DefaultSampler):
    """MMEngine's `DefaultSampler`, which tells the seed and the epoch with each index."""

    def __iter__(self) -> Iterator[Key]:
        seed, epoch = self.seed, self.epoch
        return (Key(index, seed, epoch) for index in super().__iter__())


class Store:
    """A decoded data set, with a copy on each device that asked for it.

    Args:
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
        transforms: What changes images at random.
        origins: `sample_idx` and `img_path` of each sample, as far as it has them.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, transforms: Sequence[Transform], origins: Sequence[dict[str, Any]]
    ) -> None:
        self.images, self.labels, self.transforms, self.origins = images, labels, transforms, origins
        self.copies: dict[torch.device, Store] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def __getstate__(self) -> dict[str, Any]:
        """Without copies: a data worker can hand on no memory of a GPU."""
        return {**self.__dict__, 'copies': {}}

    def on(self, device: torch.device) -> Store:
        """The data on a device, copied there when first asked for."""
        if device == self.images.device:
            return self
        if device not in self.copies:
            tensors = self.images.to(device), self.labels.to(device)
            self.copies[device] = Store(*tensors, self.transforms, self.origins)
        return self.copies[device]


# So PyTorch has `default_collate` learn a type: one store for all items of a batch.
default_collate_fn_map[Store] = lambda stores, **_: stores[0]


class Places(Sequence):
    """Items of a `DeviceDataset`, which `at_once` makes a batch of without making the items."""

    def __init__(self, store: Store, keys: Sequence[int | Key]) -> None:
        self.store, self.keys = store, keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, number: int) -> dict[str, Any]:
        key = self.keys[number]
        return dict(key._asdict() if isinstance(key, Key) else dict(inputs=key), store=self.store)


@FUNCTIONS.register_module()
def at_once(places: Places) -> dict[str, Any]:
    """A `collate_fn` for `DeviceDataset`: the batch that `default_collate` makes of single items."""
    if not isinstance(places, Places):
        raise ValueError("collate_fn='ranet_mm.at_once' is not allowed: it is for type='ranet_mm.DeviceDataset'")
    columns = torch.tensor(places.keys).view(len(places), -1).unbind(1)
    return dict(zip(Key._fields, columns, strict=False), store=places.store)  # indices come without the others, or all
