"""The whole network: sizes, options and refusals."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from ranet_mm import ARCHS, ArchCfg, RANetFeatures, resolve_arch
from ranet_mm.layers import ATTENTION, LEARNING, UNITS, UPSAMPLE, DropPath, ResidualUnit

TINY = dict(base='attention56_cifar', width=0.125)
INCEPTION = ('inception_a', 'inception_b', 'inception_c', 'inception_c')


def tiny(**options):
    torch.manual_seed(0)
    return RANetFeatures({**TINY, **options})


@pytest.mark.parametrize('size', [(32, 32), (33, 47), (40, 32)])
@pytest.mark.parametrize('base', ['attention56', 'attention56_cifar'])
def test_any_size_from_32_up(base, size):
    net = tiny(base=base).eval()
    out = net(torch.randn(1, 3, *size))
    stride = net.feature_info[-1]['reduction']
    assert out.shape[:2] == (1, net.num_features)
    for side, given in zip(out.shape[2:], size, strict=True):
        assert given // stride <= side <= -(-given // stride)


@pytest.mark.parametrize(
    'options',
    [
        *(dict(attention=a, learning=b) for a in ATTENTION for b in LEARNING),
        *(dict(upsample=u) for u in UPSAMPLE),
        *(dict(unit=u, width=0.5) for u in UNITS),
        dict(unit=INCEPTION),
        dict(mask='local'),
        dict(mask_pools=(3, 2, 1)),
        dict(p=2, t=1, r=2),
        dict(always_project=True, unit='type2'),
        dict(stem_pool=True),
        dict(post_units=0),
    ],
    ids=str,
)
def test_every_parameter_gets_a_gradient(options):
    net = tiny(**options)
    net(torch.randn(2, 3, 32, 32)).square().mean().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(('output_stride', 'side'), [(32, 2), (16, 4), (8, 8)])
def test_output_stride_dilates(output_stride, side):
    net = RANetFeatures('attention56', width=0.125, output_stride=output_stride).eval()
    assert net(torch.randn(1, 3, 64, 64)).shape[-1] == side
    assert [f['reduction'] for f in net.feature_info][-1] == output_stride
    full = RANetFeatures('attention56', width=0.125)
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in full.state_dict().items()}


@pytest.mark.parametrize('size', [64, 72])
@pytest.mark.parametrize('unit', ['type1', 'type2', 'resnext', INCEPTION])
def test_dilation_computes_the_map_between_the_strided_positions(unit, size):
    """A post stage whose stride became a dilation gives the strided map at every second position."""
    arch = dict(base='attention56', unit=unit, width=0.25)
    strided = tiny(**arch).double().eval()
    x = torch.randn(1, 3, size, size, dtype=torch.float64)
    for options in (dict(output_stride=16), dict(dilations=(1, 1, 1, 2), post_stride=1)):
        dilated = RANetFeatures(arch, **options).double().eval()
        dilated.load_state_dict(strided.state_dict())
        torch.testing.assert_close(dilated(x)[..., ::2, ::2], strided(x))


@pytest.mark.parametrize(
    ('strides', 'post_stride', 'dilations', 'sides'),
    [
        ((1, 2, 2), 2, None, [16, 8, 4, 2]),
        ((1, 2, 1), 1, (1, 1, 2, 4), [16, 8, 8, 8]),
        ((1, 2, 2), 1, (1, 1, 1, 2), [16, 8, 4, 4]),
        ((1, 1, 1), 1, (1, 2, 4, 8), [16, 16, 16, 16]),
        ((1, 2, 2), 2, (3, 1, 2, 1), [16, 8, 4, 2]),
    ],
)
def test_dilations_of_each_stage(strides, post_stride, dilations, sides):
    net = tiny(base='attention56', strides=strides, post_stride=post_stride)
    net = RANetFeatures(net.arch, dilations=dilations).eval()
    assert [m.shape[-1] for m in net.forward_stages(torch.randn(1, 3, 64, 64))] == sides
    found = [
        {m.dilation[0] for m in stage[1:].modules() if getattr(m, 'kernel_size', 1) == (3, 3)} for stage in net.stages
    ]
    assert found == [{d} for d in dilations or (1, 1, 1, 1)]
    assert [stage[0].conv2.dilation[0] for stage in net.stages] == [1, *(dilations or (1, 1, 1, 1))[:-1]]


@pytest.mark.parametrize('dilations', [(1, 1, 2), (1, 1, 2, 0), (1, 1, 2, 1.5)])
def test_bad_dilations_are_named(dilations):
    with pytest.raises(ValueError, match=r'dilations=.* is not allowed: it must be 4 whole numbers, 1 or more'):
        RANetFeatures(TINY, dilations=dilations)


def test_dilations_stand_alone():
    with pytest.raises(ValueError, match=r'output_stride=16 is not allowed besides dilations='):
        RANetFeatures(TINY, output_stride=16, dilations=(1, 1, 1, 2))


def test_norm_and_act_layers_reach_everything():
    net = RANetFeatures(TINY, norm_layer=lambda chs: nn.GroupNorm(1, chs), act_layer=nn.SiLU)
    assert not any(isinstance(m, (nn.BatchNorm2d, nn.ReLU)) for m in net.modules())


def test_stochastic_depth_grows_along_the_trunk_and_spares_masks():
    net = RANetFeatures(TINY, drop_path_rate=0.3)
    rates = [(n, m.rate) for n, m in net.named_modules() if isinstance(m, DropPath)]
    assert not any('.mask.' in n for n, _ in rates)
    assert [r for _, r in rates] == sorted(r for _, r in rates)
    assert rates[-1][1] == pytest.approx(0.3)


def test_zero_init_last_reaches_every_unit():
    net = RANetFeatures(TINY, zero_init_last=True)
    assert all(m.conv3.weight.abs().sum() == 0 for m in net.modules() if isinstance(m, ResidualUnit))


def test_checkpointing_changes_neither_gradients_nor_statistics():
    nets = [tiny().double(), tiny().double()]
    nets[1].grad_checkpointing = True
    for net in nets:
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            net(torch.randn(2, 3, 32, 32, generator=generator).double()).square().mean().backward()
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    buffers = [dict(net.named_buffers()) for net in nets]
    assert all(torch.equal(value, buffers[1][name]) for name, value in buffers[0].items())
    assert buffers[1]['stages.0.0.norm1.num_batches_tracked'] == 3
    assert {m.momentum for m in nets[1].modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}


def test_in_chans():
    assert RANetFeatures(TINY, in_chans=5)(torch.randn(2, 5, 32, 32)).shape[0] == 2


def test_resolve_arch_accepts_names_mappings_and_configurations():
    by_name = resolve_arch('attention92', p=2)
    assert by_name == resolve_arch(dict(base='attention92', p=2)) == resolve_arch(dataclasses.replace(by_name))
    assert resolve_arch(dict(modules=[1, 2, 3], p=2)) == by_name
    assert resolve_arch({}) == ArchCfg() == ARCHS['attention56']


@pytest.mark.parametrize(
    ('options', 'error', 'words'),
    [
        (dict(base='attention57'), ValueError, r"arch='attention57' is not known: allowed are attention56"),
        (dict(p=0), ValueError, 'p=0 is not allowed: it must be a whole number, 1 or more'),
        (dict(t=-1), ValueError, 't=-1 is not allowed'),
        (dict(modules=5, strides=()), ValueError, 'modules=5 is not allowed: it must be a sequence'),
        (dict(r=1.5), ValueError, 'r=1.5 is not allowed'),
        (dict(q=1), TypeError, "'q' is not an option of the network: allowed are modules"),
        (dict(width=0), ValueError, 'width=0 is not allowed'),
        (dict(widths=(8, 16)), ValueError, r'widths=\(8, 16\) is not allowed: it must have 3 entries'),
        (dict(unit='type3'), ValueError, "unit='type3' is not allowed: it must be one of type1, type2"),
        (dict(unit=('type1', 'type2')), ValueError, 'must have 4 entries'),
        (dict(attention='soft'), ValueError, 'must be one of mixed, channel, spatial'),
        (dict(learning='none'), ValueError, 'must be one of residual, naive'),
        (dict(upsample='bicubic'), ValueError, 'must be one of bilinear, nearest, transposed'),
        (dict(mask='global'), ValueError, 'must be one of encoder_decoder, local'),
        (
            dict(mask='local', mask_pools=(2, 1, 0)),
            ValueError,
            r"mask_pools=\(2, 1, 0\) is not allowed with mask='local'",
        ),
    ],
)
def test_bad_options_are_named(options, error, words):
    with pytest.raises(error, match=words):
        RANetFeatures({**TINY, **options})


def test_bad_arguments_are_named():
    with pytest.raises(TypeError, match='arch=56 is not allowed'):
        RANetFeatures(56)
    with pytest.raises(ValueError, match='output_stride=4 is not allowed'):
        RANetFeatures(TINY, output_stride=4)


@pytest.mark.parametrize(
    ('arch', 'shape', 'words'),
    [
        (TINY, (1, 3, 31, 64), 'input of 31x64 pixels is not allowed: each side must have 32 pixels or more'),
        (TINY, (1, 4, 32, 32), r'input of shape \(1, 4, 32, 32\) is not allowed: \(N, 3, H, W\) is expected'),
        (TINY, (3, 32, 32), r'input of shape \(3, 32, 32\) is not allowed'),
    ],
)
def test_bad_inputs_are_named(arch, shape, words):
    with pytest.raises(ValueError, match=words):
        RANetFeatures(arch)(torch.randn(shape))


@pytest.mark.slow('training steps of the deepest network')
def test_the_deepest_network_trains_in_both_precisions():
    """A few steps of depth 452 with narrow channels on one batch: the loss stays finite and falls."""
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        x, y = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 0, 1])
        features = RANetFeatures(dict(base='attention452_cifar', width=0.0625), zero_init_last=True)
        net = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features.num_features, 2))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        losses = []
        for _ in range(8):
            with torch.autocast('cpu', dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                loss = nn.functional.cross_entropy(net(x).float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert all(map(math.isfinite, losses))
        assert losses[-1] < 0.8 * losses[0]
