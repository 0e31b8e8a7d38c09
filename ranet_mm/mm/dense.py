"""What detection and segmentation need besides the backbone: their libraries, and data that goes with the model."""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmengine.utils import is_installed
from torch import nn

from ..registry import HOOKS

LIBRARIES = dict(mmdet='onedl-mmdetection', mmseg='onedl-mmsegmentation')
OPS = 'mmcv._ext'  # compiled; a release of mmcv without it is a plain Python wheel
CHATTER = (
    'Default ``avg_non_ignore``',
    'The draw is False',
    '`reduce_zero_label` will be deprecated',
    'faster_coco_eval is not installed',
)
LOGGED_CHATTER = ('deprecated', 'prefix is not set', 'is not compiled')


def matters(record: logging.LogRecord) -> bool:
    """Leave out what a user can do nothing about."""
    return not any(text in record.getMessage() for text in LOGGED_CHATTER)


def read_config(path: str | Path) -> Config:
    """Read a config, which may inherit `mmseg::...` and `mmdet::...` whatever names the libraries have as packages.

    Raises:
        ModuleNotFoundError: A library is not installed, or mmcv has no compiled operators where mmdet needs them.
    """
    for module, package in MODULE2PACKAGE.items():  # the maintained mmsegmentation is called onedl-mmsegmentation
        if not is_installed(package) and find_spec(module) is not None:
            MODULE2PACKAGE[module] = module
    for text in CHATTER:
        warnings.filterwarnings('ignore', category=UserWarning, message=re.escape(text))
    MMLogger.get_current_instance().addFilter(matters)  # mmpretrain's models import mmdet's, which log
    cfg = _from_file(path)
    scope = cfg.get('default_scope')
    if scope == 'mmdet' and find_spec(OPS) is None:
        raise ModuleNotFoundError(
            f"config file {str(path)!r} needs mmcv's compiled operators, which are not installed: "
            'run tools/install_ops.sh'
        )
    if scope in LIBRARIES and find_spec(scope) is not None:
        import_module(f'{scope}.datasets')  # prints what it could not import; here the caller can hold it back
    return cfg


def _from_file(path: str | Path) -> Config:
    try:
        return Config.fromfile(path)
    except ModuleNotFoundError as error:
        missing = {v: k for k, v in MODULE2PACKAGE.items()}.get(str(error).split(' ')[0])
        if missing not in LIBRARIES:
            raise
        raise ModuleNotFoundError(
            f'config file {str(path)!r} needs {missing}, which is not installed: pip install {LIBRARIES[missing]}'
        ) from error


def to_channels_last(model: nn.Module) -> None:
    """Put convolution weights, and with them every map, into the memory order N, H, W, C.

    mmcv's compiled layers, RoIAlign among them, take any map for N, C, H, W and compute nonsense without a word: a
    model that has one is left as it is.
    """
    if not any(type(module).__module__.startswith('mmcv.ops') for module in model.modules()):
        model.to(memory_format=torch.channels_last)


def draw_predictions(cfg: Config, folder: str, interval: int) -> None:
    """Have a test write its images with their predictions; each library's hook takes other arguments."""
    scope = cfg.get('default_scope', 'mmpretrain')
    if scope == 'mmdet':
        target = str(Path(folder).absolute())  # otherwise it lands below the work dir
        hook = dict(type='DetVisualizationHook', draw=True, interval=interval, test_out_dir=target)
    elif scope == 'mmseg':
        hook = dict(type='SegVisualizationHook', draw=True, interval=interval)
        cfg.visualizer.vis_backends = [dict(type='LocalVisBackend', save_dir=folder, img_save_dir='.')]
    else:
        hook = dict(type='VisualizationHook', enable=True, out_dir=folder, interval=interval)
    cfg.default_hooks.visualization = hook


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


def parts(dataset: Any) -> Iterator[Any]:
    """The data sets inside wrappers that repeat or join them."""
    inside = getattr(dataset, 'datasets', None) or [d for d in [getattr(dataset, 'dataset', None)] if d is not None]
    for part in inside:
        yield from parts(part)
    if not inside:
        yield dataset


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


def check_classes(metainfo: Mapping[str, Any], model: nn.Module) -> None:
    """Make sure that every head tells as many classes as the data have."""
    classes = metainfo['classes']
    for name, module in model.named_modules():
        count = getattr(module, 'num_classes', None)
        if re.search(r'(?<!rpn_)head(\.\d+)?$', name) and count not in (None, len(classes)):
            shown = ', '.join(classes[:4]) + (', ...' if len(classes) > 4 else '')
            raise ValueError(
                f'model.{name} has num_classes={count}, but the data have {len(classes)} classes ({shown}): set '
                f'model.{name}.num_classes={len(classes)}'
            )


def _source(dataset: Any) -> str:
    path = getattr(dataset, 'ann_file', '')
    return f'annotation file {path!r}' if path else f'data set {type(dataset).__name__}'
