"""Every config loads, builds and takes a training step on made-up data."""

import ast
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import MODELS, TRANSFORMS
from mmpretrain.structures import DataSample

from ranet_mm import ARCHS

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / 'configs/ranet').glob('*.py'))


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_there_are_configs():
    assert {'att56_digits', 'att56_cifar10', 'att92_cifar10', 'att56_cifar10-folder'} <= {p.stem for p in CONFIGS}


def test_header_gives_command_needs_and_cost(path):
    title, blank, *lines = ast.get_docstring(ast.parse(path.read_text())).splitlines()
    assert title.endswith('.')
    assert blank == ''
    assert lines[0] == f'Command: python tools/train.py configs/ranet/{path.name}'
    assert [line.split(':')[0] for line in lines if not line.startswith(' ')] == ['Command', 'Needs', 'Cost']


def test_name_tells_the_network(path):
    backbone = Config.fromfile(path).model.backbone
    assert backbone.arch in ARCHS
    assert backbone.arch.startswith(f'attention{path.stem[3:5]}')


def test_head_fits_the_backbone(path):
    cfg = Config.fromfile(path)
    model = MODELS.build(cfg.model.backbone)
    assert cfg.model.head.in_channels == model.num_features
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes


def test_one_training_step(path):
    cfg = Config.fromfile(path)
    torch.manual_seed(0)
    cfg.model.backbone.width = 0.125
    cfg.model.head.in_channels //= 8
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    # Digits repeat pixels and folders read files; both hand on such an image after loading.
    pipeline = [TRANSFORMS.build(t) for t in cfg.train_dataloader.dataset.pipeline if 'Load' not in t.type]
    batch = dict(inputs=[], data_samples=[])
    for label in (3, 7):
        sample = dict(img=torch.randint(256, (32, 32, 3), dtype=torch.uint8).numpy(), gt_label=label)
        for transform in pipeline:
            sample = transform(sample)
        assert isinstance(sample['data_samples'], DataSample)
        for key, values in batch.items():
            values.append(sample[key])
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = [p.detach().clone() for p in model.parameters()]
    log = model.train_step(batch, wrapper)
    assert log['loss'].isfinite()
    moved = [not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True)]
    assert sum(moved) > len(moved) / 2


def test_validation_is_on_the_test_split(path):
    cfg = Config.fromfile(path)
    train, test = cfg.train_dataloader.dataset, cfg.test_dataloader.dataset
    assert cfg.val_dataloader == cfg.test_dataloader
    key = 'root' if 'root' in train else 'split'
    assert train[key].endswith('train')
    assert test[key].endswith('test')
    assert not any('Random' in t.type for t in test.pipeline)
