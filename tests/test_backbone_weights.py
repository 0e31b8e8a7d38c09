"""How a backbone is initialized, which weights it takes, and the layers that its parameters belong to."""

import pytest
import torch
from torch import nn

pytest.importorskip('mmpretrain')

from mmengine.runner import load_checkpoint
from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from mmpretrain.registry import MODELS
from safetensors.torch import save_file

from ranet_mm.layers import ResidualUnit
from ranet_mm.mm.models.backbone import ResidualAttentionNet
from ranet_mm.weights.fit import adapt_channels, listed

DEEP = [pytest.param(f'attention{depth}', marks=pytest.mark.slow('deep networks')) for depth in (128, 164, 236, 452)]
SMALL = dict(arch='attention56_cifar', width=0.125, stem_pool=True)


def small(**options):
    return ResidualAttentionNet(**{**SMALL, **options})


def pretrained(path, prefix=None, **options):
    model = small(init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix=prefix), **options)
    model.init_weights()
    return model


def build_classifier(**backbone):
    return MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='ranet_mm.ResidualAttentionNet', **{**SMALL, **backbone}),
            head=dict(type='ranet_mm.ResidualAttentionHead', num_classes=7, in_channels=128),
        )
    )


def equal(model, weights):
    state = model.state_dict()
    return state.keys() == weights.keys() and all(torch.equal(state[k], weights[k]) for k in weights)


@pytest.fixture(scope='module')
def weights():
    torch.manual_seed(0)
    return small().state_dict()


@pytest.fixture
def checkpoint(tmp_path, weights):
    """A classifier's checkpoint."""
    head = {'head.fc.weight': torch.zeros(3, 128), 'head.fc.bias': torch.zeros(3)}
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in weights.items()} | head), tmp_path / 'w.pth')
    return tmp_path / 'w.pth'


class TestInitialization:
    def test_kaiming_and_constant(self, weights):
        cfg = [dict(type='Kaiming', layer='Conv2d'), dict(type='Constant', val=0.5, layer=['_BatchNorm', 'GroupNorm'])]
        model = small(init_cfg=cfg)
        model.load_state_dict(weights)
        model.init_weights()
        convolutions = [k for k, v in weights.items() if v.dim() == 4]
        assert not any(torch.equal(model.state_dict()[k], weights[k]) for k in convolutions)
        assert all((m.weight == 0.5).all() for m in model.modules() if isinstance(m, nn.BatchNorm2d))

    def test_units_that_start_as_the_identity_stay_so(self):
        model = small(zero_init_last=True, init_cfg=dict(type='Kaiming', layer='Conv2d'))
        model.init_weights()
        assert not any(m.conv3.weight.any() for m in model.modules() if isinstance(m, ResidualUnit))
        assert model.stem.conv.weight.any()

    def test_it_is_not_repeated(self, weights):
        model = small(zero_init_last=True)
        model.load_state_dict(weights)
        model.init_weights()
        assert equal(model, weights)


class TestPretrained:
    @pytest.mark.parametrize('prefix', ['backbone.', None])
    def test_backbone_of_a_classifier(self, checkpoint, weights, prefix):
        assert equal(pretrained(checkpoint, prefix, zero_init_last=True), weights)

    def test_safetensors_with_plain_keys(self, tmp_path, weights):
        save_file({**weights, 'head.fc.weight': torch.zeros(3, 128)}, tmp_path / 'w.safetensors')
        assert equal(pretrained(tmp_path / 'w.safetensors'), weights)

    def test_shipped_weights(self):
        name = 'ranet_mm://attention56_cifar.cifar10'
        model = ResidualAttentionNet('attention56_cifar', init_cfg=dict(type='Pretrained', checkpoint=name))
        before = model.norm.running_mean.clone()
        model.init_weights()
        assert not torch.equal(model.norm.running_mean, before)

    @pytest.mark.parametrize('in_channels', [1, 2, 5, 6])
    def test_other_channels_adapt_the_first_convolution(self, checkpoint, weights, in_channels):
        model = pretrained(checkpoint, in_channels=in_channels)
        assert torch.equal(model.stem.conv.weight, adapt_channels(weights['stem.conv.weight'], in_channels))
        assert equal(model, {**weights, 'stem.conv.weight': model.stem.conv.weight})

    @pytest.mark.parametrize('in_channels', [1, 2, 3, 4, 6, 7])
    def test_channels_are_adapted_as_in_timm(self, in_channels):
        timm = pytest.importorskip('timm.models')
        weight = torch.randn(4, 3, 3, 3)
        expected = timm.adapt_input_conv(in_channels, weight)
        torch.testing.assert_close(adapt_channels(weight, in_channels), expected)

    def test_grey_copies_of_a_channel_give_the_same_map(self):
        weight, x = torch.randn(4, 1, 3, 3), torch.randn(1, 1, 8, 8)
        three = nn.functional.conv2d(x.expand(-1, 3, -1, -1), adapt_channels(weight, 3))
        torch.testing.assert_close(three, nn.functional.conv2d(x, weight))

    def test_other_classes_keep_the_backbone(self, checkpoint, weights):
        classifier = build_classifier(in_channels=1)
        load_checkpoint(classifier, str(checkpoint))
        assert classifier.head.fc.weight.shape == (7, 128)
        assert torch.equal(classifier.backbone.stem.conv.weight, weights['stem.conv.weight'].sum(1, keepdim=True))
        assert equal(classifier.backbone.stages, {k[7:]: v for k, v in weights.items() if k.startswith('stages.')})

    def test_fewer_stages_take_their_part(self, checkpoint, weights):
        model = pretrained(checkpoint, post_units=0, out_norm='none')
        assert torch.equal(model.stages[2][1].post[0].conv3.weight, weights['stages.2.1.post.0.conv3.weight'])

    def test_own_norms_are_new(self, checkpoint):
        model = pretrained(checkpoint, out_indices=(1, 3), out_norm='own')
        assert (model.norm1.weight == 1).all()

    def test_a_part_of_the_weights_may_be_loaded(self, weights):
        stem = {k: v for k, v in weights.items() if k.startswith('stem.')}
        model = small()
        assert not [k for k in model.load_state_dict(stem, strict=False).missing_keys if k.startswith('stem.')]
        assert torch.equal(model.stem.conv.weight, weights['stem.conv.weight'])


