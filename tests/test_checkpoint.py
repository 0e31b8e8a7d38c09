"""Checkpoints: what is read, what is refused, and that nothing in them is run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

pytest.importorskip('mmpretrain')
pytest.importorskip('safetensors')

from mmengine.logging import MessageHub
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import _load_checkpoint
from mmpretrain.registry import MODELS
from safetensors.torch import save_file

from ranet_mm import hub
from ranet_mm.hub import read_safely
from ranet_mm.mm.models.backbone import ResidualAttentionNet
from ranet_mm.weights import keys
from ranet_mm.weights import read as module
from ranet_mm.weights.description import architecture, backbone_of, plain_settings
from ranet_mm.weights.fit import attention_modules
from ranet_mm.weights.read import read as read_checkpoint
from ranet_mm.weights.read import resumable

SMALL = dict(arch='attention56_cifar', width=0.125, stem_pool=True)
MARK = "__import__('pathlib').Path('ran').touch()"


@pytest.fixture(autouse=True)
def _reader():
    read_safely()


class Runs:
    """Unpickled, it leaves a file."""

    def __reduce__(self):
        return eval, (MARK,)


class TestReading:
    def test_histories_of_mmengine(self):
        hub = MessageHub.get_instance('histories')
        for value in (3.0, 1.0):
            hub.update_scalar('train/loss', torch.tensor(value))
            hub.update_info('numpy', np.float64(value))
        torch.save(dict(state_dict=dict(w=torch.ones(1)), message_hub=hub.state_dict()), 'run.pth')
        for _ in range(2):  # reading leaves what is allowed as it is
            found = _load_checkpoint('run.pth', map_location='cpu')['message_hub']
            assert found['log_scalars']['train/loss'].mean(2) == 2.0
            assert found['log_scalars']['train/loss'].statistics('min') == 1.0

    def test_safetensors(self):
        weights = small().state_dict()
        save_file(weights, 'weights.safetensors')
        for found in (read_checkpoint('weights.safetensors'), _load_checkpoint('weights.safetensors', 'cpu')):
            assert found['state_dict'].keys() == weights.keys()
            assert all(torch.equal(v, weights[k]) for k, v in found['state_dict'].items())

    def test_init_cfg_reads_safetensors(self):
        source = small()
        weights = {f'backbone.{k}': v + 1 for k, v in source.state_dict().items()}
        save_file(weights, 'weights.safetensors')
        model = small(init_cfg=dict(type='Pretrained', checkpoint='weights.safetensors', prefix='backbone.'))
        model.init_weights()
        assert torch.equal(model.stem.conv.weight, source.stem.conv.weight + 1)

    def test_home_folder(self, monkeypatch, tmp_path):
        monkeypatch.setenv('HOME', str(tmp_path))
        torch.save(dict(w=torch.ones(1)), tmp_path / 'w.pth')
        assert read_checkpoint('~/w.pth')['state_dict']['w'] == 1

    def test_the_reader_is_mmengines_for_local_files_alone(self):
        assert CheckpointLoader._get_checkpoint_loader('a.pth') is hub.load_from_disk
        assert CheckpointLoader._get_checkpoint_loader('https://a/b.pth') is not hub.load_from_disk


class TestNothingIsRun:
    @pytest.mark.parametrize('read', [read_checkpoint, _load_checkpoint])
    def test_pickled_code(self, read):
        torch.save(dict(state_dict=dict(w=torch.ones(1)), code=Runs()), 'code.pth')
        with pytest.raises(ValueError, match=r"'code.pth' cannot be read: it holds .*eval, which is not safe to load"):
            read('code.pth')
        assert not Path('ran').exists()

    def test_config_texts(self):
        text = f'x = {MARK}\nmodel = dict(backbone=dict(type="Net", p={MARK}))\n'
        torch.save(dict(state_dict=dict(w=torch.ones(1)), meta=dict(cfg=text, config=text)), 'text.pth')
        found = _load_checkpoint('text.pth', 'cpu')
        assert 'config' not in found['meta']  # which MMEngine would run
        assert architecture(found).startswith('Net(p=__import__')
        assert not Path('ran').exists()


class TestRefused:
    @pytest.mark.parametrize(
        ('name', 'content', 'says'),
        [
            ('empty.pth', b'', 'it is damaged or no checkpoint'),
            ('text.pth', b'hello, world', 'it is damaged or no checkpoint'),
            ('picture.pth', b'\x89PNG\r\n\x1a\n' + bytes(100), 'it is damaged or no checkpoint'),
            ('empty.safetensors', b'', 'it is damaged or no checkpoint'),
            ('text.safetensors', b'hello, world', 'it is damaged or no checkpoint'),
        ],
    )
    def test_foreign_files(self, name, content, says):
        Path(name).write_bytes(content)
        with pytest.raises(ValueError, match=f"^checkpoint '{name}' cannot be read: {says}$"):
            read_checkpoint(name)

    @pytest.mark.parametrize('name', ['cut.pth', 'cut.safetensors'])
    @pytest.mark.parametrize('share', [0.1, 0.5, 0.99])
    def test_truncated_files(self, name, share):
        weights = small().state_dict()
        save_file(weights, name) if name.endswith('s') else torch.save(dict(state_dict=weights), name)
        whole = Path(name).read_bytes()
        Path(name).write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ValueError, match=f"^checkpoint '{name}' cannot be read: it is damaged or no checkpoint$"):
            read_checkpoint(name)

    def test_folder(self, tmp_path):
        with pytest.raises(ValueError, match='is a folder: name one of the files in it'):
            read_checkpoint(tmp_path)

    def test_safetensors_without_the_package(self, monkeypatch):
        Path('w.safetensors').touch()
        monkeypatch.setattr(module, 'find_spec', lambda name: None)
        with pytest.raises(ModuleNotFoundError, match='pip install safetensors'):
            read_checkpoint('w.safetensors')

    def test_weights_alone_are_not_resumed_from(self):
        save_file(small().state_dict(), 'w.safetensors')
        with pytest.raises(ValueError, match='it has no meta, optimizer, message_hub: start from its weights'):
            resumable('w.safetensors')


class TestArchitecture:
    def test_told_by_the_config_of_the_checkpoint(self):
        text = "model = dict(module=dict(backbone=dict(type='ranet_mm.Net', arch='a', p=2, init_cfg=dict(x=1))))"
        assert architecture(dict(meta=dict(cfg=text))) == "ranet_mm.Net(arch='a', p=2)"
        assert backbone_of(plain_settings('model = (')) == backbone_of(plain_settings('x = 1')) == {}

    @pytest.mark.parametrize(('arch', 'modules'), [('attention56_cifar', '1, 1, 1'), ('attention92_cifar', '1, 2, 3')])
    def test_told_by_the_weights(self, arch, modules):
        weights = small(arch=arch).state_dict()
        assert attention_modules(weights) == modules
        assert attention_modules({f'backbone.{k}': v for k, v in weights.items()}) == modules
        assert f'with {modules} attention modules in its stages: ' in architecture(dict(state_dict=weights))
        assert (
            architecture(dict(state_dict=dict(w=torch.ones(3))))
            == "of unknown architecture: 3 values, the first of them 'w'"
        )

    def test_keys_of_the_timm_model(self):
        classifier = MODELS.build(
            dict(
                type='ImageClassifier',
                backbone=dict(type='ranet_mm.ResidualAttentionNet', **SMALL),
                neck=dict(type='ranet_mm.ResidualAttentionNeck'),
                head=dict(type='ranet_mm.ResidualAttentionHead', num_classes=3, in_channels=128),
            )
        )
        ours = classifier.state_dict()
        timm = {k.removeprefix('backbone.'): v for k, v in ours.items()}
        assert keys.like(ours, timm).keys() == ours.keys()
        assert keys.like(ours, ours) is ours
        other = dict(w=torch.ones(1))
        assert keys.like(ours, other) is other


@pytest.mark.slow('a run from shipped weights and the test of it')
def test_shipped_weights_through_the_tools(write_config, capsys):
    from ranet_mm.cli import test, train

    config = write_config()
    shipped = str(ROOT / 'ranet_mm/weights/attention56_cifar.cifar10.safetensors')
    whole = ['model.backbone.width=1.0', 'model.backbone.stem_pool=False', 'model.backbone.stem_stride=1']
    whole += ['model.head.in_channels=1024', 'train_cfg.max_epochs=1']
    assert train.main([config, '--work-dir', 'tuned', '--cfg-options', *whole, f'load_from={shipped}']) == 0
    err = capsys.readouterr().err
    assert 'head.fc.weight is trained anew: the checkpoint has (10, 1024), the model (2, 1024)' in err
    assert test.main([config, shipped, '--cfg-options', *whole]) == 1
    assert 'misshaped: head.fc.weight (10, 1024) in place of (2, 1024)' in capsys.readouterr().err


def small(**options):
    torch.manual_seed(0)
    return ResidualAttentionNet(**{**SMALL, **options})
