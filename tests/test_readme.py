"""The examples of the README run as they stand there."""

import re
from pathlib import Path

import pytest
import torch

pytest.importorskip('timm')
pytest.importorskip('mmpretrain')

ROOT = Path(__file__).parents[1]


def examples(name):
    return re.findall(r'^```python\n(.*?)^```', (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope='module')
def names():
    """Variables that the README's examples leave behind, run one after the other."""
    found = {}
    for example in examples('README.md'):
        exec(example, found)
    return found


def test_classifier(names):
    assert names['logits'].shape == (2, 10)


def test_backbone(names):
    assert [tuple(m.shape[1:]) for m in names['maps']] == [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]


def test_detector_takes_the_backbones_channels(names):
    from mmengine.registry import MODELS

    model = names['model']
    cfg = {k: v for k, v in model['backbone'].items() if k != '_delete_'}
    with torch.no_grad():
        maps = MODELS.build(cfg).eval()(torch.zeros(1, 3, 64, 64))
    assert [m.shape[1] for m in maps] == model['neck']['in_channels']


def test_examples_of_the_configs_page(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = {}
    for example in examples('configs/ranet/README.md'):
        exec(example, found)
    assert found['logits'].shape == (1, 10)
    assert [m.shape[1:] for m in found['maps']] == [(1024, 8, 8)]
