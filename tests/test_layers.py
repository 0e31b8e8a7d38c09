"""Layers against the paper's equations and the authors' conventions."""

import pytest
import torch
from torch import nn

from ranet_mm.layers import (
    ATTENTION,
    LEARNING,
    UNITS,
    UPSAMPLE,
    AttentionModule,
    DropPath,
    Hourglass,
    MaxPool,
    ResidualUnit,
    ResidualUnitType2,
    ResNeXtUnit,
    SoftMaskBranch,
    units,
)


def mask_of(chs=8, pools=2, **kwargs):
    return SoftMaskBranch(Hourglass(ResidualUnit, chs, pools), chs, **kwargs)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(('side', 'pooled'), [(112, 56), (7, 3), (3, 1), (2, 1), (1, 1)])
def test_pooling_halves_and_passes_single_pixels(side, pooled):
    x = torch.randn(1, 2, side, side)
    assert MaxPool()(x).shape == (1, 2, pooled, pooled)
    if side == 1:
        assert torch.equal(MaxPool()(x), x)


def test_pooling_of_a_single_row():
    x = torch.randn(1, 1, 1, 8)
    assert torch.equal(MaxPool()(x)[..., 0], x[..., :3].amax(-1))


@pytest.mark.parametrize('way', ['_deterministic', '_exported'])
@pytest.mark.parametrize('sides', [(8, 8), (7, 10), (1, 6), (5, 1), (2, 3)])
def test_pooling_is_the_same_every_way(way, sides):
    """On a GPU that is to be deterministic, and in exported graphs: values, and gradients where no two are equal."""
    x = torch.randperm(2 * 3 * sides[0] * sides[1]).view(2, 3, *sides).double().requires_grad_()
    expected, found = MaxPool()(x), getattr(MaxPool(), way)(x)
    assert torch.equal(found, expected)
    weight = torch.randn_like(expected)
    first, second = (torch.autograd.grad((out * weight).sum(), x)[0] for out in (expected, found))
    assert torch.allclose(first, second)


def test_pooling_windows_start_at_the_corner_without_padding():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert MaxPool()(x).flatten().tolist() == [10, 11, 14, 15]


@pytest.mark.parametrize('size', [(16, 16), (15, 15), (9, 14), (33, 8)])
@pytest.mark.parametrize('pools', [0, 1, 2, 3])
def test_mask_has_the_size_of_its_input_and_is_in_0_1(size, pools):
    x = torch.randn(2, 8, *size)
    mask = mask_of(pools=pools)(x)
    assert mask.shape == x.shape
    assert mask.min() >= 0
    assert mask.max() <= 1


@pytest.mark.parametrize('pools', [0, 1, 2, 3])
@pytest.mark.parametrize('r', [1, 2, 3])
def test_hourglass_has_one_pool_a_level_one_skip_unit_between_and_2r_units_a_level(pools, r):
    hourglass = Hourglass(ResidualUnit, 8, pools, r)
    levels = max(pools, 1)
    assert sum(isinstance(m, MaxPool) for m in hourglass.modules()) == pools
    assert sum(isinstance(m, ResidualUnit) for m in hourglass.modules()) == 2 * r * levels + (levels - 1)


def test_zeroed_last_mask_convolution_gives_one_and_a_half_trunks():
    module = AttentionModule(ResidualUnit, 8, mask_of()).eval()
    nn.init.zeros_(module.mask.conv2.weight)
    module.pre, module.post = nn.Identity(), nn.Identity()
    x = torch.randn(2, 8, 12, 12)
    torch.testing.assert_close(module(x), 1.5 * module.trunk(x))


def test_identity_is_the_raw_input():
    unit = ResidualUnit(8).eval()
    nn.init.zeros_(unit.conv3.weight)
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(unit(x), x)


def test_projection_reads_the_shared_activation_in_type_1_and_its_own_norm_in_type_2():
    x = torch.randn(2, 8, 4, 4)
    for kind in (ResidualUnit, ResidualUnitType2):
        unit = kind(8, 16, stride=2).eval()
        nn.init.zeros_(unit.conv3.weight)
        unit.norm1.weight.data.fill_(3.0)
        activated = 3 * torch.relu(x) / (1 + 1e-5) ** 0.5
        expected = unit.shortcut(activated) if kind is ResidualUnit else unit.shortcut[2](activated / 3)
        torch.testing.assert_close(unit(x), expected)


def test_only_a_change_of_shape_has_a_fourth_convolution():
    count = lambda unit: sum(isinstance(m, nn.Conv2d) for m in unit.modules())  # noqa: E731
    assert count(ResidualUnit(8)) == 3
    assert count(ResidualUnit(8, 16)) == count(ResidualUnit(8, stride=2)) == count(ResidualUnit(8, project=True)) == 4
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in ResidualUnitType2(8, 16).modules())
    assert norms == 4


def test_stride_is_on_the_3x3_convolution():
    unit = ResidualUnit(8, 16, stride=2)
    assert [unit.conv1.stride, unit.conv2.stride, unit.conv3.stride] == [(1, 1), (2, 2), (1, 1)]


def test_resnext_unit_activates_after_the_sum():
    unit = ResNeXtUnit(64).eval()
    nn.init.zeros_(unit.norm3.weight)
    x = torch.randn(1, 64, 4, 4)
    assert torch.equal(unit(x), torch.relu(x))
    with pytest.raises(ValueError, match='96 channels are not allowed'):
        ResNeXtUnit(96)


