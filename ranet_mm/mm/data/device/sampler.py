"""The sampler that tells its seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mmengine.dataset import DefaultSampler

from ....registry import DATA_SAMPLERS


class Key(NamedTuple):
    """What the augmentation of a sample depends on."""

    index: int
    seed: int
    epoch: int


@DATA_SAMPLERS.register_module()
class EpochSampler(DefaultSampler):
    """MMEngine's `DefaultSampler`, which tells the seed and the epoch with each index."""

    def __iter__(self) -> Iterator[Key]:
        seed, epoch = self.seed, self.epoch
        return (Key(index, seed, epoch) for index in super().__iter__())
