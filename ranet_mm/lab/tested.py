"""Images to test on, through a model's own transform: a folder's, or scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

DIGITS = 'digits'  # scikit-learn's, as data


def images_of(data: str, split: str) -> Any:
    """The data set of a folder or of a split of the digits, without changes to its images."""
    from ..mm.data.datasets import Digits, ImageFolder

    load = [dict(type='ranet_mm.LoadImage')]
    return Digits(split, pipeline=load) if data == DIGITS else ImageFolder(data, pipeline=load, test_mode=True)


class Pairs(Dataset):
    """Pairs of a transformed image and its label."""

    def __init__(self, dataset: Any, transform: Callable[[Image.Image], Any]) -> None:
        self.dataset, self.transform = dataset, transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        sample = self.dataset[index]
        return self.transform(Image.fromarray(sample['img'])), sample['gt_label']


def load(
    data: str, transform: Callable[[Image.Image], Any], names: Sequence[str] | None = None
) -> tuple[Pairs, list[str]]:
    """Images and labels, and the names of the classes, of a folder or of the digits to test on.

    The labels follow the names of the model's classes, where it has some.
    """
    from ..mm.data.by_name import by_name

    tested = images_of(data, 'test')
    tested = by_name(tested, names) if names else tested
    return Pairs(tested, transform), list(tested.metainfo['classes'])
