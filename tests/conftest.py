"""A tiny run: 2 x 6 images, a network of 1/8 of the width, seconds on a CPU."""

import importlib.util
import itertools
import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

if 'PYTEST_XDIST_WORKER_COUNT' in os.environ:  # the cores are shared out; torch by itself takes all of them
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    os.environ['OMP_NUM_THREADS'] = str(max(1, cores // int(os.environ['PYTEST_XDIST_WORKER_COUNT'])))

ROOT = Path(__file__).parents[1]
NUMBERS = itertools.count()
CONFIG = """
_base_ = {base!r}
model = dict(
    backbone=dict(width=0.125, stem_pool=True, stem_stride=2),
    head=dict(num_classes=2, in_channels=128),
    data_preprocessor=dict(num_classes=2),
)
data_preprocessor = dict(num_classes=2)
load = dict(type='ranet_mm.LoadImage')
train = dict(_delete_=True, type='ranet_mm.ImageFolder', root={root!r} + '/train', holdout=0,
             pipeline=[load, *_base_.train_pipeline])
test = dict(_delete_=True, type='ranet_mm.ImageFolder', root={root!r} + '/test', pipeline=_base_.test_pipeline)
train_dataloader = dict(batch_size=2, num_workers=0, dataset=train)
val_dataloader = dict(batch_size=4, num_workers=0, dataset=dict(test, holdout=0, held_out=False))
test_dataloader = dict(batch_size=4, num_workers=0, dataset=dict(test, test_mode=True))
train_cfg = dict(max_epochs=2)
default_hooks = dict(checkpoint=dict(save_best=None))
"""
DEVICE_CONFIG = """
_base_ = {root!r} + '/configs/ranet/att56_cifar10_{recipe}.py'
model = dict(backbone=dict(width=0.125, stem_pool=True, stem_stride=2), head=dict(num_classes=2, in_channels=128))
data_preprocessor = dict(type='ranet_mm.DevicePreprocessor', num_classes=2)
load = dict(type='ranet_mm.LoadImage')
train = dict(type='ranet_mm.ImageFolder', root={images!r} + '/train', holdout=0,
             pipeline=[load, *_base_.train_dataloader.dataset.pipeline])
test = dict(type='ranet_mm.ImageFolder', root={images!r} + '/test', pipeline=_base_.test_pipeline)
held = dict(num_workers=0, persistent_workers=False, collate_fn=dict(type='ranet_mm.at_once'))
train_dataloader = dict(
    batch_size=5, **held, sampler=dict(type='ranet_mm.EpochSampler'),
    dataset=dict(_delete_=True, type='ranet_mm.DeviceDataset', dataset=train),
)
val_dataloader = dict(
    batch_size=4, **held,
    dataset=dict(_delete_=True, type='ranet_mm.DeviceDataset', dataset=dict(test, holdout=0, held_out=False)),
)
test_dataloader = dict(batch_size=4, num_workers=0, dataset=dict(_delete_=True, **test, test_mode=True))
train_cfg = dict(max_epochs=6, val_interval=3)
default_hooks = dict(checkpoint=dict(save_best=None), logger=dict(interval=1))
"""


@pytest.fixture(autouse=True, scope='session')
def _unformatted():
    """Configs that a run writes stay unformatted, which saves most of a tiny run's time."""
    if importlib.util.find_spec('mmengine') is None:
        yield
        return
    import mmengine.config.config
    from yapf.yapflib import yapf_api

    with pytest.MonkeyPatch.context() as patch:
        for module in (yapf_api, mmengine.config.config):
            patch.setattr(module, 'FormatCode', lambda text, **_: (text, True), raising=module is yapf_api)
        yield


@pytest.fixture(autouse=True)
def _quiet(monkeypatch, tmp_path):
    """Tests run in their own folder, in one process, and hand signals back."""
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)
    yield
    left = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    assert left == handlers
    if 'mmengine.registry' in sys.modules:  # a detector's run leaves mmdet as the default scope
        sys.modules['mmengine.registry'].DefaultScope._instance_dict.clear()


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers('slow'):
            if not mark.args:
                raise pytest.UsageError(f"{item.nodeid}: say why, as in @pytest.mark.slow('a compiler')")


def make_images(folder):
    """Noise images {train,test}/{cat,dog}/0..5.png; the dogs are brighter."""
    generator = np.random.default_rng(0)
    for split, (label, name), number in itertools.product(('train', 'test'), enumerate(('cat', 'dog')), range(6)):
        pixels = generator.integers(0, 128, (32, 32, 3)) + 120 * label
        path = folder / split / name / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


def make_config(folder, images, more=''):
    """A config file for the images, with more lines at its end."""
    base = str(ROOT / 'configs/ranet/att56_cifar10.py')
    path = folder / f'tiny{next(NUMBERS)}.py'  # MMEngine keeps loggers and message hubs by name and second
    path.write_text(CONFIG.format(base=base, root=str(images)) + more)
    return str(path)


@pytest.fixture
def images(tmp_path):
    return make_images(tmp_path / 'images')


@pytest.fixture
def write_config(tmp_path, images):
    return partial(make_config, tmp_path, images)


@pytest.fixture
def device_config(tmp_path, images):
    """Writes a config of a recipe on the device: batches of 5, so that the last one of an epoch has 2 images."""

    def write(recipe, more=''):
        path = tmp_path / f'{recipe}_tiny.py'
        path.write_text(DEVICE_CONFIG.format(root=str(ROOT), images=str(images), recipe=recipe) + more)
        return str(path)

    return write
