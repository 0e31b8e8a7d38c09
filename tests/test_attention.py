"""What attention modules compute, read from any form of the network, which stays as it was."""

import copy
from itertools import pairwise

import caffe_graph
import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

import ranet_mm
from ranet_mm import RANetFeatures, attention_maps
from ranet_mm.attention import mask_statistics
from ranet_mm.compiling import compile_units
from ranet_mm.weights.convert import from_caffe

NAMES = ['stages.0.1', 'stages.1.1', 'stages.2.1']
SMALL = dict(width=0.125, modules=(1, 1, 1))


def small(**options):
    torch.manual_seed(0)
    model = timm.create_model('attention56_cifar', num_classes=3, **{**SMALL, **options})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def images(count=2, size=32):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def assert_equal(found, wanted, **tolerance):
    assert [*found] == [*wanted]
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], **tolerance)


# Numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('net', ['attention56', 'attentionnext56'])
def test_maps_are_the_authors(net):
    """Against an evaluation of the authors' layers, in float64."""
    blobs, image = caffe_graph.random_blobs(net, 0.25), images(1, 70).double()
    state = from_caffe(blobs, dict(base=net, width=0.25))
    with torch.device('meta'):
        model = RANetFeatures(net, width=0.25)
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith('head.')}, assign=True)
    theirs = caffe_graph.outputs(net, blobs, image)
    layers = caffe_graph.layers(net)
    products = [layer for layer in layers if layer.kind == 'prod']
    for layer, maps in zip(products, attention_maps(model, image).values(), strict=True):
        trunk, mask = layer.bottoms
        fusion = next(other.name for other in layers if layer.name in other.bottoms)
        torch.testing.assert_close(tuple(maps), (theirs[mask], theirs[trunk], theirs[fusion]))


@pytest.mark.parametrize(
    ('attention', 'unit', 'compat'),
    [
        ('mixed', 'type1', None),
        ('channel', 'type2', None),
        ('spatial', 'resnext', None),
        ('mixed', 'inception_a', 'tengshaofeng'),
        ('spatial', 'type1', 'gluoncv'),
    ],
)
def test_the_maps_are_what_the_next_units_read(attention, unit, compat):
    """The product leads to the output of its module, and by the paper's equations from mask and trunk."""
    learning = 'naive' if attention == 'channel' else 'residual'
    model = small(attention=attention, unit=unit, learning=learning, compat=compat, width=0.5)
    x, stage = images(), model.stages[0]
    found = attention_maps(model, x)['stages.0.1']
    torch.testing.assert_close(found.product, found.mask * found.trunk + (learning == 'residual') * found.trunk)
    with torch.no_grad():
        torch.testing.assert_close(stage[1].post(found.product.clone()), stage[:2](model.stem(x)))
    low, squares = float(found.mask.min()), found.mask.square().sum(1)
    if attention == 'channel':
        torch.testing.assert_close(squares, torch.ones_like(squares))
    else:
        assert low >= 0
        assert found.mask.max() <= 1


def test_names_and_shapes_from_fine_to_coarse():
    found = attention_maps(small(modules=(1, 2, 3)), images(size=37))
    assert [*found] == ['stages.0.1', 'stages.1.1', 'stages.1.2', 'stages.2.1', 'stages.2.2', 'stages.2.3']
    keys = small(modules=(1, 2, 3)).state_dict()
    assert all(f'{name}.mask.conv1.weight' in keys for name in found)
    shapes = [tuple(maps.mask.shape) for maps in found.values()]
    assert shapes == [(2, 16, 37, 37), *[(2, 32, 19, 19)] * 2, *[(2, 64, 10, 10)] * 3]
    assert all(a[-1] >= b[-1] for a, b in pairwise(shapes))


