"""Data sets that can hold out training images, and wrong labels to train on."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.fileio import exists, list_from_file
from mmengine.logging import print_log
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmpretrain import datasets as mmpretrain

from ... import image_files
from ...registry import DATASETS
from . import by_name


class HoldOut:
    """Makes a data set of mmpretrain able to set training images apart, for choosing without the test set.

    Labels follow the names of the classes: where `metainfo.classes` has the names that the data set has by itself in
    another order, or further ones, each image keeps its name. Other names for all of them are new names.

    Args:
        *args: Arguments of the data set.
        holdout: 0 uses every image. k > 0 sets every k-th image of each class apart, in the data set's order.
        held_out: Use the images set apart instead of the others.
        **kwargs: Arguments of the data set, `pipeline` among them.

    Raises:
        ValueError: `holdout` is 1 or negative, nothing is held out to be used, images have no labels to hold out by,
            `filter_cfg` or `indices` are not ones that can be followed, or the names of classes are not allowed.
        FileNotFoundError: `metainfo.classes` is the path of a file that does not exist.
    """

    UNUSED: tuple[str, ...] = ()  # arguments of mmpretrain's `BaseDataset` without a meaning here

    def __init__(self, *args: Any, holdout: int = 0, held_out: bool = False, **kwargs: Any) -> None:
        if holdout < 0 or holdout == 1:
            raise ValueError(f'holdout={holdout!r} is not allowed: it must be 0, or 2 or more')
        if held_out and not holdout:
            raise ValueError('held_out=True is not allowed with holdout=0, which sets nothing apart')
        for name in (*self.UNUSED, 'filter_cfg'):
            if kwargs.get(name) is not None and kwargs[name] != '':
                raise ValueError(f'{name}={kwargs[name]!r} is not allowed: {type(self).__name__} makes no use of it')
        self.holdout, self.held_out = holdout, held_out
        super().__init__(*args, **kwargs)

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping | None = None) -> dict:
        """MMEngine's, which takes the path of a missing file for the name itself."""
        given = metainfo.get('classes') if hasattr(metainfo, 'get') else None
        if isinstance(given, str) and not Path(given).is_file():
            raise FileNotFoundError(
                f'metainfo.classes={given!r} is not allowed: it must be a list of names, or a text file with one a line'
            )
        found = super()._load_metainfo(metainfo)
        if given is not None:
            lines = isinstance(given, str)  # of a file, whose last one may be empty
            found['classes'] = by_name.checked(name for name in found['classes'] if not lines or name.strip())
        return found

    def load_whole(self) -> list[dict]:
        """Every sample, those that are held out among them."""
        return super().load_data_list()

    def load_data_list(self) -> list[dict]:
        """The samples held out, or the others, with labels by the names that `metainfo.classes` gives."""
        samples, own = self.load_whole(), self.METAINFO.get('classes')
        chosen = self._chosen(samples) if self.holdout else samples
        if own and set(own) <= set(self.CLASSES or ()):
            by_name.relabel(chosen, by_name.mapping(own, self.CLASSES, self))
        if self._indices is not None:
            self._check_indices(len(chosen))
        return chosen

    def _check_indices(self, images: int) -> None:
        if not self._indices:
            raise ValueError(f'indices={self._indices!r} is not allowed: no image would be left')
        wrong = [i for i in self._indices if not -images <= i < images] if not isinstance(self._indices, int) else []
        if wrong:
            raise ValueError(f'indices={self._indices!r} is not allowed: there is no {wrong[0]} of {images} images')

    def _chosen(self, samples: list[dict]) -> list[dict]:
        seen, chosen = Counter(), []
        for sample in samples:
            if 'gt_label' not in sample:
                raise ValueError(f'holdout={self.holdout!r} is not allowed: images without labels have no classes')
            label = sample['gt_label']
            seen[label] += 1
            if (seen[label] % self.holdout == 0) == self.held_out:
                chosen.append(sample)
        if not chosen:
            raise ValueError(f'holdout={self.holdout!r} holds no image out: no class has so many')
        return chosen


