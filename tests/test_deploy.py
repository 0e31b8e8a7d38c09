"""The deploy form: the logits of the network it is made of, in fewer passes."""

import copy
import itertools

import pytest
import timm
import torch
from torch import nn

import ranet_mm
from ranet_mm.complexity import shapes_alone
from ranet_mm.deployment import FoldedConv, folded
from ranet_mm.layers import UNITS

SMALL = dict(width=0.25, modules=(1, 1, 1))
OPTIONS = [
    dict(unit='type2'),
    dict(attention='channel'),
    dict(attention='spatial', learning='naive'),
    dict(upsample='transposed'),
    dict(mask='local'),
    dict(compat='tengshaofeng'),
    dict(compat='gluoncv'),
    dict(p=2, t=1, r=2),
]


def lively(model: nn.Module) -> nn.Module:
    """With statistics, scales and shifts that a trained network has: some scales negative, one zero."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in ((module.weight, -0.5, 1.5), (module.bias, -1, 1), (module.running_mean, -1, 1)):
                values.data.uniform_(low, high, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data[0] = 0
    return model.eval()


def images(size: int = 32, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def assert_same(model: nn.Module, deployed: nn.Module, x: torch.Tensor) -> None:
    """Without gradients, where a CPU fuses, and with them, where it does not."""
    with torch.no_grad():
        wanted = model.double()(x.double())
        torch.testing.assert_close(deployed(x).double(), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(deployed(x).double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('unit', UNITS)
@pytest.mark.parametrize(('stride', 'chs'), [(1, 64), (2, 128)])
def test_units(unit: str, stride: int, chs: int) -> None:
    model = lively(nn.Sequential(UNITS[unit](64, chs, stride), UNITS[unit](chs)))
    x = torch.randn(2, 64, 8, 8, generator=torch.Generator().manual_seed(1))
    kept = x.clone()
    assert_same(model, folded(model), x)
    assert torch.equal(x, kept)  # the caller's map is not written over


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_options(options: dict) -> None:
    model = lively(timm.create_model('attention56_cifar', **SMALL, **options))
    assert_same(model, ranet_mm.deploy(copy.deepcopy(model)), images(40))


@pytest.mark.parametrize('arch', ['attention56', 'attention92_cifar', 'attentionnext56', 'attentioninception56'])
def test_norms_go(arch: str) -> None:
    with shapes_alone():
        model = timm.create_model(arch)
    kinds = [type(m) for m in model.modules()]
    convs, norms = kinds.count(nn.Conv2d), kinds.count(nn.BatchNorm2d)
    model.switch_to_deploy()
    kinds = [type(m) for m in model.modules()]
    assert kinds.count(FoldedConv) == convs
    assert kinds.count(nn.BatchNorm2d) == isinstance(model.norm, nn.BatchNorm2d)
    assert norms > 50


def test_shipped_weights_on_digits() -> None:
    from sklearn.datasets import load_digits

    model = timm.create_model('attention56_cifar.digits', pretrained=True).eval()
    x = torch.from_numpy(load_digits().images[:8] / 8 - 1).float()[:, None].expand(-1, 3, -1, -1)
    x = nn.functional.interpolate(x, size=32)
    with torch.no_grad():
        wanted = model(x)
        torch.testing.assert_close(ranet_mm.deploy(model)(x), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_training_is_refused() -> None:
    model = ranet_mm.deploy(timm.create_model('attention56_cifar', **SMALL))
    model.eval()
    with pytest.raises(ValueError, match='mode=True is not allowed in deploy form'):
        model.train()
    assert not any(p.requires_grad for n, p in model.named_parameters() if n.startswith(('stem', 'stages')))
    with pytest.raises(ValueError, match='Linear is not allowed: it has no part'):
        ranet_mm.deploy(nn.Linear(1, 1))


def test_switching_twice_changes_nothing() -> None:
    model = ranet_mm.deploy(timm.create_model('attention56_cifar', **SMALL))
    names = [*model.state_dict()]
    assert [*ranet_mm.deploy(model).state_dict()] == names


def test_saved_and_loaded(tmp_path) -> None:
    model = ranet_mm.deploy(lively(timm.create_model('attention56_cifar', **SMALL)))
    other = ranet_mm.deploy(timm.create_model('attention56_cifar', **SMALL))
    x = images()
    with torch.no_grad():
        wanted = model(x)
        assert not torch.equal(other(x), wanted)  # has put its weights in order
        torch.save(model.state_dict(), tmp_path / 'weights.pth')
        other.load_state_dict(torch.load(tmp_path / 'weights.pth'))
        assert torch.equal(other(x), wanted)
        torch.save(model, tmp_path / 'model.pth')
        assert torch.equal(torch.load(tmp_path / 'model.pth', weights_only=False)(x), wanted)
        assert torch.equal(copy.deepcopy(model)(x), wanted)


def test_gradients_of_the_input() -> None:
    model = lively(timm.create_model('attention56_cifar', **SMALL))
    deployed = ranet_mm.deploy(copy.deepcopy(model))
    grads = []
    for network in (model.double(), deployed.double()):
        x = images().double().requires_grad_()
        network(x)[:, 0].sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize('size', [33, 40])
def test_maps(size: int) -> None:
    model = lively(timm.create_model('attention56_cifar', **SMALL))
    deployed = ranet_mm.deploy(copy.deepcopy(model))
    with torch.no_grad():
        for a, b in itertools.zip_longest(*(m.forward_intermediates(images(size))[1] for m in (model, deployed))):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('layers', [dict(norm_layer='groupnorm'), dict(act_layer='silu')], ids=str)
def test_other_layers_stay(layers: dict) -> None:
    model = lively(timm.create_model('attention56_cifar', **{**SMALL, 'width': 1.0}, **layers))
    assert_same(model, ranet_mm.deploy(copy.deepcopy(model)), images())


@pytest.mark.slow('exports')
def test_scripted_traced_and_exported() -> None:
    model = ranet_mm.deploy(lively(timm.create_model('attention56_cifar', **SMALL, scriptable=True)))
    x = images(48)
    with torch.no_grad():
        wanted = model(x)
        sizes = dict(dynamic_shapes=(dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO),))
        example = torch.randn(2, 3, 96, 64)  # as `ranet export` takes it
        for run in (torch.jit.script(model), torch.export.export(model, (example,), **sizes).module()):
            torch.testing.assert_close(run(x), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('out_norm', ['shared', 'own', 'none'])
def test_backbone(out_norm: str) -> None:
    pytest.importorskip('mmengine')
    from ranet_mm.mm.models.backbone import ResidualAttentionNet

    model = lively(ResidualAttentionNet('attention56_cifar', out_indices=(0, 1), out_norm=out_norm, **SMALL))
    deployed = copy.deepcopy(model)
    deployed.switch_to_deploy()
    assert len(deployed.stages) == 2
    with torch.no_grad():
        for a, b in zip(model(images()), deployed(images()), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