class TestRefusal:
    @pytest.mark.parametrize(
        ('options', 'words'),
        [
            (
                dict(arch='attention92_cifar'),
                'weights of a network with 1, 1, 1 attention modules in its stages do not fit this one, which has '
                '1, 2, 3: set `arch` of the backbone to that of the weights',
            ),
            (dict(p=2), r'weights do not fit the backbone: missing: stages.0.1.pre.1.norm1.weight, .* and \d+ more$'),
            (dict(t=1), r'weights do not fit the backbone: unexpected: stages.0.1.trunk.1.norm1.weight'),
            (dict(width=0.25), r'misshaped: stages.0.0.conv1.weight \(4, 8, 1, 1\) in place of \(8, 8, 1, 1\)'),
            (dict(norm_cfg=dict(type='GN', num_groups=4)), r'unexpected: \S*norm1.running_mean'),
        ],
        ids=str,
    )
    def test_another_network(self, checkpoint, options, words):
        with pytest.raises(ValueError, match=words):
            pretrained(checkpoint, **options)

    @pytest.mark.parametrize('prefix', ['', 'backbone.'])
    def test_another_kind_of_network(self, tmp_path, prefix):
        torch.save({f'{prefix}layer1.0.conv1.weight': torch.zeros(1)}, tmp_path / 'w.pth')
        with pytest.raises(ValueError, match=r'none of them is of a ResidualAttentionNet, the first is .layer1'):
            pretrained(tmp_path / 'w.pth')


class TestLayerDepth:
    @pytest.mark.parametrize('arch', ['attention56', 'attention92_cifar', *DEEP])
    def test_every_parameter_has_a_layer_and_they_grow_along_the_network(self, arch):
        with torch.device('meta'):
            model = small(arch=arch)
        layers = [model.get_layer_depth(f'backbone.{name}', 'backbone.') for name, _ in model.named_parameters()]
        depths, (number, *others) = [depth for depth, _ in layers], {number for _, number in layers}
        cfg = model.arch
        assert depths == sorted(depths)
        assert not others
        assert number == sum(cfg.modules) + len(cfg.modules) + cfg.post_units + 2
        assert {*depths} == {*range(number)}

    def test_blocks_are_layers(self):
        model = small(arch='attention92_cifar', out_indices=(0, 3), out_norm='own')
        names = ['stem.conv.weight', 'stages.0.0.norm1.bias', 'stages.0.1.mask.conv1.weight', 'stages.1.0.conv1.weight']
        names += ['stages.3.2.conv3.weight', 'norm.weight', 'norm0.weight', 'head.fc.weight']
        assert [model.get_layer_depth(name)[0] for name in names] == [0, 1, 2, 3, 12, 13, 13, 13]
        assert model.get_layer_depth('head.fc.weight', 'backbone.') == (13, 14)
        assert model.get_layer_depth('stem.conv.weight', 'backbone.') == (13, 14)

    @pytest.mark.parametrize('arch', ['attention56', DEEP[-1]])
    def test_learning_rates_decay_towards_the_input(self, arch):
        with torch.device('meta'):
            classifier = build_classifier(arch=arch)
        optimizer = dict(type='SGD', lr=1.0, weight_decay=0.1)
        build = LearningRateDecayOptimWrapperConstructor(
            optim_wrapper_cfg=dict(optimizer=optimizer), paramwise_cfg=dict(layer_decay_rate=0.5)
        )
        groups = {group['param_name']: group for group in build(classifier).optimizer.param_groups}
        assert groups.keys() == {name for name, _ in classifier.named_parameters()}
        rates = [groups[name]['lr'] for name, _ in classifier.named_parameters()]
        assert rates == sorted(rates)
        assert rates[-1] == 1
        assert rates[0] == 0.5 ** (sum(map(len, classifier.backbone.stages)) + 1)


@pytest.mark.parametrize(
    ('count', 'said'),
    [(0, ''), (1, '0'), (4, '0, 1, 2, 3'), (5, '0, 1, 2, 3 and 1 more'), (9, '0, 1, 2, 3 and 5 more')],
)
def test_names_are_listed_up_to_four(count, said):
    assert listed([str(number) for number in range(count)]) == said


def test_weights_of_a_timm_model_load_without_its_head():
    timm = pytest.importorskip('timm')
    options = dict(width=0.125, stem_stride=2)
    model = timm.create_model('attention56_cifar', num_classes=10, **options).eval()
    backbone = ResidualAttentionNet('attention56_cifar', **options).eval()
    backbone.load_state_dict(model.state_dict())
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(backbone(images)[-1], model.forward_features(images))
