"""What weights say of their network is used, or contradicted in one sentence."""

import json
import re

import numpy as np
import pytest
import torch
from torch import nn

from ranet_mm.weights import description
from ranet_mm.weights.read import read

timm = pytest.importorskip('timm')
safetensors = pytest.importorskip('safetensors.torch')

import fuzzing  # noqa: E402

SAID = dict(width=0.125, stem_stride=2, learning='naive')
PUBLISHED = dict(num_classes=10, mean=[0.1, 0.2, 0.3], label_names=[*'abcdefghij'])
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return timm.create_model('attention56_cifar', **SAID).eval()


@pytest.fixture
def published(model, tmp_path):
    about = dict(architecture='attention56_cifar', model_args=SAID, pretrained_cfg=PUBLISHED)
    path = tmp_path / 'weights.safetensors'
    safetensors.save_file(model.state_dict(), path, metadata=dict(ranet_mm=json.dumps(about)))
    return str(path)


class TestTimm:
    def load(self, file, **options):
        options = dict(pretrained=True, pretrained_cfg_overlay=dict(file=file), **options)
        return timm.create_model('attention56_cifar', **options).eval()

    def test_options_of_a_published_file_are_used(self, model, published):
        assert torch.equal(self.load(published)(IMAGES), model(IMAGES))
        assert torch.equal(self.load(published, learning='naive')(IMAGES), model(IMAGES))

    @pytest.mark.parametrize(
        ('asked', 'said'),
        [
            (dict(learning='residual'), "learning='residual' in place of 'naive'"),
            (dict(attention='channel'), "attention='channel' in place of 'mixed'"),
            (dict(stem_stride=1), 'stem_stride=1 in place of 2'),
            (dict(act_layer='silu'), "act_layer='silu' in place of 'relu'"),
        ],
    )
    def test_another_network_is_refused(self, published, asked, said):
        with pytest.raises(ValueError, match=f'are of another network: {said}$'):
            self.load(published, **asked)

    def test_checkpoint_path_listens_too(self, model, published):
        options = dict(checkpoint_path=published, width=0.125, stem_stride=2)
        with pytest.raises(ValueError, match=r"are of another network: learning='residual' in place of 'naive'$"):
            timm.create_model('attention56_cifar', **options)
        loaded = timm.create_model('attention56_cifar', **options, learning='naive').eval()
        assert torch.equal(loaded(IMAGES), model(IMAGES))
        assert loaded.pretrained_cfg['mean'] == (0.1, 0.2, 0.3)
        assert loaded.pretrained_cfg['label_names'] == tuple('abcdefghij')

    def test_a_file_that_says_nothing_loads_as_before(self, model, tmp_path):
        torch.save(model.state_dict(), tmp_path / 'a.pth')
        loaded = self.load(str(tmp_path / 'a.pth'), width=0.125, stem_stride=2)  # keys and shapes fit
        assert loaded.arch.learning == 'residual'


class TestPrograms:
    """What `ranet NAME` makes of a file that says its network."""

    @pytest.mark.slow('an export of each file')
    def test_export_uses_it(self, model, published, tmp_path, capsys):
        from ranet_mm.cli import export

        out = tmp_path / 'a.pt'
        assert export.main(['attention56_cifar', str(out), '--checkpoint', published]) == 0
        assert torch.allclose(torch.jit.load(out)(IMAGES), model(IMAGES), atol=1e-5)
        argv = [
            'attention56_cifar',
            str(tmp_path / 'b.pt'),
            '--checkpoint',
            published,
            '--model-kwargs',
            'learning=residual',
        ]
        assert export.main(argv) == 1
        assert "learning='residual' in place of 'naive'" in capsys.readouterr().err

    def test_convert_contradicts(self, published, tmp_path, capsys):
        from ranet_mm.cli import convert

        argv = [
            published,
            str(tmp_path / 'a.pth'),
            '--from',
            'timm',
            '--to',
            'openmmlab',
            '--arch',
            'attention56_cifar',
        ]
        right = ['width=0.125', 'stem_stride=2', 'learning=naive']
        assert convert.main([*argv, '--options', *right]) == 0
        assert convert.main([*argv, '--overwrite', '--options', *right[:2]]) == 1
        assert "learning='residual' in place of 'naive'" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ('norm', 'endings'), [(dict(type='GN', num_groups=4), {'.pth'}), (None, {'.pth', '.safetensors'})]
    )
    def test_publish_writes_what_can_be_read(self, norm, endings, tmp_path, capsys):
        pytest.importorskip('mmengine')
        from ranet_mm.cli import publish
        from ranet_mm.mm.models.backbone import ResidualAttentionNet

        options = dict(arch='attention56_cifar', width=0.125, norm_cfg=norm)
        state = {f'backbone.{k}': v for k, v in ResidualAttentionNet(**options).state_dict().items()}
        state |= {'head.fc.weight': torch.zeros(10, 128), 'head.fc.bias': torch.zeros(10)}
        given = ', '.join(f'{k}={v!r}' for k, v in options.items())
        text = f"model = dict(backbone=dict(type='ranet_mm.ResidualAttentionNet', {given}))"
        torch.save(dict(state_dict=state, meta=dict(cfg=text)), tmp_path / 'a.pth')
        assert publish.main([str(tmp_path / 'a.pth'), str(tmp_path / 'out/net')]) == 0
        assert {path.suffix for path in (tmp_path / 'out').iterdir()} == endings
        assert ('no layer like norm_layer' in capsys.readouterr().out) == (norm is not None)


