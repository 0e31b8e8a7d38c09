"""A deeper network that is made of a trained one answers as that one does."""

import pytest
import torch

from ranet_mm import RANetFeatures, resolve_arch
from ranet_mm.cli import convert as cli
from ranet_mm.weights.convert import deepened

SMALL = dict(base='attention56_cifar', width=0.125)
DEEP = (1, 2, 3)


def trained(arch):
    """A network whose every weight and statistic is a number of its own."""
    torch.manual_seed(0)
    net = RANetFeatures(arch)
    for name, value in [*net.named_parameters(), *net.named_buffers()]:
        if 'norm' in name and value.is_floating_point():
            torch.nn.init.uniform_(value, 0.5, 1.5)
    return net


def with_head(net):
    features = net.num_features * (net.arch.last_side() ** 2 if net.arch.flatten else 1)
    return net.state_dict() | {'head.fc.weight': torch.randn(10, features), 'head.fc.bias': torch.randn(10)}


def headless(state):
    return {key: value for key, value in state.items() if not key.startswith('head.')}


@pytest.mark.parametrize('training', [False, True], ids=['moving statistics', 'statistics of the batch'])
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'unit': 'type2'},
        {'attention': 'channel'},
        {'attention': 'spatial', 'learning': 'naive'},
        {'mask': 'local'},
        {'p': 2, 'r': 2},
        {'base': 'attention56_table1'},
        {'compat': 'tengshaofeng'},
    ],
    ids=str,
)
def test_answers_stay(options, training):
    arch = resolve_arch(SMALL | options)
    target = resolve_arch(arch, modules=DEEP)
    net, deep = trained(arch), RANetFeatures(target)
    deep.load_state_dict(headless(deepened(with_head(net), arch, target)))
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    nets = [n.double().train(training) for n in (net, deep)]
    expected, found = (n(images.double()) for n in nets)
    assert (found - expected).abs().max() < 5e-3 * expected.std()


def test_every_new_module_learns():
    arch, target = resolve_arch(SMALL), resolve_arch(SMALL, modules=DEEP)
    deep = RANetFeatures(target)
    deep.load_state_dict(headless(deepened(with_head(trained(arch)), arch, target)))
    deep(torch.randn(4, 3, 32, 32)).square().mean().backward()
    new = [deep.stages[stage][block] for stage, count in enumerate(DEEP) for block in range(2, count + 1)]
    assert len(new) == 3
    for module in new:
        assert module.mask.conv2.weight.grad.abs().max() > 0
        assert all(unit.conv3.weight.grad.abs().max() > 0 for unit in (*module.pre, *module.trunk, *module.post))


@pytest.mark.parametrize(
    ('target', 'words'),
    [
        (dict(modules=DEEP, t=3), '^t of the deeper'),
        (dict(modules=(1, 1, 1)), 'no stage may have fewer than \\(1, 2, 3\\)'),
        (dict(modules=(1, 1), widths=(8, 8), strides=(1, 1), mask_pools=(1, 1)), '^mask_pools, strides, widths'),
    ],
)
def test_other_targets_are_refused(target, words):
    with pytest.raises(ValueError, match=words):
        deepened({}, resolve_arch(SMALL, modules=DEEP), resolve_arch(SMALL, **target))


@pytest.mark.parametrize('options', [dict(base='attentionnext56'), dict(SMALL, always_project=True)], ids=str)
def test_units_that_are_never_the_identity_are_refused(options):
    with pytest.raises(ValueError, match='pre-activation'):
        deepened({}, resolve_arch(options), resolve_arch(options, modules=DEEP))


def test_tool_deepens_and_keeps_the_record(tmp_path, capsys):
    pytest.importorskip('mmengine')
    state = with_head(trained(resolve_arch(SMALL)))
    keys = {key if key.startswith('head.') else f'backbone.{key}': value for key, value in state.items()}
    torch.save(dict(state_dict=keys, record=dict(name='first')), tmp_path / 'a.pth')
    paths = [str(tmp_path / name) for name in ('a.pth', 'b.pth')]
    names = ['--arch', 'attention56_cifar', '--deepen', 'attention92_cifar', '--options', 'width=0.125']
    assert cli.main([*paths, '--from', 'openmmlab', '--to', 'openmmlab', *names]) == 0
    assert 'of attention92_cifar with width=0.125' in capsys.readouterr().out
    written = torch.load(paths[1], weights_only=True)
    assert written['record'] == dict(name='first')
    assert 'backbone.stages.2.3.mask.conv2.weight' in written['state_dict']
    assert torch.equal(written['state_dict']['head.fc.weight'], state['head.fc.weight'])
