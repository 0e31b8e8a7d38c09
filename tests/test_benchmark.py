"""What a benchmark varies, and the exponents with which time grows."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_tools import refused
from torch.utils.flop_counter import FlopCounterMode

timm = pytest.importorskip('timm')

from ranet_mm.cli import benchmark  # noqa: E402
from ranet_mm.lab import speed  # noqa: E402


@pytest.mark.slow('timings of networks of several sizes')
def test_what_is_varied(capsys):
    options = ['--options', 'width=0.125', '--rounds', '2', '--seconds', '0.001', '--json', 'found.json']
    argv = ['attention56_cifar', '--forms', 'eager', 'deploy', *options]
    assert benchmark.main([*argv, '--profile', '--vary', 'batch_size', '1', '3']) == 0
    found = json.loads(Path('found.json').read_text())
    lines = ['attention56_cifar eager', 'attention56_cifar deploy']
    assert [m['name'] for m in found['models']] == [f'{line} batch_size={n}' for n in (1, 3) for line in lines]
    assert [fit['name'] for fit in found['fits']] == lines
    out = capsys.readouterr().out
    assert 'batch_size: attention56_cifar deploy' in out and 'percent of the time in' in out
    assert all(m['shares']['convolution'] > 0 for m in found['models'])
    eager, deploy = found['models'][2:]  # ratios are to the same batch
    turns = zip(eager['turns'], deploy['turns'], strict=True)
    assert deploy['ratio']['lowest'] == pytest.approx(min(b / a for a, b in turns))
    for fit, line in zip(found['fits'], lines, strict=True):
        times = [[m['images'] / turn for turn in m['turns']] for m in found['models'] if m['line'] == line]
        slopes = np.polyfit(np.log([1, 3]), np.log(times), 1)[0]
        assert sorted(slopes) == pytest.approx([fit['exponent'][k] for k in ('lowest', 'highest')])


@pytest.mark.slow('timings of networks of several sizes')
def test_depth_is_in_the_name_and_width_an_option(capsys):
    options = ['--batch-size', '1', '--rounds', '1', '--seconds', '0.001', '--json', 'found.json']
    narrow = ['--options', 'width=0.0625']
    assert benchmark.main(['attention56_cifar', *options, *narrow, '--vary', 'depth', '56', '92', '--train']) == 0
    found = json.loads(Path('found.json').read_text())
    assert [(m['name'], m['at']) for m in found['models']] == [('attention56_cifar', 56), ('attention92_cifar', 92)]
    assert [fit['name'] for fit in found['fits']] == ['attention*_cifar']
    assert benchmark.main(['attention56_cifar', *options, '--vary', 'width', '0.0625', '0.125']) == 0
    found = json.loads(Path('found.json').read_text())
    widths = [timm.create_model('attention56_cifar', width=width) for width in (0.0625, 0.125)]
    assert [m['params'] for m in found['models']] == [sum(p.numel() for p in m.parameters()) for m in widths]
    for row, model in zip(found['models'], widths, strict=True):
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            model(torch.zeros(1, 3, 32, 32))
        assert 2 * row['macs'] == flops.get_total_flops()


@pytest.mark.parametrize(
    ('layer', 'kind'),
    [
        (torch.nn.Conv2d(32, 64, 3), 'convolution'), (torch.nn.BatchNorm2d(32), 'normalization'),
        (torch.nn.ReLU(), 'activation'), (torch.nn.MaxPool2d(3), 'pooling and interpolation'),
        (torch.nn.Upsample(scale_factor=2, mode='bilinear'), 'pooling and interpolation'),
    ],
)  # fmt: skip
@pytest.mark.parametrize('train', [False, True])
def test_shares_of_a_step_that_does_one_thing(layer, kind, train):
    x = torch.randn(4, 32, 64, 64, requires_grad=train)

    def step():
        y = layer(x)
        if train:
            torch.autograd.backward(y, y.detach())

    found = speed.shares(step, x.device)
    assert sum(found.values()) == pytest.approx(1)
    assert max(found, key=found.get) == kind


def test_exponents_of_times_that_follow_a_power():
    def contender(x, macs):
        times = [2 * x**1.5, 3 * x**0.5]
        return speed.Contender(f'a {x}', 1, int, 4, macs, line='a', at=x, speeds=[4 / t for t in times])

    (fit,) = speed.fits([contender(x, x * x) for x in (1, 2, 8)])
    assert fit['exponent'] == dict(median=1, lowest=pytest.approx(0.5), highest=pytest.approx(1.5))
    assert fit['work_exponent'] == dict(median=0.5, lowest=pytest.approx(0.25), highest=pytest.approx(0.75))
    assert speed.fits([contender(2, 1)]) == []


@pytest.mark.parametrize(
    ('argv', 'told'),
    [
        (['attention56_cifar', '--vary', 'batch_size'], '--vary batch_size is not allowed: it must name what'),
        (['attention56_cifar', '--vary', 'size', '32', '32'], 'then values that differ'),
        (['attention56_cifar', '--vary', 'size', '32', '4.5'], '--vary size 4.5 is not allowed: values must be whole'),
        (['attention56_cifar', '--vary', 'depth', '56', '57'], "model 'attention57_cifar' is not known"),
        (['vgg', '--vary', 'depth', '56', '92'], "--vary depth is not allowed with 'vgg', whose name says no depth"),
        (['a.py:b', '--vary', 'width', '1', '2'], "--vary width is not allowed with 'a.py:b', which takes no options"),
    ],
)  # fmt: skip
def test_what_cannot_be_varied(argv, told, capsys):
    small = ['--options', 'width=0.125', '--batch-size', '1', '--rounds', '1', '--seconds', '0.001']
    assert told in refused(capsys, benchmark, *argv, *small[2 * ('width' in argv) :])