@pytest.mark.parametrize('kind', UNITS)
def test_zero_init_makes_units_the_identity_and_leaves_them_trainable(kind):
    unit = UNITS[kind](64)
    unit.zero_init()
    x = torch.rand(2, 64, 6, 6)
    torch.testing.assert_close(unit(x), x)
    optimizer = torch.optim.SGD(unit.parameters(), lr=0.1)
    for _ in range(2):  # the first step moves the zero, the second reaches all that lies before it
        optimizer.zero_grad()
        unit(x).square().mean().backward()
        optimizer.step()
    assert all(p.grad.abs().sum() > 0 for p in unit.parameters())


# The report's and the paper's equations -------------------------------------------------------------


def test_mixed_attention_is_the_sigmoid():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(ATTENTION['mixed'](x), 1 / (1 + torch.exp(-x)))


def test_channel_attention_divides_by_the_norm_over_channels():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    x[0, :, 1, 2] = 0
    mask = ATTENTION['channel'](x)
    for n, h, w in ((0, 0, 0), (1, 3, 4)):
        pixel = x[n, :, h, w]
        torch.testing.assert_close(mask[n, :, h, w], pixel / (pixel**2).sum() ** 0.5)
    assert mask[0, :, 1, 2].abs().sum() == 0
    assert mask.min() < 0


def test_spatial_attention_standardizes_each_map():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    x[1, 2] = 7.0
    mask = ATTENTION['spatial'](x)
    channel = x[0, 1]
    deviation = ((channel - channel.mean()) ** 2).mean() ** 0.5
    expected = 1 / (1 + torch.exp(-(channel - channel.mean()) / deviation))
    torch.testing.assert_close(mask[0, 1], expected, rtol=1e-5, atol=0)
    assert torch.equal(mask[1, 2], torch.full_like(x[1, 2], 0.5))


@pytest.mark.parametrize('name', ATTENTION)
def test_attention_has_finite_gradients_on_zero_and_single_pixel_maps(name):
    for x in (torch.zeros(1, 4, 3, 3), torch.randn(1, 4, 1, 1)):
        x.requires_grad_()
        ATTENTION[name](x).sum().backward()
        assert x.grad.isfinite().all()


@pytest.mark.parametrize(('name', 'factor'), [('naive', lambda m: m), ('residual', lambda m: 1 + m)])
def test_mask_filters_the_gradient_of_the_trunk(name, factor):
    """Report Eq. 1-2: with the mask held fixed, dH/dphi = M dT/dphi, or (1 + M) dT/dphi."""
    phi = torch.randn(5, requires_grad=True, dtype=torch.float64)
    mask = torch.rand(5, dtype=torch.float64)
    trunk = phi.sin() * phi
    slope = torch.autograd.grad(trunk.sum(), phi, retain_graph=True)[0]
    merged = LEARNING[name](mask, trunk)
    torch.testing.assert_close(merged, factor(mask) * trunk)
    torch.testing.assert_close(torch.autograd.grad(merged.sum(), phi)[0], factor(mask) * slope)


def test_stacked_naive_modules_shrink_the_response_and_residual_ones_do_not():
    x = torch.randn(1, 8, 8, 8)
    norms = {}
    for name, merge in LEARNING.items():
        out = x
        for _ in range(6):
            module = AttentionModule(ResidualUnit, 8, mask_of(), merge=merge).eval()
            module.pre = module.trunk = module.post = nn.Identity()
            out = module(out)
        norms[name] = out.norm() / x.norm()
    assert norms['naive'] < 0.2
    assert norms['residual'] > 1


# Options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', UPSAMPLE)
@pytest.mark.parametrize('size', [(8, 8), (9, 7), (2, 3), (1, 1)])
def test_upsampling_reaches_the_recorded_size(name, size):
    like = torch.randn(1, 4, *size)
    small = MaxPool()(like)
    assert UPSAMPLE[name](4)(small, like).shape == like.shape


def test_bilinear_upsampling_keeps_the_corners():
    small, like = torch.randn(1, 2, 3, 3), torch.empty(1, 2, 7, 7)
    large = UPSAMPLE['bilinear'](2)(small, like)
    assert torch.equal(large[..., ::6, ::6], small[..., ::2, ::2])


def test_options_reach_every_level_of_the_mask():
    hourglass = Hourglass(lambda chs: ResidualUnit(chs, act_layer=nn.SiLU), 8, 3, 1, UPSAMPLE['transposed'])
    assert not any(isinstance(m, nn.ReLU) for m in hourglass.modules())
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in hourglass.modules()) == 3


def test_local_mask_is_three_units_without_sampling():
    body = units(ResidualUnit, 8, 3)
    assert SoftMaskBranch(body, 8)(torch.randn(1, 8, 5, 5)).shape == (1, 8, 5, 5)


def test_drop_path_keeps_the_expectation_and_is_off_in_evaluation():
    drop, x = DropPath(0.5), torch.ones(4000, 1, 1, 1)
    kept = drop(x)
    assert set(kept.unique().tolist()) == {0, 2}
    assert abs(kept.mean() - 1) < 0.1
    assert torch.equal(drop.eval()(x), x)
