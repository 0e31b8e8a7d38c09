"""Data sets that can hold out training images, and wrong labels to train on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmpretrain import datasets as mmpretrain

from ...registry import DATASETS


class HoldOut:
    """Makes a data set of mmpretrain able to set training images apart, for choosing without the test set.

    Args:
        *args: Arguments of the data set.
        holdout: 0 uses every image. k > 0 sets every k-th image of each class apart, in the data set's order.
        held_out: Use the images set apart instead of the others.
        **kwargs: Arguments of the data set, `pipeline` among them.

    Raises:
        ValueError: `holdout` is 1 or negative, or nothing is held out to be used.
    """

    def __init__(self, *args: Any, holdout: int = 0, held_out: bool = False, **kwargs: Any) -> None:
        if holdout < 0 or holdout == 1:
            raise ValueError(f'holdout={holdout!r} is not allowed: it must be 0, or 2 or more')
        if held_out and not holdout:
            raise ValueError('held_out=True is not allowed with holdout=0, which sets nothing apart')
        self.holdout, self.held_out = holdout, held_out
        super().__init__(*args, **kwargs)

    def load_whole(self) -> list[dict]:
        """Every sample, those that are held out among them."""
        return super().load_data_list()

    def load_data_list(self) -> list[dict]:
        """The samples held out, or the others."""
        seen, chosen = Counter(), []
        for sample in self.load_whole():
            label = sample['gt_label']
            seen[label] += 1
            if not self.holdout or (seen[label] % self.holdout == 0) == self.held_out:
                chosen.append(sample)
        if not chosen:
            raise ValueError(f'holdout={self.holdout!r} holds no image out: no class has so many')
        return chosen


class Archive(HoldOut):
    """An archive that mmpretrain downloads and verifies.

    Raises:
        OSError: It is neither there nor can it be downloaded.
    """

    def load_whole(self) -> list[dict]:
        try:
            return super().load_whole()
        except OSError as error:
            raise OSError(
                f'{self.url} cannot be downloaded to {self.data_root!r} ({error}): unpack it there, or set '
                '`data_root` to the folder that has it'
            ) from error


@DATASETS.register_module()
class CIFAR10(Archive, mmpretrain.CIFAR10):
    """CIFAR-10 from its original archive; `data_root`, `split` and more as in mmpretrain."""


@DATASETS.register_module()
class CIFAR100(Archive, mmpretrain.CIFAR100):
    """CIFAR-100 from its original archive; `data_root`, `split` and more as in mmpretrain."""


@DATASETS.register_module()
class ImageNet(HoldOut, mmpretrain.ImageNet):
    """ImageNet-1k; `data_root`, `split` and more as in mmpretrain."""


@DATASETS.register_module()
class Digits(HoldOut, mmpretrain.BaseDataset):
    """1,797 real handwritten digits that ship inside scikit-learn; nothing is downloaded.

    The 8x8 images with values 0..16 become (32, 32, 3) uint8, each pixel a block of 4x4. The split is
    fixed and stratified: 1,437 images in `train`, 360 in `test`.

    Args:
        split: `train` or `test`.
        **kwargs: Arguments of `HoldOut` and of mmpretrain's `BaseDataset`, `pipeline` among them.

    Raises:
        ValueError: `split` is not allowed.
    """

    METAINFO = dict(classes=tuple('0123456789'))
    SPLITS = ('train', 'test')

    def __init__(self, split: str = 'train', **kwargs: Any) -> None:
        if split not in self.SPLITS:
            raise ValueError(f'split={split!r} is not allowed: it must be one of {", ".join(self.SPLITS)}')
        self.split = split
        super().__init__(ann_file='', **kwargs)

    def load_whole(self) -> list[dict]:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        parts = train_test_split(np.arange(len(digits.target)), test_size=360, random_state=0, stratify=digits.target)
        chosen = np.sort(parts[self.SPLITS.index(self.split)])
        pixels = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
        images = np.repeat(pixels.repeat(4, 1).repeat(4, 2)[..., None], 3, 3)
        labels = digits.target[chosen].tolist()
        return [dict(img=img, gt_label=label) for img, label in zip(images, labels, strict=True)]


@DATASETS.register_module()
class ImageFolder(HoldOut, mmpretrain.CustomDataset):
    """One folder of images for each class: `root/<class>/<image>`, classes in alphabetical order.

    Args:
        root: The folder.
        **kwargs: Arguments of `HoldOut` and of mmpretrain's `CustomDataset`, `pipeline` among them.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: It has no class folders, or one of them has no images.
    """

    def __init__(self, root: str, **kwargs: Any) -> None:
        folder = Path(os.path.expanduser(root))
        if not folder.is_dir():
            raise FileNotFoundError(
                f"data folder {str(folder)!r} does not exist: set the dataset's `root` to a folder with one "
                'subfolder of images for each class'
            )
        kwargs.pop('data_root', None)
        super().__init__(data_root=str(folder), **kwargs)

    def load_whole(self) -> list[dict]:
        root = Path(self.img_prefix)
        classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith('.'))
        if not classes:
            raise ValueError(f'data folder {str(root)!r} has no class folders: one for each class is expected')
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(classes)
        elif set(classes) != set(self.CLASSES):
            raise ValueError(
                f"class folders {classes} of {str(root)!r} are not allowed: the dataset's classes are "
                f'{sorted(self.CLASSES)}'
            )
        return [sample for name in classes for sample in self._samples(root / name)]

    def _samples(self, folder: Path) -> list[dict]:
        files = sorted(path for path in files_below(folder) if self.is_valid_file(path))
        if not files:
            raise ValueError(
                f'class folder {str(folder)!r} has no images: files ending in {", ".join(self.extensions)} are expected'
            )
        label = self.class_to_idx[folder.name]
        return [dict(img_path=file, gt_label=label) for file in files]


def files_below(folder: str | Path) -> Iterator[str]:
    """The paths of all files in a folder and in those inside it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from files_below(entry.path)
            else:
                yield entry.path


