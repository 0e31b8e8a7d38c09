"""Wrong labels to train on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.registry import DATASETS as ROOT_DATASETS

from ...registry import DATASETS


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
        wrong: (N,) bool, True where the label was changed.
        labels: (N,) int, the labels in force.

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
        self.labels: np.ndarray | None = None
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Load the data set and draw the wrong labels."""
        if self.labels is not None:
            return
        self.dataset.full_init()
        labels, classes = self.dataset.get_gt_labels(), len(self.metainfo['classes'])
        generator = np.random.default_rng(self.seed)
        chosen = generator.permutation(len(labels))[: round(self.fraction * len(labels))]
        self.wrong = np.zeros(len(labels), bool)
        self.wrong[chosen] = True
        labels[chosen] = (labels[chosen] + generator.integers(1, classes, len(chosen))) % classes
        self.labels = labels

    def __len__(self) -> int:
        self.full_init()
        return len(self.labels)

    def get_gt_labels(self) -> np.ndarray:
        """(N,) int, as in mmpretrain's data sets."""
        self.full_init()
        return self.labels

    def get_cat_ids(self, idx: int) -> list[int]:
        return [int(self.get_gt_labels()[idx])]

    def get_data_info(self, idx: int) -> dict:
        return {**self.dataset.get_data_info(idx), 'gt_label': int(self.get_gt_labels()[idx])}

    def __getitem__(self, idx: int) -> Any:
        return self.dataset.pipeline(self.get_data_info(idx))
