"""What training computes again: the same gradients from less memory."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ranet_mm import RANetFeatures
from ranet_mm.compiling import compiled_units
from ranet_mm.lab import speed
from ranet_mm.recompute import LEVELS, lean
from ranet_mm.runtimes import in_form

TINY = dict(base='attention56_cifar', width=0.125)
MIXED = ('modules', 'none', 'units', 'activations')


def tiny(recompute='none', **options):
    torch.manual_seed(0)
    return RANetFeatures({**TINY, **options.pop('arch', {})}, recompute=recompute, **options)


def images(dtype=torch.float32, count=3):
    return torch.randn(count, 3, 32, 32, dtype=dtype, generator=torch.Generator().manual_seed(1))


def stepped(net, x):
    """The output of a network, after its gradients are there."""
    out = net(x)
    out.square().mean().backward()
    return out


def assert_same_step(plain, other, x, **tolerance):
    """The same output and statistics to the last bit, and the same gradients but for rounding."""
    assert torch.equal(stepped(plain, x), stepped(other, x))
    gradients = [{name: p.grad for name, p in net.named_parameters() if p.requires_grad} for net in (plain, other)]
    torch.testing.assert_close(*gradients, **tolerance)
    assert all(torch.equal(value, other.get_buffer(name)) for name, value in plain.named_buffers())


EXACT = dict(rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ('recompute', 'arch'),
    [
        *((level, {}) for level in LEVELS[1:]),
        (MIXED, dict(unit='type2', always_project=True)),
        (MIXED, dict(unit='resnext', width=0.5)),
        ('activations', dict(unit='inception_b')),
        (MIXED, dict(compat='gluoncv')),
        ('activations', dict(attention='spatial', upsample='transposed')),
    ],
    ids=str,
)
def test_gradients_in_double_precision(recompute, arch):
    nets = [tiny(level, arch=arch, drop_path_rate=0.2).double() for level in ('none', recompute)]
    for net in nets:
        torch.manual_seed(2)  # of stochastic depth
        net.out = stepped(net, images(torch.float64))
    assert torch.equal(*(net.out for net in nets))
    torch.testing.assert_close(*([p.grad for p in net.parameters()] for net in nets), **EXACT)
    assert all(torch.equal(*buffers) for buffers in zip(*(net.buffers() for net in nets), strict=True))


def frozen(net):
    net.stages[:2].eval().requires_grad_(False)


def fixed(net):
    for norm in norms(net):
        norm.eval()


def cumulative(net):
    for norm in norms(net):
        norm.momentum = None


def without_statistics(net):
    for norm in norms(net):
        norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None


def hooked(net):
    """Something that writes over what a normalization gives, before it is rectified."""
    for norm in norms(net):
        norm.register_forward_hook(lambda _, __, out: out.mul_(0.5))


def norms(net):
    return [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize('change', [frozen, fixed, cumulative, without_statistics, hooked])
@pytest.mark.parametrize('recompute', ['activations', 'stages'])
def test_normalization_of_every_kind(recompute, change):
    nets = [tiny(level).double() for level in ('none', recompute)]
    for net in nets:
        change(net)
    for _ in range(2):
        assert_same_step(*nets, images(torch.float64), **EXACT)


@pytest.mark.parametrize(
    'layers',
    [
        dict(act_layer=nn.ReLU),
        dict(act_layer=nn.SiLU),
        dict(norm_layer=lambda chs: nn.GroupNorm(1, chs)),
        dict(norm_layer=lambda chs: nn.BatchNorm2d(chs, affine=False)),
    ],
)
def test_layers_of_other_kinds(layers):
    assert_same_step(
        *(tiny(level, **layers).double() for level in ('none', 'activations')), images(torch.float64), **EXACT
    )


@pytest.mark.parametrize(
    ('recompute', 'dtype'), [('activations', torch.bfloat16), ('activations', torch.float16), (MIXED, torch.bfloat16)]
)
def test_mixed_precision_in_channels_last(recompute, dtype):
    nets = [tiny(level).to(memory_format=torch.channels_last) for level in ('none', recompute)]
    with torch.autocast('cpu', dtype):
        out = [net(images().contiguous(memory_format=torch.channels_last)) for net in nets]
    assert torch.equal(*out) and out[0].dtype == dtype
    for x in out:
        x.float().square().mean().backward()
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        assert (a.grad - b.grad).norm() <= 0.02 * a.grad.norm()


def test_gradients_of_the_images_and_a_graph_that_is_kept():
    found = []
    for level in ('none', 'activations'):
        x = images(torch.float64).requires_grad_()
        loss = tiny(level).double()(x).square().mean()
        found.append([torch.autograd.grad(loss, x, retain_graph=True)[0] for _ in range(2)])
    assert torch.equal(*found[1])
    torch.testing.assert_close(*found, **EXACT)


def test_convolutions_with_bias_groups_and_names_of_padding():
    torch.manual_seed(0)
    layers = [nn.BatchNorm2d(8), nn.ReLU(True), nn.Conv2d(8, 8, 3, 2, 1, 1, 4)] * 2
    net = nn.Sequential(nn.Conv2d(3, 8, 3), *layers, nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, padding='same'))
    net, x = net.double(), images(torch.float64)
    twin = copy.deepcopy(net)
    stepped(net, x)
    with lean():
        stepped(twin, x)
    torch.testing.assert_close([p.grad for p in net.parameters()], [p.grad for p in twin.parameters()], **EXACT)


@pytest.mark.slow('training steps of each level')
def test_levels_take_less_memory():
    """By counts of what PyTorch allocates; an eighth of the width, so that maps outweigh the gradients of weights."""
    peaks = []
    for level in ('none', 'activations', 'modules'):
        net, x = tiny(level).to(memory_format=torch.channels_last), images(count=8)
        stepped(net, x)
        peaks.append(speed.peak_memory(lambda net=net, x=x: stepped(net, x), x.device, 0))
    assert peaks[1] < 0.6 * peaks[0] and peaks[2] < 0.4 * peaks[0]


def test_names_of_weights_stay_and_copies_work():
    net = tiny(MIXED)
    assert [*net.state_dict()] == [*tiny().state_dict()]
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert_same_step(tiny().double(), twin.double(), images(torch.float64), **EXACT)


def test_a_level_can_be_changed():
    net, x = tiny('stages'), images(torch.float64)
    net.set_recompute('units')
    assert net.recompute == ('units',) * 4 and net.grad_checkpointing
    net.grad_checkpointing = False
    assert not any(getattr(part, 'recompute', None) is True for part in net.modules())
    assert_same_step(tiny().double(), net.double(), x, rtol=0, atol=0)


@pytest.mark.parametrize('recompute', ['unit', ('units',), ('units',) * 5, ('units', 'none', 'none', 'all')])
def test_levels_that_are_not_allowed(recompute):
    with pytest.raises(ValueError, match=r'^recompute=.* is not allowed: it must be one of none, activations, .* 4 of'):
        tiny(recompute)


def test_deploy_form_is_not_trained():
    net = tiny('units').eval()
    net.switch_to_deploy()
    assert not net.grad_checkpointing
    with pytest.raises(ValueError, match=r"^recompute='stages' is not allowed in deploy form"):
        net.grad_checkpointing = True


@pytest.mark.slow('exports')
@pytest.mark.parametrize('recompute', ['activations', MIXED])
def test_graphs_of_a_network_are_the_same(recompute):
    """Scripted, traced and exported networks know nothing of it."""
    x, plain, net = images(), tiny().eval(), tiny(recompute).eval()
    wanted = plain(x)
    torch.testing.assert_close(torch.jit.script(net)(x), wanted)
    torch.testing.assert_close(torch.jit.trace(net, x, check_trace=False)(x), wanted)
    graphs = [torch.export.export(n, (x,)).graph for n in (plain, net)]
    assert [node.target for node in graphs[0].nodes] == [node.target for node in graphs[1].nodes]


@pytest.mark.slow('a compiler')
@pytest.mark.parametrize('recompute', ['activations', 'units'])
def test_compiled_units(recompute):
    torch._dynamo.reset()
    net = tiny(recompute)
    assert compiled_units(net, dict(backend='aot_eager'))
    assert_same_step(tiny(), net, images())


def test_copies_in_several_processes(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        net = DistributedDataParallel(tiny('activations').double())
        assert_same_step(tiny().double(), net.module, images(torch.float64), **EXACT)
        net.zero_grad()
        for _ in range(2):
            stepped(net, images(torch.float64))
    finally:
        torch.distributed.destroy_process_group()


def test_words_of_forms():
    net = tiny()
    in_form(net, 'channels_last+recompute_units', images(), train=True)
    assert net.recompute == ('units',) * 4
