"""A data set in one tensor, and the sampler that tells its epoch."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import os
import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose, DefaultSampler
from mmengine.logging import print_log
from mmpretrain.registry import DATASETS as MMPRETRAIN_DATASETS
from mmpretrain.registry import TRANSFORMS as MMPRETRAIN_TRANSFORMS
from torch import Tensor
from torch.utils.data import Dataset

from ...registry import DATA_SAMPLERS, DATASETS
from ..record import data_digest
from .table import TRANSFORMS, build

NUMBERS = itertools.count()
STORES: WeakValueDictionary[int, DeviceDataset] = WeakValueDictionary()
CONTAINERS = [dict(type=name) for name in ('PackInputs', 'NumpyToPIL', 'PILToNumpy')]
BLOCK = 256  # images that a thread decodes at a time


class Key(NamedTuple):
    """What the augmentation of a sample depends on."""

    index: int
    seed: int
    epoch: int


class Store(NamedTuple):
    """A data set on a device: images (N, C, H, W) uint8 and labels (N,) int64."""

    images: Tensor
    labels: Tensor


@DATA_SAMPLERS.register_module()
class EpochSampler(DefaultSampler):
    """MMEngine's `DefaultSampler`, which tells the seed and the epoch with each index."""

    def __iter__(self) -> Iterator[Key]:
        seed, epoch = self.seed, self.epoch
        return (Key(index, seed, epoch) for index in super().__iter__())


@DATASETS.register_module()
class DeviceDataset(Dataset):
    """A data set of images of one size, decoded once; its items are places in the decoded tensor.

    Its `pipeline` is split: what loads an image, and resizes it, runs once; what is random runs on the device, each
    time; and `PackInputs` is left to `DevicePreprocessor`.

    Args:
        dataset: The config of a data set, its pipeline included, or of one that wraps another.
        cache: A folder to keep the decoded images in. A file there is named by the digest of the data and of how they
            are loaded, so other data never meet it.

    Raises:
        ValueError: A transform is not known on the device, images differ in size, a sample has not exactly one label,
            or a file of the cache is damaged.
        TypeError: A transform has no such option on the device.
    """

    def __init__(self, dataset: Mapping[str, Any], cache: str | None = None) -> None:
        cfg = copy.deepcopy(dict(dataset))
        self.loading_cfg, random = split(take_pipeline(cfg))
        self.loading = Compose([loader(transform) for transform in self.loading_cfg])
        self.transforms = [build(transform) for transform in random]
        self.dataset = MMPRETRAIN_DATASETS.build(cfg)
        self.cache = cache
        self.stores: dict[torch.device, Store] = {}
        self.number = next(NUMBERS)
        STORES[self.number] = self

    def full_init(self) -> None:
        """Decode the images, or read them from the cache."""
        if self.stores:
            return
        started = time.perf_counter()
        self.dataset.full_init()
        store = self.decode() if self.cache is None else self._cached(Path(self.cache).expanduser())
        self.stores[store.images.device] = store
        print_log(
            f'{len(store.images)} images as one tensor of {store.images.nbytes / 2**20:.0f} MiB '
            f'in {time.perf_counter() - started:.1f} s',
            logger='current',
        )

    def on(self, device: torch.device) -> Store:
        """The data on a device, copied there when first asked for."""
        self.full_init()
        if device not in self.stores:
            self.stores[device] = Store(*(tensor.to(device) for tensor in next(iter(self.stores.values()))))
        return self.stores[device]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: int | Key) -> dict[str, int]:
        if isinstance(key, Key):
            return dict(inputs=key.index, seed=key.seed, epoch=key.epoch, store=self.number)
        return dict(inputs=key, store=self.number)

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    def get_data_info(self, index: int) -> dict:
        return self.dataset.get_data_info(index)

    def get_cat_ids(self, index: int) -> list[int]:
        return self.dataset.get_cat_ids(index)

    def decode(self) -> Store:
        """Every image and label, on as many threads as there are cores."""
        first = self.picture(0)
        images = torch.empty((len(self), *first.shape), dtype=torch.uint8)
        labels = torch.empty(len(self), dtype=torch.int64)

        def fill(start: int) -> None:
            for i in range(start, min(start + BLOCK, len(self))):
                images[i], labels[i] = self.picture(i, first.shape), self.label(i)

        with ThreadPoolExecutor() as pool:
            for _ in pool.map(fill, range(0, len(self), BLOCK)):
                pass
        return Store(images, labels)

    def picture(self, index: int, shape: torch.Size | None = None) -> Tensor:
        """One loaded image as (C, H, W) uint8.

        Raises:
            ValueError: The pipeline leaves no uint8 `img`, or it has another shape than `shape`.
        """
        results = self.loading(self.get_data_info(index))
        image, name = results.get('img'), results.get('img_path', index)
        if getattr(image, 'dtype', None) != 'uint8':
            raise ValueError(f'image {name!r} is not allowed: the pipeline must load it as uint8 into `img`')
        image = torch.from_numpy(image if image.ndim == 3 else image[..., None]).permute(2, 0, 1)
        if shape not in (None, image.shape):
            raise ValueError(
                f'image {name!r} of the shape {tuple(image.shape)} is not allowed: the first one has {tuple(shape)}, '
                'and a Resize in the pipeline brings all to one size'
            )
        return image

    def label(self, index: int) -> int:
        """The sample's only label.

        Raises:
            ValueError: It has none, or several.
        """
        value = self.get_data_info(index).get('gt_label')
        if not isinstance(value, Integral):
            raise ValueError(f'gt_label={value!r} of sample {index} is not allowed: it must be one whole number')
        return int(value)

    def _cached(self, folder: Path) -> Store:
        """Read the decoded data from the folder, or decode and write them there."""
        identity = json.dumps(dict(data_digest(self), loading=self.loading_cfg), sort_keys=True)
        path = folder / f'{hashlib.sha256(identity.encode()).hexdigest()[:20]}.pt'
        if path.is_file():
            return read(path, identity)
        store = self.decode()
        write(path, identity, store)
        return store