def test_a_matrix_of_a_metric_is_written():
    from ranet_mm.cli.test import plain

    found = dict(result=torch.eye(2, dtype=torch.int64), accuracy=np.float32(0.5))
    assert json.loads(json.dumps(found, default=plain)) == dict(result=[[1, 0], [0, 1]], accuracy=0.5)


class TestOpenMMLab:
    def load(self, checkpoint, **options):
        pytest.importorskip('mmengine')
        from ranet_mm.mm.models.backbone import ResidualAttentionNet

        init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
        backbone = ResidualAttentionNet('attention56_cifar', init_cfg=init_cfg, **options)
        backbone.init_weights()
        return backbone.eval()

    def test_the_same_network_is_loaded(self, model, published):
        found = self.load(published, **SAID)(IMAGES)[0]
        assert torch.equal(found, model.forward_features(IMAGES))

    @pytest.mark.parametrize(
        ('options', 'said'),
        [
            (dict(learning='residual'), "learning='residual' in place of 'naive'"),
            (dict(act_cfg=dict(type='SiLU')), "act_layer='silu' in place of 'relu'"),
            (dict(upsample='nearest'), "upsample='nearest' in place of 'bilinear'"),
            (dict(norm_cfg=dict(type='BN', eps=0.001)), r"norm_layer='batchnorm2d\(eps=0.001\)' in place of"),
        ],
    )
    def test_another_network_is_refused(self, published, options, said):
        with pytest.raises(ValueError, match=f'do not fit the backbone: {said}'):
            self.load(published, **SAID | options)

    def test_dilations_may_change(self, published):
        assert self.load(published, **SAID, output_stride=8).output_stride == 8

    def test_shipped_weights_say_their_network_too(self):
        with pytest.raises(ValueError, match=r"learning='naive' in place of 'residual'"):
            self.load(
                'ranet_mm://attention56_cifar.digits', width=0.25, stem_stride=2, stem_pool=True, learning='naive'
            )


@pytest.mark.parametrize('norm', [None, dict(type='BN'), dict(type='SyncBN', requires_grad=True)])
def test_names_of_one_layer_are_one(norm):
    backbone = dict(type='ranet_mm.ResidualAttentionNet', arch='attention92_cifar', norm_cfg=norm)
    asked = description.network(dict(model=dict(backbone=backbone)))
    said = description.network_of_timm('attention92_cifar', dict(norm_layer=nn.BatchNorm2d, act_layer='relu'))
    assert not description.contradictions(asked, said)
    assert len(asked) > 25


@pytest.mark.parametrize('options', ["arch='mine'", "unit='own'", 'p=f(2)', 'strange=1'])
def test_a_checkpoint_of_a_network_that_is_not_known_says_nothing(options):
    text = f"model = dict(backbone=dict(type='ranet_mm.ResidualAttentionNet', {options}))"
    found = description.network_of(dict(meta=dict(cfg=text)))
    assert not found or options == 'strange=1'  # an option of the backbone that changes no field


@pytest.mark.parametrize(
    'wrap',
    [
        torch.compile,
        nn.DataParallel,
        lambda net: nn.DataParallel(torch.compile(net)),
        lambda net: torch.compile(nn.DataParallel(net)),
        lambda net: nn.ModuleDict(dict(model=torch.compile(net))),  # as Lightning names it
    ],
)
def test_wrappers_leave_no_trace_in_keys(wrap, model, tmp_path):
    torch.save(dict(state_dict=wrap(model).state_dict()), tmp_path / 'a.pth')
    assert list(read(tmp_path / 'a.pth')['state_dict']) == list(model.state_dict())


