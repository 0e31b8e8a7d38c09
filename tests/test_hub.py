"""mmpretrain finds the models by name, with the weights that ship, from a checkout and from an installed package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmpretrain')

import mmpretrain
import yaml

from ranet_mm import hub, weights

ROOT = Path(__file__).parents[1]
NAMES = [m['Name'] for m in yaml.safe_load((ROOT / 'configs/ranet/metafile.yml').read_text())['Models']]


@pytest.fixture
def image(tmp_path):
    """A red image of noise, in a format without losses."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)) // [1, 4, 8]
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / 'red.png')
    return tmp_path / 'red.png'


def test_every_model_is_listed_and_has_its_config():
    assert set(NAMES) <= set(mmpretrain.list_models())
    assert set(mmpretrain.list_models('*att56_cifar10*')) == {n for n in NAMES if n.startswith('att56_cifar10')}
    for name in ('att56_digits', 'ATT452_cifar10_paper', 'resnet18_cifar10_fast'):
        assert 'backbone' in mmpretrain.ModelHub.get(name).config.model


def test_registering_again_changes_nothing():
    hub.list_models()
    assert not any(type(finder).__name__ == '_HubFinder' for finder in sys.meta_path)


@pytest.fixture(scope='module')
def shipped():
    return mmpretrain.get_model('att56_cifar10', pretrained=True)


def renamed_copy(file):
    return shutil.copy(file, 'mine.safetensors')


def test_shipped_weights_are_those_of_timm(shipped):
    timm = pytest.importorskip('timm')
    model = timm.create_model('attention56_cifar', pretrained=True).eval()
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(shipped(x), model(x))


@pytest.mark.parametrize('take', [str, renamed_copy])
def test_a_shipped_file_is_known_by_its_path_too(take, shipped, tmp_path):
    """Its keys are timm's; names of classes and normalization are those of the index."""
    row = weights.index()['attention56_cifar.cifar10']
    file = take(row['file'])
    model = mmpretrain.get_model('att56_cifar10', pretrained=file)
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(model(x), shipped(x))
    assert model._dataset_meta['classes'] == row['label_names']
    with pytest.raises(ValueError, match=r'data_preprocessor\.mean=\[1, 2, 3\] in place of \[125\.307, '):
        mmpretrain.get_model('att56_cifar10', pretrained=file, data_preprocessor=dict(mean=[1, 2, 3], std=[1, 1, 1]))


def test_shipped_weights_are_read_without_unpickling(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError('unpickled')

    monkeypatch.setattr('torch.load', refuse)
    monkeypatch.setattr('pickle.Unpickler', refuse)
    model = mmpretrain.get_model('att56_cifar10_alternate', pretrained=True)
    (row,) = (row for name, row in weights.index().items() if name == 'attention56_cifar.cifar10')
    assert model._dataset_meta['classes'] == row['label_names']


def test_other_channels_and_classes_keep_the_rest(shipped):
    model = mmpretrain.get_model('att56_cifar10', True, backbone=dict(in_channels=1), head=dict(num_classes=3))
    ours, theirs = model.state_dict(), shipped.state_dict()
    first = 'backbone.stem.conv.weight'
    torch.testing.assert_close(ours[first], theirs[first].sum(1, keepdim=True))
    assert torch.equal(ours['backbone.norm.running_var'], theirs['backbone.norm.running_var'])
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize('ask', [lambda n: mmpretrain.get_model(n, True), mmpretrain.ImageClassificationInferencer])
def test_a_model_without_weights_says_so(ask):
    with pytest.raises(
        ValueError, match=r"^'att56_cifar100' has no pretrained weights; models .*: att56_cifar10, att56_"
    ):
        ask('att56_cifar100')
    assert mmpretrain.get_model('att56_cifar100').backbone.arch.depth == 56


@pytest.mark.parametrize('name', ['att56_cifar10', 'att56_cifar10_alternate'])
def test_inferencer_sees_the_colours_that_the_network_was_trained_on(name, image, shipped):
    (found,) = mmpretrain.ImageClassificationInferencer(name, device='cpu')(str(image))
    pixels = torch.from_numpy(np.array(Image.open(image))).permute(2, 0, 1)[None]
    inputs = shipped.data_preprocessor(dict(inputs=pixels))['inputs']
    expected = shipped(inputs).softmax(1)[0]
    np.testing.assert_allclose(found['pred_scores'], expected.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert found['pred_class'] == shipped._dataset_meta['classes'][int(expected.argmax())]


def test_inference_model_picks_the_inferencer(image):
    assert mmpretrain.inference_model('att56_cifar10', str(image))['pred_class'] in shipped_classes()


def test_the_examples_of_the_page_run(image):
    """Each block of `docs/openmmlab.md` in turn, in one namespace."""
    image.rename(image.with_name('image.png'))
    scope = {}
    for block in re.findall(r'```python\n(.*?)```', (ROOT / 'docs/openmmlab.md').read_text(), re.DOTALL):
        if not block.startswith(('model = dict', 'optim_wrapper = ')):  # parts of configs
            exec(block, scope)
    assert (scope['model'].backbone.in_chans, scope['model'].head.num_classes) == (1, 3)
    assert scope['backbone'].stem.conv.in_channels == 4


def shipped_classes():
    return weights.index()['attention56_cifar.cifar10']['label_names']


def run(code, *path):
    """Run code in another folder, with packages in `path` first."""
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow('a process that imports OpenMMLab')
def test_import_after_mmpretrain():
    assert run('import mmpretrain, ranet_mm, json; print(json.dumps(mmpretrain.list_models("att")))', ROOT) == sorted(
        n for n in NAMES if n.startswith('att')
    )


@pytest.mark.slow('an installation')
def test_installed_package(tmp_path):
    """What a wheel holds is enough: no checkout, no network."""
    source = tmp_path / 'source'
    ignored = shutil.ignore_patterns('.*', '__pycache__')
    for name in ('ranet_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ('setup.py', 'pyproject.toml', 'ranet.py', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, 'setup.py', '--quiet', 'build_py', '--build-lib', str(tmp_path / 'installed')]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    code = """if True:
        import json, ranet_mm, socket, torch
        socket.socket.connect = None
        import mmpretrain
        model = mmpretrain.get_model('att56_cifar10', pretrained=True)
        print(json.dumps([ranet_mm.__file__, model._config.filename, len(mmpretrain.list_models('att')),
                          model(torch.zeros(1, 3, 32, 32)).shape]))
    """
    package, config, models, shape = run(code, tmp_path / 'installed')
    installed = tmp_path / 'installed' / 'ranet_mm'
    assert Path(package).parent == installed
    assert Path(config) == installed / '.mim' / 'configs' / 'ranet' / 'att56_cifar10.py'
    assert models == sum(n.startswith('att') for n in NAMES)
    assert shape == [1, 10]