def take_pipeline(cfg: dict) -> list[dict]:
    """Take the pipeline out of a data set's config, or out of the one that it wraps."""
    while 'pipeline' not in cfg and isinstance(cfg.get('dataset'), Mapping):
        cfg = cfg['dataset']
    return list(cfg.pop('pipeline', ()))


def split(pipeline: Sequence[Mapping[str, Any]]) -> tuple[list[dict], list[dict]]:
    """What loads, and what is random; without what only changes the container."""
    pipeline = [dict(transform) for transform in pipeline if dict(transform) not in CONTAINERS]
    names = [transform['type'] in TRANSFORMS for transform in pipeline]
    first = names.index(True) if True in names else len(pipeline)
    return pipeline[:first], pipeline[first:]


def loader(cfg: dict) -> Any:
    """A transform that gives the same result each time.

    Raises:
        ValueError: It is random.
    """
    transform = MMPRETRAIN_TRANSFORMS.build(cfg)
    if not isinstance(transform, BaseTransform) or getattr(transform, '_methods_with_randomness', ()):
        raise ValueError(
            f'transform {cfg["type"]} is not allowed on the device: random ones are {", ".join(TRANSFORMS)}'
        )
    return transform


def write(path: Path, identity: str, store: Store) -> None:
    """A file of the cache, which is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'{path.name}.{os.getpid()}')
    torch.save(dict(identity=identity, sha256=digest(store), **store._asdict()), draft)
    draft.replace(path)


def read(path: Path, identity: str) -> Store:
    """A file of the cache.

    Raises:
        ValueError: It is damaged, or not of these data.
    """
    fault = f'cache file {str(path)!r} is not allowed: it is damaged or of other data; remove it, and it is made anew'
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
        store = Store(content['images'], content['labels'])
    except (OSError, RuntimeError, EOFError, LookupError, TypeError, pickle.UnpicklingError) as error:
        raise ValueError(fault) from error
    if (content['identity'], content['sha256']) != (identity, digest(store)):
        raise ValueError(fault)
    return store


def digest(store: Store) -> str:
    """SHA-256 over the images and labels."""
    found = hashlib.sha256()
    for tensor in store:
        found.update(tensor.numpy())
    return found.hexdigest()