@pytest.mark.parametrize(
    'meta',
    [
        [1],
        dict(ranet_mm='x'),
        dict(ranet_mm=dict(architecture='attention56_cifar')),
        dict(ranet_mm=dict(architecture='attention56_cifar', model_args={}, pretrained_cfg=dict(mean='abc', std=5))),
        dict(dataset_meta=[1]),
    ],
)
def test_a_damaged_description_is_told_in_one_sentence(model, meta, tmp_path):
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'a.pth')
    with pytest.raises(
        ValueError, match=r"^checkpoint '.*a\.pth' cannot be read: what it says of itself under meta is"
    ):
        read(tmp_path / 'a.pth')


@pytest.mark.parametrize('option', ['checkpoint_path', 'pretrained_cfg', 'features_only'])
def test_a_description_has_no_say_in_what_else_timm_does(model, option):
    """Of `timm.create_model`'s own arguments some name a file to read."""
    about = dict(architecture='attention56_cifar', model_args={option: 'a.pth'}, pretrained_cfg={})
    with pytest.raises(ValueError, match=rf"^option '{option}' of the checkpoint is not allowed: it must be one of"):
        description.build(about, model.state_dict())


@pytest.mark.parametrize('width', ["__import__('os').system('touch run')", "'0.125'"])
def test_a_config_of_no_network_is_told_in_one_sentence(model, width, tmp_path):
    backbone = f"dict(type='ranet_mm.ResidualAttentionNet', arch='attention56_cifar', width={width})"
    meta = dict(cfg=f'model = dict(backbone={backbone})')
    with pytest.raises(ValueError, match=r"^the checkpoint's config describes no network that is known: "):
        description.of_checkpoint(dict(state_dict={}, meta=meta), {})
    assert not (tmp_path / 'run').exists()


def test_convert_keeps_a_network_of_one_channel(tmp_path):
    """The way there and back gives the same weights, and timm the same logits."""
    from ranet_mm.cli import convert

    torch.manual_seed(0)
    grey = timm.create_model('attention56_cifar', width=0.125, in_chans=1, num_classes=3).eval()
    about = dict(
        architecture='attention56_cifar', model_args=dict(width=0.125, in_chans=1), pretrained_cfg=dict(num_classes=3)
    )
    safetensors.save_file(grey.state_dict(), 'a.safetensors', metadata=dict(ranet_mm=json.dumps(about)))
    assert convert.main(['a.safetensors', 'b.pth', '--from', 'timm', '--to', 'openmmlab']) == 0
    assert convert.main(['b.pth', 'c.safetensors', '--from', 'openmmlab', '--to', 'timm']) == 0
    overlay = dict(file='c.safetensors')
    back = timm.create_model('attention56_cifar', pretrained=True, pretrained_cfg_overlay=overlay, in_chans=1).eval()
    assert torch.equal(back(IMAGES[:, :1]), grey(IMAGES[:, :1]))


def test_classes_of_an_old_checkpoint_are_names(model):
    """mmcls kept names under CLASSES; a text in their place is no list of its letters."""
    state = model.state_dict()
    old = description.of_checkpoint(dict(state_dict=state, meta=dict(CLASSES=('cat', 'dog'))), state)
    assert old['pretrained_cfg']['label_names'] == ['cat', 'dog']
    wrong = description.of_checkpoint(dict(state_dict=state, meta=dict(dataset_meta=dict(classes='names.txt'))), state)
    assert 'label_names' not in wrong['pretrained_cfg']


@pytest.mark.parametrize('side', [[], [64, 48]])
def test_a_side_that_a_checkpoint_says_is_checked(side, tmp_path):
    state, about = fuzzing.small()
    about['model_args']['img_size'] = side
    torch.save(dict(state_dict=state, meta=dict(ranet_mm=about)), tmp_path / 'a.pth')
    found = read(tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=rf'^img_size={re.escape(str(tuple(side)))} is not allowed'):
        description.build(description.of_checkpoint(found, state), state)


def test_more_classes_than_there_are_values_are_refused_before_the_network_is_built():
    about = dict(architecture='attention56_cifar', model_args={}, pretrained_cfg=dict(num_classes=10**6))
    state = {'stem.conv.weight': torch.zeros(32, 3, 3, 3)}
    found = dict(state_dict=state, meta=dict(ranet_mm=about))
    with pytest.raises(ValueError, match=r'is no network of 864 values'):
        description.of_checkpoint(found, state)
