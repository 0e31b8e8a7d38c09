"""What a pipeline draws for an image, from a number that goes with its index: the same in any data worker."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import islice
from types import ModuleType
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

HOLDERS = 'pipeline', 'transforms', 'transform', 'dataset', 'datasets'  # what of a data set leads to transforms
PLAIN = str | bytes | int | float | bool | type(None) | type | ModuleType | np.ndarray | torch.Tensor
OWN = random.Random | np.random.Generator | np.random.RandomState | torch.Generator


class Index(int):
    """A sample's place in a data set, and the number from which all is drawn that its pipeline draws."""

    seed: int

    def __new__(cls, place: int, seed: int) -> Index:
        found = super().__new__(cls, place)
        found.seed = seed
        return found

    def __reduce__(self) -> tuple:
        return Index, (int(self), self.seed)


def numbered(batch: Any, seed: int, epoch: int, place: int, step: int) -> Any:
    """A batch of indices, each with a number of its own; what is no list of plain indices is left as it is.

    Args:
        batch: Of a batch sampler.
        seed: Of the run.
        epoch: That the batch is of, from 0 on.
        place: Of the first sample in the epoch.
        step: From one to the next, the number of processes that share the epoch out.
    """
    if not isinstance(batch, list | tuple) or not all(type(index) is int for index in batch):
        return batch
    return [Index(index, number(seed, epoch, place + i * step)) for i, index in enumerate(batch)]


def number(*key: int) -> int:
    """63 bits that depend on whole numbers alone."""
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), 'big') >> 1


class Batches:
    """A batch sampler whose indices have numbers to draw from, and which can begin inside an epoch.

    The loop says where before it has it iterated. PyTorch keeps one batch sampler as long as its data workers, so that
    another one for each epoch would not be asked.

    Args:
        batches: The batch sampler.
    """

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self.seed = self.epoch = self.done = 0

    def begin(self, seed: int, epoch: int, done: int) -> None:
        """Say the run's seed, and the epoch (from 0 on) and the number of its batches that are left out."""
        self.seed, self.epoch, self.done = seed, epoch, done

    def __iter__(self) -> Iterator[Any]:
        batches, place, step = iter(self.batches), get_rank(), get_world_size()
        for batch in islice(batches, self.done):
            place += step * len(batch)
        for batch in batches:
            yield numbered(batch, self.seed, self.epoch, place, step)
            place += step * len(batch)

    def __len__(self) -> int:
        return len(self.batches)

    def __getattr__(self, name: str) -> Any:
        if name == 'batches':  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self.batches, name)


class Fetch:
    """Takes the place of a data set's `__getitems__`, by which PyTorch asks for the samples of a batch.

    Python's, NumPy's and PyTorch's generators, and those that a transform has of its own, start anew for each sample
    from the number in its index (`Index`): microseconds. In the process that trains, they then go on as if nothing had
    been drawn. Indices without a number are fetched as before.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.before = getattr(dataset, '__getitems__', None)
        self.own: list[OWN] | None = None

    def __call__(self, indices: Sequence[Any]) -> Sequence[Any]:
        if not indices or not isinstance(indices[0], Index):
            return self.before(indices) if self.before else [self.dataset[index] for index in indices]
        with kept():
            return [self._one(index) for index in indices]

    def _one(self, index: Index) -> Any:
        if self.own is None:
            self.own = list(generators(self.dataset))
        start(index.seed, self.own)
        return self.dataset[int(index)]

    def __getstate__(self) -> dict[str, Any]:
        """Without the generators, which another process finds in its own copy."""
        return {**self.__dict__, 'own': None}


@contextmanager
def kept() -> Iterator[None]:
    """Put this process's generators back; those of a data worker draw for nothing else."""
    if get_worker_info() is not None:
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def start(seed: int, own: Sequence[OWN] = ()) -> None:
    """Start this process's generators, and others, from a number."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)
    for place, generator in enumerate(own, 1):
        if isinstance(generator, random.Random):
            generator.seed(seed + place)
        elif isinstance(generator, torch.Generator):
            generator.manual_seed(seed + place)
        else:
            bits = generator.bit_generator if isinstance(generator, np.random.Generator) else generator._bit_generator
            bits.state = type(bits)(seed + place).state


def generators(dataset: Any) -> Iterator[OWN]:
    """The generators that the transforms of a data set hold, inside wrappers and lists too."""
    waiting, seen = [getattr(dataset, name, None) for name in HOLDERS], set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, PLAIN) or id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, OWN):
            yield found
        elif isinstance(found, dict):
            waiting += found.values()
        elif isinstance(found, list | tuple):
            waiting += found
        elif hasattr(found, 'get_data_info') or (hasattr(found, '__len__') and hasattr(found, '__getitem__')):
            waiting += [getattr(found, name, None) for name in HOLDERS]  # a data set, whose samples are none
        else:
            waiting += getattr(found, '__dict__', {}).values()


def prepare(loader: DataLoader) -> DataLoader:
    """Have a loader number its indices (`Batches`), its data set draw by them, and itself draw nothing; once."""
    alone(loader)
    batches, dataset = loader.batch_sampler, loader.dataset
    if batches is None or isinstance(batches, Batches) or isinstance(dataset, IterableDataset):
        return loader
    if not hasattr(dataset, '__dict__'):  # a range, for one, whose samples are drawn by nothing
        return loader
    object.__setattr__(loader, 'batch_sampler', Batches(batches))  # which PyTorch refuses, for another order's sake
    if not isinstance(getattr(dataset, '__getitems__', None), Fetch):
        dataset.__getitems__ = Fetch(dataset)
    return loader


def alone(loader: DataLoader) -> DataLoader:
    """Have a loader draw nothing from this process's generator, which else it does as often as its workers begin."""
    loader.generator = loader.generator or torch.Generator()
    return loader
