"""The examples of the README run as they stand there."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

pytest.importorskip('timm')
pytest.importorskip('mmpretrain')

ROOT = Path(__file__).parents[1]


def examples(name):
    return re.findall(r'^```python\n(.*?)^```', (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope='module')
def names(tmp_path_factory):
    """Variables that the README's examples leave behind, run one after the other beside a photograph."""
    folder, found = tmp_path_factory.mktemp('photograph'), {}
    Image.fromarray(load_sample_image('flower.jpg')).save(folder / 'flower.jpg')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for example in examples('README.md'):
            exec(example, found)
    return found


def test_photograph(names):
    assert names['probabilities'].shape == (1, 10)
    assert names['probabilities'].sum().item() == pytest.approx(1)


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


def test_options_reach_both_ecosystems_and_the_core():
    found = {}
    exec(examples('docs/options.md')[0], found)
    nets = [found[name] for name in ('model', 'backbone', 'features')]
    assert {(net.arch.p, net.arch.attention, net.arch.upsample) for net in nets} == {(2, 'channel', 'nearest')}


def test_a_new_unit_and_attention_function_take_one_row_each():
    from ranet_mm.layers import ATTENTION, UNITS

    found = {}
    exec(examples('docs/options.md')[1], found)
    net = found['net']
    kinds = {type(m) for m in net.modules() if isinstance(m, found['ResidualUnit'])}
    assert kinds == {found['DepthwiseUnit']}
    assert net.stages[0][1].mask.attention is found['hard_attention']
    assert net(torch.randn(1, 3, 32, 32)).shape == (1, 1024, 8, 8)
    del ATTENTION['hard'], UNITS['depthwise']


@pytest.mark.slow('what the page tells readers to run')
def test_quick_start():
    found = {}
    for example in examples('docs/tutorial.md'):
        exec(example, found)
    assert found['probabilities'].shape == (2, 10)
    assert found['correct'] > 0.85
    torch.testing.assert_close(found['fast'](found['images']).softmax(1), found['probabilities'], rtol=0, atol=1e-4)