@DATASETS.register_module()
class LabelNoise:
    """A data set of which a part has wrong labels, each drawn evenly from the other classes (paper, Table 5).

    The paper flips each label with a probability; here the number of wrong labels is exact. Which samples get which
    label follows from the seed and the number of samples and classes.

    Args:
        dataset: The data set, or its config. It must be one to train on.
        fraction: Wrong labels, of all samples: 0 to 1, rounded to whole samples.
        seed: Another seed, other wrong labels.
        lazy_init: Load when first asked for, as in MMEngine.

    Attributes:
        wrong: (N,) bool, True where the label was changed; there with the labels.

    Raises:
        ValueError: `fraction` is not from 0 to 1, or the data set is one to test on.
    """

    def __init__(self, dataset: Mapping | Any, fraction: float, seed: int = 0, lazy_init: bool = False) -> None:
        if not 0 <= fraction <= 1:
            raise ValueError(f'fraction={fraction!r} is not allowed: it must be from 0 to 1')
        self.dataset = ROOT_DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        if self.dataset.test_mode or getattr(self.dataset, 'split', 'train') != 'train':
            raise ValueError('LabelNoise is not allowed on a data set to test on: its labels must stay right')
        self.fraction, self.seed = fraction, seed
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int, the labels in force."""
        self.dataset.full_init()
        labels, classes = self.dataset.get_gt_labels(), len(self.metainfo['classes'])
        generator = np.random.default_rng(self.seed)
        chosen = generator.permutation(len(labels))[: round(self.fraction * len(labels))]
        self.wrong = np.zeros(len(labels), bool)
        self.wrong[chosen] = True
        labels[chosen] = (labels[chosen] + generator.integers(1, classes, len(chosen))) % classes
        return labels

    def full_init(self) -> None:
        """Load the data set and draw the wrong labels."""
        self.labels  # noqa: B018

    def __len__(self) -> int:
        return len(self.labels)

    def get_gt_labels(self) -> np.ndarray:
        """(N,) int, as in mmpretrain's data sets."""
        return self.labels

    def get_cat_ids(self, idx: int) -> list[int]:
        return [int(self.labels[idx])]

    def get_data_info(self, idx: int) -> dict:
        return {**self.dataset.get_data_info(idx), 'gt_label': int(self.labels[idx])}

    def __getitem__(self, idx: int) -> Any:
        return self.dataset.pipeline(self.get_data_info(idx))