class Fixed(HoldOut):
    """A data set whose classes are those of its images."""

    UNUSED = ('ann_file',)

    def load_data_list(self) -> list[dict]:
        own, given = self.METAINFO['classes'], self.CLASSES or self.METAINFO['classes']
        known = [name for name in given if name in own]
        if len(known) < len(own) and (known or len(given) != len(own)):
            raise ValueError(
                f'metainfo.classes={list(given)} is not allowed: the classes of {type(self).__name__} are '
                f'{by_name.listed(own)}; give them in any order, or other names for all {len(own)}'
            )
        return super().load_data_list()


class Archive(Fixed):
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


class Files(HoldOut):
    """Images in files: found below a folder (see `image_files`), or listed by `ann_file`.

    Args:
        *args: Arguments of the data set.
        extensions: Take the files whose names end so, and not those of every format that Pillow reads.
        **kwargs: Arguments of `HoldOut` and of mmpretrain's `CustomDataset`.

    Raises:
        FileNotFoundError: A folder or the file `ann_file` does not exist.
        ValueError: A line of `ann_file` is of another form, or a label is no class's.
    """

    def __init__(self, *args: Any, extensions: str | Sequence[str] | None = None, **kwargs: Any) -> None:
        if extensions is not None:
            extensions = [extensions] if isinstance(extensions, str) else list(extensions)
            if not extensions or not all(isinstance(e, str) and e for e in extensions):
                raise ValueError(f"extensions={extensions!r} is not allowed: endings are expected, as in ['.png']")
        self.every_format = extensions is None
        super().__init__(*args, extensions=extensions or (), **kwargs)

    def is_valid_file(self, filename: str) -> bool:
        return image_files.is_image(filename) if self.every_format else super().is_valid_file(filename)

    def load_whole(self) -> list[dict]:
        if self.ann_file:
            self._check_lines()
        return super().load_whole()

    def _check_lines(self) -> None:
        """Tell what mmpretrain would fail at, or take for something else."""
        if not exists(self.ann_file):
            raise FileNotFoundError(f'annotation file {self.ann_file!r} does not exist')
        lines = list_from_file(self.ann_file)
        if not lines:
            raise ValueError(f'annotation file {self.ann_file!r} is empty')
        form = r'\s*\S(.*\S)? -?\d+\s*' if self.with_label else r'.*\S.*'
        expected = 'PATH LABEL, the number of its class,' if self.with_label else 'PATH'
        for number, line in enumerate(lines, 1):
            where = f'line {number} of {self.ann_file!r}, {line!r},'
            if not re.fullmatch(form, line):
                raise ValueError(f'{where} is not allowed: {expected} is expected')
            if self.with_label:
                self._check_label(int(line.rsplit(None, 1)[1]), where)

    def _check_label(self, label: int, where: str) -> None:
        classes = self.CLASSES
        if label < 0 or (classes and label >= len(classes)):
            most = f'from 0 to {len(classes) - 1} for the classes {by_name.listed(classes)}' if classes else '0 or more'
            raise ValueError(f'{where} has a label that is not allowed: it must be {most}')

    def _find_samples(self) -> list:
        """The place of mmpretrain's own search, which finds hidden folders and passes over linked files."""
        if '://' in self.img_prefix:
            return super()._find_samples()
        root = os.path.normpath(self.img_prefix)
        if not os.path.isdir(root):
            raise FileNotFoundError(f'data folder {root!r} does not exist')
        left: image_files.Endings = Counter()
        samples = self._below(root, left) if self.with_label else self._files(root, left)
        if not samples:
            raise ValueError(f'data folder {root!r} has no images: {self._endings()}')
        if left:
            tell_once(f'data folder {root!r}: {image_files.left_out(left)}')
        return samples

    def _below(self, root: str, left: image_files.Endings) -> list[tuple[str, int]]:
        """Names of files below a folder, and the classes of the folders that they are in."""
        folders = image_files.folders(root)
        numbers = self._numbers(folders)
        found = {name: self._files(root, left, name) for name in folders}
        for name in [name for name, files in found.items() if not files]:
            self._empty(f'class folder {os.path.join(root, name)!r} has no images: {self._endings()}')
        return [(file, numbers[name]) for name, files in found.items() for file in files]

    def _numbers(self, folders: Sequence[str]) -> dict[str, int]:
        """The classes in the order of their folders, as in mmpretrain."""
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(folders)
        elif len(folders) != len(self.CLASSES):
            raise ValueError(
                f'data folder {self.img_prefix!r} has {len(folders)} class folders, which is not allowed: '
                f'{len(self.CLASSES)} are expected, one for each class'
            )
        return {name: number for number, name in enumerate(folders)}

    def _empty(self, line: str) -> None:
        """Tell of a class folder without images, as mmpretrain does."""
        tell_once(line)

    def _files(self, root: str, left: image_files.Endings, name: str = '') -> list[str]:
        """Names, from a folder, of the images in one inside it, sorted."""
        real = Path(root).resolve()
        above = [str(folder) for folder in (*([real] if name else []), *real.parents)]
        found = image_files.below(os.path.join(root, name) if name else root, above, self.is_valid_file, left)
        return sorted(path[len(os.path.join(root, '')) :] for path in found)

    def _endings(self) -> str:
        if self.every_format:
            return 'files are expected whose names end as those of a format that Pillow reads, as in .jpg or .png'
        return f'files ending in {", ".join(self.extensions)} are expected'


