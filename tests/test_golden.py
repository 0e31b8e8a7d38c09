"""Counts of every variant, against the authors' files, the literature and the committed facts."""

import json
from pathlib import Path

import pytest
import torch

from ranet_mm import ARCHS, RANetFeatures, resolve_arch
from ranet_mm.complexity import facts

GOLDEN = json.loads((Path(__file__).parent / 'golden' / 'models.json').read_text())

# Counted in the authors' deploy files, and in closed form for the report's grid.
PUBLISHED = {
    'attention56': (31_810_728, 6_270_836_736),
    'attention92': (52_466_344, 10_533_789_696),
    'attentionnext56': (31_318_824, 6_419_106_816),
    'attentionnext92': (52_102_952, 10_704_337_920),
    'attention56_cifar': (7_202_794, 694_396_928),
    'attention92_cifar': (12_170_730, 1_089_185_792),
    'attention56_table1': (3_775_466, 455_639_040),
    'attention92_table1': (8_743_402, 850_427_904),
}
PUBLISHED_320 = {
    'attention56': 12_795_494_400,
    'attention92': 21_495_398_400,
    'attentionnext56': 13_098_086_400,
    'attentionnext92': 21_843_456_000,
}
# (p, t, r): parameters and multiply-adds of the report's Table 2 at mask pools 2, 1, 0 and 3, 2, 1.
GRID = {
    ('attention56_cifar', 1, 2, 1): (7_202_794, 694_396_928, 7_467_370, 676_014_080),
    ('attention56_cifar', 2, 2, 1): (7_939_306, 801_351_680, 8_203_882, 782_968_832),
    ('attention56_cifar', 1, 3, 1): (7_571_050, 747_874_304, 7_835_626, 729_491_456),
    ('attention56_cifar', 1, 2, 2): (7_974_890, 750_102_528, 8_415_850, 707_766_272),
    ('attention92_cifar', 1, 2, 1): (12_170_730, 1_089_185_792, 12_646_506, 1_024_010_240),
    ('attention92_cifar', 2, 2, 1): (14_168_298, 1_303_095_296, 14_644_074, 1_237_919_744),
    ('attention92_cifar', 1, 3, 1): (13_169_514, 1_196_140_544, 13_645_290, 1_130_964_992),
    ('attention92_cifar', 1, 2, 2): (14_203_882, 1_225_107_456, 14_996_842, 1_084_729_344),
}


@pytest.mark.slow('whole networks of the largest sizes')
@pytest.mark.parametrize('name', ARCHS)
def test_counts_are_the_committed_ones(name):
    assert facts(name) == GOLDEN[name]


def test_every_golden_variant_exists():
    assert set(GOLDEN) == set(ARCHS)


@pytest.mark.parametrize(('name', 'counts'), PUBLISHED.items())
def test_counts_are_the_published_ones(name, counts):
    assert (GOLDEN[name]['params'], GOLDEN[name]['macs']) == counts


@pytest.mark.parametrize(('name', 'macs'), PUBLISHED_320.items())
def test_multiply_adds_at_320_pixels(name, macs):
    assert facts(name, size=320)['macs'] == macs


@pytest.mark.parametrize('variant', GRID)
def test_report_grid(variant):
    name, p, t, r = variant
    counted = []
    for pools in ((2, 1, 0), (3, 2, 1)):
        found = facts(resolve_arch(name, p=p, t=t, r=r, mask_pools=pools))
        counted += [found['params'], found['macs']]
    assert tuple(counted) == GRID[variant]


@pytest.mark.parametrize(('unit', 'params'), [('type1', 19_920_362), ('type2', 19_953_194)])
def test_projection_in_every_unit(unit, params):
    found = facts(resolve_arch('attention92_cifar', unit=unit, always_project=True))
    assert (found['params'], found['macs']) == (params, 1_758_177_280)


def test_inception_is_within_two_percent_of_the_paper():
    found = GOLDEN['attentioninception56']
    assert abs(found['params'] / 31.9e6 - 1) < 0.02
    assert abs(found['macs'] / 6.3e9 - 1) < 0.02


@pytest.mark.parametrize('name', [n for n in ARCHS if 'table1' not in n])
def test_the_name_is_the_depth(name):
    digits = ''.join(c for c in name.split('_')[0] if c.isdigit())
    assert resolve_arch(name).depth == int(digits)


@pytest.mark.parametrize(
    ('arch', 'depth'),
    [
        (dict(base='attention56', p=2), 74),
        (dict(base='attention92', p=2), 128),
        (dict(base='attention56', t=3), 65),
        (dict(base='attention92', t=3), 110),
        (dict(base='attention92', r=2), 92),
        ('attention56_table1', 47),
        ('attention92_table1', 83),
    ],
)
def test_depth_of_other_layouts(arch, depth):
    assert resolve_arch(arch).depth == depth


def test_depth_is_the_number_of_weighted_layers_along_the_trunk():
    net = RANetFeatures('attention56', width=0.125)
    convs = [n for n, m in net.named_modules() if isinstance(m, torch.nn.Conv2d)]
    assert len([n for n in convs if '.mask.' not in n and 'shortcut' not in n]) + 1 == 56


@pytest.mark.parametrize('size', [33, 224, 225, 320])
@pytest.mark.parametrize('name', ['attention56', 'attention56_cifar', 'attentionnext56'])
def test_maps_have_the_documented_strides(name, size):
    with torch.device('meta'):
        net = RANetFeatures(name).eval()
        maps = net.forward_stages(torch.empty(1, 3, size, size))
    for info, out in zip(net.feature_info[1:], maps, strict=True):
        assert out.shape[1] == info['num_chs']
        assert size // info['reduction'] <= out.shape[2] <= -(-size // info['reduction'])