@pytest.mark.parametrize('size', [32, 40])  # with the most positions, and with the most channels
def test_reductions(size):
    decomposition = pytest.importorskip('sklearn.decomposition', reason='scikit-learn is not installed')
    model, x = small(width=0.25), images(3, size)
    whole = attention_maps(model, x)
    reduced = {name: attention_maps(model, x, name) for name in ('mean', 'max', 'active', 'pca')}
    for name, maps in whole.items():
        added = np.abs(maps.mask.numpy() * maps.trunk.numpy()).mean((2, 3)).argmax(1)
        for place, values in enumerate(maps):
            array, found = values.numpy(), {key: maps[name][place].numpy() for key, maps in reduced.items()}
            np.testing.assert_allclose(found['mean'][:, 0], array.mean(1), rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(found['max'][:, 0], array.max(1))
            np.testing.assert_array_equal(found['active'][:, 0], [a[c] for a, c in zip(array, added, strict=True)])
            for one, component in zip(array.astype(np.float64), found['pca'], strict=True):
                points = one.reshape(len(one), -1).T
                wanted = decomposition.PCA(1, svd_solver='full').fit_transform(points)[:, 0]
                wanted *= np.sign(np.dot(wanted, points.mean(1) - points.mean()))
                np.testing.assert_allclose(component.ravel(), wanted, atol=2e-3 * np.abs(wanted).max())


def test_a_map_that_is_the_same_everywhere_has_no_component():
    model = small()
    for stage in model.stages[:3]:
        nn.init.zeros_(stage[1].mask.conv2.weight)
    for maps in attention_maps(model, images(), 'pca').values():
        assert torch.equal(maps.mask, torch.zeros_like(maps.mask))


def test_sizes():
    model, x = small(), images(size=40)
    own = attention_maps(model, x, 'mean')
    for size, sides in (('input', (40, 40)), ((7, 90), (7, 90)), ([64, 64], (64, 64))):
        for name, maps in attention_maps(model, x, 'mean', size).items():
            wanted = F.interpolate(own[name].mask, sides, mode='bilinear', align_corners=False)
            torch.testing.assert_close(maps.mask, wanted)


def test_each_image_by_itself():
    model, x = small(), images(3)
    for reduce in (None, 'active', 'pca'):
        together = attention_maps(model, x, reduce)
        for number in range(3):
            alone = attention_maps(model, x[number : number + 1], reduce)
            wanted = {k: type(m)(*(v[number : number + 1] for v in m)) for k, m in together.items()}
            assert_equal(alone, wanted, rtol=1e-3, atol=1e-3)


def test_statistics():
    stats = pytest.importorskip('scipy.stats', reason='SciPy is not installed')
    mask = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) ** 3
    counts, _ = np.histogram(mask.numpy(), 20, (0, 1))
    found = mask_statistics(mask)
    assert found['entropy'] == pytest.approx(stats.entropy(counts, base=2), rel=1e-5)
    assert found['mean'] == pytest.approx(mask.numpy().mean(), rel=1e-5)
    assert found['saturation'] == pytest.approx(np.mean((mask.numpy() < 0.05) | (mask.numpy() > 0.95)), rel=1e-5)
    signed = 2 * mask - 1  # as channel attention gives them
    assert mask_statistics(signed) == pytest.approx(found, abs=0.02)
    assert mask_statistics(torch.full((1, 1, 4, 4), 0.5)) == dict(mean=0.5, saturation=0, entropy=0)


# Forms of the network -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'options',
    [dict(), dict(attention='spatial', learning='naive'), dict(compat='gluoncv'), dict(unit='resnext', width=0.5)],
    ids=str,
)
@pytest.mark.parametrize('grad', [True, False])
def test_deploy_form(options, grad):
    model, x = small(**options), images(size=40)
    wanted, deployed = attention_maps(model, x), ranet_mm.deploy(copy.deepcopy(model))
    with torch.set_grad_enabled(grad):
        logits = deployed(x)
        assert_equal(attention_maps(deployed, x), wanted, rtol=1e-3, atol=1e-4)
        assert torch.equal(deployed(x), logits)


def test_deploy_form_that_was_saved_whole(tmp_path):
    model, x = small(learning='naive'), images()
    wanted = attention_maps(model, x)
    torch.save(ranet_mm.deploy(model), tmp_path / 'model.pth')
    loaded = torch.load(tmp_path / 'model.pth', weights_only=False)
    assert_equal(attention_maps(loaded, x), wanted, rtol=1e-3, atol=1e-4)


COMPILED = [pytest.param(how, marks=pytest.mark.slow('a compiler')) for how in ('compile', 'in place', 'inside')]


@pytest.mark.parametrize('wrap', [*COMPILED, 'units', 'parallel', 'average', 'sequential'])
def test_wrapped_and_compiled(wrap):
    model, x, seen = small(), images(), []
    wanted = attention_maps(model, x)

    def backend(graph, inputs):
        seen.append(graph)
        return graph.forward

    if wrap == 'compile':
        outer = torch.compile(model, backend=backend)
    elif wrap == 'in place':
        model.compile(backend=backend)
        outer = model
    elif wrap == 'units':
        outer = nn.Module()
        outer.backbone = model
        compile_units(outer, 2, dict(backend=backend))
        outer = model
    elif wrap == 'inside':
        outer = nn.Sequential(torch.compile(model, backend=backend))
    elif wrap == 'parallel':
        outer = nn.DataParallel(model)
    elif wrap == 'average':
        outer = torch.optim.swa_utils.AveragedModel(model)
    else:
        outer = nn.Sequential(nn.Identity(), model)
    assert_equal(attention_maps(outer, x), wanted)
    assert not seen
    with torch.no_grad():
        logits = outer(x)
        count = len(seen)
        assert bool(count) == (wrap in ('compile', 'in place', 'inside'))
        assert_equal(attention_maps(outer, x), wanted)
        assert torch.equal(outer(x), logits)
    assert len(seen) == count  # nothing was compiled anew


