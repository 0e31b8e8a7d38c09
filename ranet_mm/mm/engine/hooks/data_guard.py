"""Data that go with the model."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from ....registry import HOOKS
from ...data.by_name import parts


@HOOKS.register_module()
class DataGuardHook(Hook):
    """Refuse data that lack a file or disagree with the model, before the first step.

    Raises:
        FileNotFoundError: An image or a mask is missing.
        ValueError: Data and heads have different classes, or an annotation file lacks one.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        self._check(runner, runner.train_dataloader)
        if runner.val_loop is not None:
            self._check(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        self._check(runner, runner.test_dataloader)

    @staticmethod
    def _check(runner: Runner, loader: Any) -> None:
        for dataset in parts(loader.dataset):
            check_categories(dataset)
            check_classes(dataset.metainfo, runner.model)
            check_files(dataset)


def check_files(dataset: Any) -> None:
    """Make sure that the images and masks are there; those behind a network are not looked for."""
    for i in range(len(dataset)):
        sample = dataset.get_data_info(i)
        for key, what in (('img_path', 'image'), ('seg_map_path', 'mask')):
            path = sample.get(key)
            if path and '://' not in path and not os.path.isfile(path):
                raise FileNotFoundError(
                    f'{what} {path!r} does not exist, but {_source(dataset)} names it: restore the file, '
                    "remove its entry, or set the data set's data_root and data_prefix to where it is"
                )


def check_categories(dataset: Any) -> None:
    """Make sure that a file of COCO's kind has the classes of its data set; mmdet would leave their objects out."""
    classes, found = dataset.metainfo['classes'], getattr(dataset, 'cat_ids', None)
    if found is None or len(found) == len(classes):
        return
    with open(dataset.ann_file, encoding='utf-8') as file:
        names = [category['name'] for category in json.load(file)['categories']]
    missing = [name for name in classes if name not in names]
    raise ValueError(
        f"{_source(dataset)} has no category {', '.join(map(repr, missing[:4]))}, which the data set's classes "
        f"name: its categories are {', '.join(names[:8])}; set the data set's metainfo.classes to them"
    )


def check_classes(metainfo: Mapping[str, Any], model: nn.Module, more: bool = False, least: int = 0) -> None:
    """Make sure that every head tells as many classes as the data have, or with `more` at least these.

    Args:
        metainfo: Of the data.
        model: What has the heads.
        more: A head may tell classes that the data lack.
        least: Classes that labels show, whatever names there are.
    """
    classes = metainfo.get('classes') or ()
    number = max(least, len(classes))
    for name, count in heads(model):
        if count != number and not (more and count > number):
            shown = (', '.join(classes[:4]) + (', ...' if len(classes) > 4 else '')) or f'labels up to {number - 1}'
            raise ValueError(
                f'model.{name} has num_classes={count}, but the data have {number} classes ({shown}): set '
                f'model.{name}.num_classes={number}'
            )


def heads(model: nn.Module) -> Iterator[tuple[str, int]]:
    """The heads that tell classes, and how many each does; a pretext task without labels has none."""
    for name, module in model.named_modules():
        count = getattr(module, 'num_classes', None)
        if count is not None and re.search(r'(?<!rpn_)head(\.\d+)?$', name):
            yield name, count


def _source(dataset: Any) -> str:
    path = getattr(dataset, 'ann_file', '')
    return f'annotation file {path!r}' if path else f'data set {type(dataset).__name__}'
