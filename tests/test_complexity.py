"""Counting by hand, and the command that counts."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from ranet_mm.cli.complexity import main
from ranet_mm.complexity import complexity

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ('layer', 'shape', 'macs', 'activations'),
    [
        (nn.Conv2d(4, 6, 3, 2, 1, bias=False), (1, 4, 8, 8), 6 * 4 * 4 * (4 * 9), 6 * 4 * 4),
        (nn.Conv2d(4, 6, 3, 1, 1, groups=2, bias=False), (1, 4, 8, 8), 6 * 8 * 8 * (2 * 9), 6 * 8 * 8),
        (nn.ConvTranspose2d(4, 6, 4, 2, 1, bias=False), (1, 4, 8, 8), 4 * 8 * 8 * (6 * 16), 6 * 16 * 16),
        (nn.Linear(5, 7), (1, 5), 35, 7),
        (nn.BatchNorm2d(4), (1, 4, 8, 8), 0, 0),
    ],
)
def test_layers_by_hand(layer, shape, macs, activations):
    found = complexity(nn.Sequential(layer).to('meta'), torch.empty(shape, device='meta'))
    assert found == dict(params=sum(p.numel() for p in layer.parameters()), macs=macs, activations=activations)


def test_nothing_is_left_on_the_model():
    model = nn.Sequential(nn.Linear(2, 2))
    complexity(model, torch.zeros(1, 2))
    assert not model[0]._forward_hooks


def test_table(capsys):
    assert main(['attention56_cifar', '--size', '32', '64', '--options', 'p=2']) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ['model', 'size', 'params', 'MACs', 'activations', 'depth']
    assert [row.split()[:4] for row in rows] == [
        ['attention56_cifar', '32', '7,939,306', '801,351,680'],
        ['attention56_cifar', '64', '7,939,306', f'{4 * (801_351_680 - 10240) + 10240:,}'],
    ]
    assert {row.split()[-1] for row in rows} == {'74'}


def test_json_of_a_config_and_of_another_timm_model(capsys):
    pytest.importorskip('mmpretrain')
    pytest.importorskip('timm')
    assert main([str(ROOT / 'configs/ranet/att56_cifar10.py'), 'resnet18', '--json']) == 0
    config, resnet = json.loads(capsys.readouterr().out).values()
    assert (config['params'], config['macs'], config['depth']) == (7_202_794, 694_396_928, 56)
    assert (resnet['params'], resnet['macs']) == (11_689_512, 1_814_073_344)


@pytest.mark.parametrize(
    ('argv', 'words'),
    [
        ([], 'no model is given'),
        (['attention57'], "model 'attention57' is not known: allowed are attention56"),
        (['none.py'], "config file 'none.py' does not exist"),
        (['attention56', '--options', 'p'], "option 'p' is not allowed: it must have the form KEY=VALUE"),
        (['attention56', '--options', 'p=0'], 'p=0 is not allowed'),
    ],
)
def test_bad_input_is_one_sentence(argv, words, capsys):
    pytest.importorskip('timm')
    assert main(argv) == 1
    assert words in capsys.readouterr().err