def test_autocast_and_half_precision():
    model, x = small(), images()
    wanted = attention_maps(model, x)
    for reduce in (None, 'pca'):
        with torch.autocast('cpu', torch.bfloat16):
            found = attention_maps(model, x, reduce, 'input')
        assert {v.dtype for maps in found.values() for v in maps} == {torch.float32}
    with torch.autocast('cpu', torch.bfloat16):
        found = attention_maps(model, x)
    for name, maps in found.items():
        for mine, theirs in zip(maps, wanted[name], strict=True):
            assert float((mine - theirs).norm() / theirs.norm()) < 0.05
    assert not torch.equal(found['stages.0.1'].mask, wanted['stages.0.1'].mask)  # it was computed so
    half = attention_maps(copy.deepcopy(model).bfloat16(), x.bfloat16())
    assert half['stages.0.1'].mask.dtype == torch.float32
    assert attention_maps(model.double(), x.double())['stages.0.1'].mask.dtype == torch.float64


def test_timm_feature_extractors():
    whole = small()
    wanted = attention_maps(whole, images())
    getter = timm.create_model('attention56_cifar', features_only=True, feature_cls='getter', **SMALL)
    getter.model.load_state_dict(whole.state_dict(), strict=False)
    assert_equal(attention_maps(getter, images()), wanted)
    lists = timm.create_model('attention56_cifar', features_only=True, **SMALL)
    lists.load_state_dict({k.replace('stages.', 'stages_'): v for k, v in whole.state_dict().items()}, strict=False)
    found = attention_maps(lists, images())
    assert [*found] == ['stages_0.1', 'stages_1.1', 'stages_2.1']


def test_openmmlab_models():
    pytest.importorskip('mmpretrain', reason='mmpretrain is not installed')
    from mmpretrain.registry import MODELS

    cfg = dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='ranet_mm.ResidualAttentionNet', arch='attention56_cifar', **SMALL),
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=128),
    )
    classifier, model = MODELS.build(cfg), small()
    classifier.backbone.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith('head.')})
    wanted = attention_maps(model, images())
    assert_equal(attention_maps(classifier.train(), images()), wanted)
    assert_equal(attention_maps(classifier.backbone, images()), wanted)
    assert_equal(attention_maps(ranet_mm.deploy(classifier), images()), wanted, rtol=1e-3, atol=1e-4)


# Nothing is left ----------------------------------------------------------------------------------------


def traces(model):
    """All of a model that could have been changed."""
    hooks = [[*m._forward_hooks, *m._forward_pre_hooks, *m._backward_hooks] for m in model.modules()]
    modes = [m.training for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    return hooks, modes, [p.grad for p in model.parameters()], [p.requires_grad for p in model.parameters()], state


def assert_untouched(model, before):
    after = traces(model)
    assert after[:-1] == before[:-1]
    assert all(torch.equal(after[-1][k], v) for k, v in before[-1].items())


def test_a_model_in_training_stays_as_it_was():
    model, x = small(drop_path_rate=0.5).train(), images()
    model.stages[1].eval()  # held, as by norm_eval
    model.set_grad_checkpointing()
    before, drawn, grad = traces(model), torch.get_rng_state(), torch.is_grad_enabled()
    found = attention_maps(model, x, 'pca', 'input')
    assert not any(v.requires_grad for maps in found.values() for v in maps)
    assert_untouched(model, before)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.is_grad_enabled() == grad
    assert_equal(attention_maps(model, x), attention_maps(small(drop_path_rate=0.5), x))
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((images(size=16),), 'input of 16x16 pixels is not allowed'),
        ((images()[:, :1],), r'input of shape \(2, 1, 32, 32\) is not allowed'),
        ((images()[0],), r'images of shape \(3, 32, 32\) are not allowed'),
        (('photo.jpg',), 'images of shape str are not allowed'),
        ((images(), 'median'), "reduce='median' is not allowed: it must be None or one of mean, max, active, pca"),
        ((images(), None, 'large'), "size='large' is not allowed: it must be None, 'input' or"),
        ((images(), None, (0, 5)), r'size=\(0, 5\) is not allowed'),
        ((images(), None, 224), 'size=224 is not allowed'),
    ],
)
def test_errors_leave_nothing(arguments, message):
    model = small().train()
    before = traces(model)
    with pytest.raises(ValueError, match=message):
        attention_maps(model, *arguments)
    assert_untouched(model, before)


def test_another_network_is_refused():
    with pytest.raises(ValueError, match='model of type Linear is not allowed: it has no attention modules'):
        attention_maps(nn.Linear(1, 1), images())
