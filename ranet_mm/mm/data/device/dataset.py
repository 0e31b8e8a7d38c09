"""A data set in one tensor."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import BaseDataset, Compose
from mmengine.logging import print_log
from mmpretrain.registry import DATASETS as MMPRETRAIN_DATASETS
from torch import Tensor
from torch.utils.data import Dataset

from ....images import RULES
from ....machine import cores
from ....registry import DATASETS
from ..identity import common_folder, fingerprint, signature, unwrapped, whole
from .batch import Key, Places, Store
from .cache import cached, decoded
from .pipeline import build, loader, split, take_pipeline

ORIGIN = 'sample_idx', 'img_path'


@DATASETS.register_module()
class DeviceDataset(Dataset):
    """A data set of images of one size, decoded once; its items are places in the decoded tensor.

    Its `pipeline` is split: what loads an image, and resizes it, runs once; what is random runs on the device, each
    time; and `PackInputs` is left to `DevicePreprocessor`.

    Args:
        dataset: The config of a data set, its pipeline included, or of one that wraps another.
        cache: Keep the decoded images of files, whichever of them are held out: in a hidden folder beside theirs
            (True), in this folder, or not at all (False). A file there is named by the digest of the images' names,
            sizes and times of change and of how they are loaded, so other data never meet it.

    Raises:
        ValueError: A transform is not known on the device, images differ in size, a sample has not exactly one label,
            or a file of the cache is damaged.
        TypeError: A transform has no such option on the device.
    """

    def __init__(self, dataset: Mapping[str, Any], cache: str | bool = True) -> None:
        cfg = copy.deepcopy(dict(dataset))
        self.loading_cfg, random = split(take_pipeline(cfg))
        self.loading = Compose([loader(transform) for transform in self.loading_cfg])
        self.transforms = [build(transform) for transform in random]
        self.dataset = MMPRETRAIN_DATASETS.build(in_one_process(cfg))
        self.cache = cache
        self.fingerprint: str | None = None  # see `identity.data_name`

    @cached_property
    def store(self) -> Store:
        """The images, decoded or read from the cache."""
        started = time.perf_counter()
        self.dataset.full_init()
        samples = samples_of(self.dataset)
        labels = torch.tensor([label(i, sample) for i, sample in enumerate(samples)])
        images = None if self.cache is False else self._from_folder(samples)
        images = self._decoded(samples) if images is None else images
        origins = [{name: sample[name] for name in ORIGIN if name in sample} for sample in samples]
        print_log(
            f'{len(labels)} images as one tensor of {images.nbytes / 2**20:.0f} MiB '
            f'in {time.perf_counter() - started:.1f} s',
            logger='current',
        )
        return Store(images, labels, self.transforms, origins)

    def full_init(self) -> None:
        """Have the images decoded, as MMEngine asks for before data workers start."""
        self.store  # noqa: B018

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, key: int | Key) -> dict[str, Any]:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[int | Key]) -> Places:
        return Places(self.store, keys)

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    def get_data_info(self, index: int) -> dict:
        return self.dataset.get_data_info(index)

    def get_cat_ids(self, index: int) -> list[int]:
        return self.dataset.get_cat_ids(index)

    def _from_folder(self, chosen: Sequence[Mapping]) -> Tensor | None:
        """The images of files by the cache, which holds also those that are held out; None where they are no files."""
        samples = whole(list(unwrapped(self.dataset))[-1])
        rows = {sample.get('img_path'): row for row, sample in enumerate(samples)}
        own = [rows.get(sample.get('img_path')) for sample in chosen]
        if None in rows or None in own:
            return None
        root = Path(common_folder(rows))
        hidden = root.parent / f'.{root.name}.decoded'  # beside the images' folder, which other programs read as it is
        folder = Path(self.cache).expanduser() if isinstance(self.cache, str) else hidden
        identity = dict(files=signature(samples), loading=self.loading_cfg, reader=RULES)
        found = cached(folder, json.dumps(identity, sort_keys=True), lambda: self._described(samples))
        self.fingerprint = found['fingerprint']
        return found['images'] if own == list(range(len(samples))) else found['images'][own]

    def _described(self, samples: Sequence[Mapping]) -> dict[str, Any]:
        """Decoded images, and what they are where nothing but loading was done to them."""
        images = self._decoded(samples)
        plain = [transform['type'] for transform in self.loading_cfg] == ['ranet_mm.LoadImage']
        pixels = images.permute(0, 2, 3, 1).numpy()
        named = (dict(sample, img=image) for sample, image in zip(samples, pixels, strict=True))
        return dict(images=images, fingerprint=fingerprint(named) if plain else None)

    def _decoded(self, samples: Sequence[Mapping]) -> Tensor:
        shape = self.picture(samples[0]).shape
        return decoded(len(samples), lambda i: self.picture(samples[i], shape), cores())

    def picture(self, sample: Mapping[str, Any], shape: torch.Size | None = None) -> Tensor:
        """One loaded image as (C, H, W) uint8.

        Raises:
            ValueError: The pipeline leaves no uint8 `img`, or it has another shape than `shape`.
        """
        results = self.loading(dict(sample))
        image, name = results.get('img'), results.get('img_path', sample.get('sample_idx'))
        if getattr(image, 'dtype', None) != 'uint8':
            raise ValueError(f'image {name!r} is not allowed: the pipeline must load it as uint8 into `img`')
        image = torch.from_numpy(image if image.ndim == 3 else image[..., None]).permute(2, 0, 1)
        if shape not in (None, image.shape):
            raise ValueError(
                f'image {name!r} of the shape {tuple(image.shape)} is not allowed: the first one has {tuple(shape)}, '
                'and a Resize in the pipeline brings all to one size'
            )
        return image


def label(index: int, sample: Mapping[str, Any]) -> int:
    """The sample's only label.

    Raises:
        ValueError: It has none, or several.
    """
    value = sample.get('gt_label')
    if not isinstance(value, Integral):
        raise ValueError(f'gt_label={value!r} of sample {index} is not allowed: it must be one whole number')
    return int(value)


def in_one_process(cfg: dict) -> dict:
    """Without the packing of samples that MMEngine's data sets do for data workers, which are not needed here."""
    inner = cfg
    while isinstance(inner.get('dataset'), Mapping):
        inner = inner['dataset']
    kind = inner.get('type')
    kind = MMPRETRAIN_DATASETS.get(kind) if isinstance(kind, str) else kind
    if isinstance(kind, type) and issubclass(kind, BaseDataset):
        inner.setdefault('serialize_data', False)
    return cfg


def samples_of(dataset: Any) -> Sequence[Mapping[str, Any]]:
    """Every sample's `get_data_info`, without the copies that it makes where the samples lie unpacked."""
    if isinstance(dataset, BaseDataset) and not dataset.serialize_data:
        return [dict(sample, sample_idx=index) for index, sample in enumerate(dataset.data_list)]
    return [dataset.get_data_info(index) for index in range(len(dataset))]
