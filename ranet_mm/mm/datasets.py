"""Datasets and image loading that name the file at fault."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.datasets import BaseDataset, CustomDataset
from PIL import Image

from ..registry import DATASETS, TRANSFORMS


class HoldOut:
    """Chooses the k-th, 2k-th, ... sample of each class (`held_out`), or the others; with k = 0, all.

    Raises:
        ValueError: k is 1 or negative, or nothing is set apart to choose.
    """

    def __init__(self, k: int, held_out: bool) -> None:
        if k < 0 or k == 1:
            raise ValueError(f'holdout={k!r} is not allowed: it must be 0, or 2 or more')
        if held_out and not k:
            raise ValueError('held_out=True is not allowed with holdout=0, which sets nothing apart')
        self.k, self.held_out = k, held_out

    def __call__(self, samples: Sequence) -> list:
        return [s for i, s in enumerate(samples, 1) if not self.k or (i % self.k == 0) == self.held_out]


@DATASETS.register_module()
class Digits(BaseDataset):
    """1,797 real handwritten digits that ship inside scikit-learn; nothing is downloaded.

    The 8x8 images with values 0..16 become (32, 32, 3) uint8, each pixel a block of 4x4. The split is
    fixed and stratified: 1,437 images in `train`, 360 in `test`.

    Args:
        split: `train` or `test`.
        holdout: As in `ImageFolder`.
        held_out: As in `ImageFolder`.
        **kwargs: Arguments of mmpretrain's `BaseDataset`, `pipeline` among them.

    Raises:
        ValueError: `split` or `holdout` is not allowed.
    """

    METAINFO = dict(classes=tuple('0123456789'))
    SPLITS = ('train', 'test')

    def __init__(self, split: str = 'train', holdout: int = 0, held_out: bool = False, **kwargs: Any) -> None:
        if split not in self.SPLITS:
            raise ValueError(f'split={split!r} is not allowed: it must be one of {", ".join(self.SPLITS)}')
        self.split, self.part = split, HoldOut(holdout, held_out)
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> list[dict]:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        parts = train_test_split(np.arange(len(digits.target)), test_size=360, random_state=0, stratify=digits.target)
        split = np.sort(parts[self.SPLITS.index(self.split)])
        chosen = np.sort([i for label in range(10) for i in self.part(split[digits.target[split] == label])])
        pixels = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
        images = np.repeat(pixels.repeat(4, 1).repeat(4, 2)[..., None], 3, 3)
        return [dict(img=img, gt_label=int(label)) for img, label in zip(images, digits.target[chosen], strict=True)]


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """One folder of images for each class: `root/<class>/<image>`, classes in alphabetical order.

    Args:
        root: The folder.
        holdout: 0 uses every image. k > 0 sets every k-th image of each class apart, for choosing
            hyperparameters without the test set.
        held_out: Use the images set apart instead of the others.
        **kwargs: Arguments of mmpretrain's `CustomDataset`, `pipeline` among them.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: It has no class folders, or one of them has no images.
    """

    def __init__(self, root: str, holdout: int = 0, held_out: bool = False, **kwargs: Any) -> None:
        folder = Path(os.path.expanduser(root))
        if not folder.is_dir():
            raise FileNotFoundError(
                f"data folder {str(folder)!r} does not exist: set the dataset's `root` to a folder with one "
                'subfolder of images for each class'
            )
        self.part = HoldOut(holdout, held_out)
        kwargs.pop('data_root', None)
        super().__init__(data_root=str(folder), **kwargs)

    def load_data_list(self) -> list[dict]:
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
        files = sorted(p for p in folder.rglob('*') if self.is_valid_file(p.name))
        if not files:
            raise ValueError(
                f'class folder {str(folder)!r} has no images: files ending in {", ".join(self.extensions)} are expected'
            )
        label = self.class_to_idx[folder.name]
        return [dict(img_path=str(f), gt_label=label) for f in self.part(files)]


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read the file at `img_path` into `img`, (H, W, 3) uint8 in RGB order.

    Raises:
        ValueError: The file cannot be decoded whole.
    """

    def transform(self, results: dict) -> dict:
        path = results['img_path']
        try:
            with Image.open(path) as file:
                img = np.array(file.convert('RGB'))
        except OSError as error:
            raise ValueError(f'image {path!r} cannot be read whole: {error}') from error
        results.update(img=img, img_shape=img.shape[:2], ori_shape=img.shape[:2])
        return results