@cache
def tell_once(line: str) -> None:
    """Log a warning, the first time alone: a data set is read anew to tell what it is."""
    print_log(line, logger='current', level=logging.WARNING)


@DATASETS.register_module()
class CIFAR10(Archive, mmpretrain.CIFAR10):
    """CIFAR-10 from its original archive; `data_root`, `split` and more as in mmpretrain."""


@DATASETS.register_module()
class CIFAR100(Archive, mmpretrain.CIFAR100):
    """CIFAR-100 from its original archive; `data_root`, `split` and more as in mmpretrain."""


@DATASETS.register_module()
class ImageNet(Files, mmpretrain.ImageNet):
    """ImageNet-1k; `data_root`, `split` and more as in mmpretrain. The order of its folders tells the classes."""


@DATASETS.register_module()
class Digits(Fixed, mmpretrain.BaseDataset):
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
    UNUSED = ('ann_file', 'data_root', 'data_prefix')

    def __init__(self, split: str = 'train', **kwargs: Any) -> None:
        if split not in self.SPLITS:
            raise ValueError(f'split={split!r} is not allowed: it must be one of {", ".join(self.SPLITS)}')
        self.split = split
        super().__init__(**{'ann_file': '', **kwargs})

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
class ImageFolder(Files, mmpretrain.CustomDataset):
    """One folder of images for each class: `root/<class>/<image>`, classes in alphabetical order.

    Where `metainfo.classes` gives the classes (a list, or a text file with one a line), their order counts, and the
    folder may lack some. With `ann_file`, lines `PATH LABEL` in a file below `root` name the images instead of folders,
    and a label is a number of `metainfo.classes`. `with_label=False` takes every image below the folder, or lines
    `PATH`.

    Args:
        root: The folder.
        **kwargs: Arguments of `Files`, of `HoldOut` and of mmpretrain's `CustomDataset`, `pipeline` among them.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: It has no class folders, one of them is no class's, or one has no images and it is to train on.
    """

    def __init__(self, root: str, **kwargs: Any) -> None:
        folder = Path(os.path.expanduser(root))
        if not folder.is_dir():
            raise FileNotFoundError(
                f"data folder {str(folder)!r} does not exist: set the dataset's `root` to a folder with one "
                'subfolder of images for each class'
            )
        if (other := kwargs.pop('data_root', None)) and Path(other).resolve() != folder.resolve():
            raise ValueError(f'data_root={other!r} is not allowed: root={root!r} names the folder already')
        super().__init__(data_root=str(folder), **kwargs)

    def _numbers(self, folders: Sequence[str]) -> dict[str, int]:
        root = os.path.normpath(self.img_prefix)
        if not folders:
            raise ValueError(f'data folder {root!r} has no class folders: one for each class is expected')
        classes = self.CLASSES
        if classes is None:
            classes = self._metainfo['classes'] = tuple(folders)
        for name in folders:
            if name not in classes:
                raise ValueError(
                    f'class folder {os.path.join(root, name)!r} is not allowed: '
                    f"the data set's classes are {by_name.listed(classes)}"
                )
        if absent := [name for name in classes if name not in folders]:
            tell_once(f'data folder {root!r} has no images of {by_name.listed(absent)}')
        return self.class_to_idx

    def _empty(self, line: str) -> None:
        if not self.test_mode:
            raise ValueError(line)
        super()._empty(line)


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
        if not by_name.labelled(self.dataset):
            raise ValueError('LabelNoise is not allowed on a data set without labels')
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
