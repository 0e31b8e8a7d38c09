"""Fields at the top of a config that change its data sets: `holdout`, `folder`, `wrong_labels` and `on_device`.

MMEngine alone reads a config without them, as if they were off: the data set is then the one that the file says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.config import Config, ConfigDict

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
LOAD = dict(type='ranet_mm.LoadImage')
NOISE = 'ranet_mm.LabelNoise'


def apply(cfg: Config) -> None:
    """Do what the config's switches say; what has been done stays as it is.

    Raises:
        ValueError: A data set or a sampler is not one that can be changed so, or `on_device` is neither True nor False.
    """
    if not isinstance(cfg.get('on_device', False), bool):
        raise ValueError(f'on_device={cfg.on_device!r} is not allowed: it must be True or False')
    for name, change in SWITCHES.items():
        if cfg.get(name):
            change(cfg)


def set_folder(cfg: Config) -> None:
    """Read images below `folder` instead of the archive; a `root` that a data set has been given already stays.

    Raises:
        ValueError: A data set does not tell its split.
    """
    for name, dataset in datasets(cfg, LOADERS):
        if dataset.type == 'ranet_mm.ImageFolder':
            continue
        if 'split' not in dataset:
            raise ValueError(f'folder={cfg.folder!r} is not allowed: the data set of {name} has no split')
        root = f'{cfg.folder}/{dataset.pop("split")}'
        dataset.pop('data_root', None)
        dataset.update(type='ranet_mm.ImageFolder', root=dataset.get('root', root))
        if LOAD['type'] not in [transform['type'] for transform in dataset.pipeline]:
            dataset.pipeline = [dict(LOAD), *dataset.pipeline]


def set_wrong_labels(cfg: Config) -> None:
    """Give a share of the training images a label of another class; those to validate and to test on stay right."""
    loader = cfg.train_dataloader
    outer = loader.dataset if loader.dataset.type == 'ranet_mm.DeviceDataset' else loader
    if outer.dataset.type != NOISE:
        outer.dataset = dict(type=NOISE, fraction=cfg.wrong_labels, seed=0, dataset=outer.dataset)


def on_device(cfg: Config) -> None:
    """Hold a config's training and validation images on the device; its test images stay with the ordinary pipeline.

    Raises:
        ValueError: The sampler of the training images is not MMEngine's default one.
    """
    for name, inner in datasets(cfg, LOADERS[:2]):
        loader = cfg[name]
        if loader.dataset.type == 'ranet_mm.DeviceDataset':
            continue
        if name == 'train_dataloader':
            if loader.sampler.type != 'DefaultSampler':
                raise ValueError(
                    f'sampler {loader.sampler.type} of {name} is not allowed on the device: it must be DefaultSampler'
                )
            loader.sampler.type = 'ranet_mm.EpochSampler'  # what is evaluated has no random pictures: it needs no epoch
        cache = dict(cache=inner.pop('cache')) if 'cache' in inner else {}  # an option of what is held
        loader.dataset = dict(type='ranet_mm.DeviceDataset', dataset=loader.dataset, **cache)
        loader.num_workers, loader.persistent_workers = 0, False
        loader.collate_fn = dict(type='ranet_mm.at_once')
    cfg.data_preprocessor = dict(cfg.data_preprocessor, type='ranet_mm.DevicePreprocessor')


def set_holdout(cfg: Config) -> None:
    """Hand `holdout` of the config to its data sets; 0 trains on every image, and leaves nothing to validate on.

    Raises:
        ValueError: A data set holds no images out.
    """
    for name, dataset in datasets(cfg, LOADERS[:2]):
        if 'holdout' not in dataset:
            raise ValueError(f'holdout={cfg.holdout!r} is not allowed: the data set of {name} holds no images out')
        dataset.holdout = cfg.holdout
    if not cfg.holdout:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None


def datasets(cfg: Config, loaders: Iterable[str]) -> Iterator[tuple[str, ConfigDict]]:
    """Each loader that the config has, and its data set behind the wrappers."""
    for name in loaders:
        if cfg.get(name):
            dataset = cfg[name].dataset
            while 'dataset' in dataset:
                dataset = dataset.dataset
            yield name, dataset


SWITCHES = dict(folder=set_folder, wrong_labels=set_wrong_labels, on_device=on_device)  # in the order they are done in
