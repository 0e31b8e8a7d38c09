"""Weights of other implementations: the same logits as in their own code, and strict keys."""

import json
import logging
import re
import zlib
from pathlib import Path

import caffe_graph
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ranet_mm import RANetFeatures, resolve_arch
from ranet_mm.cli import convert as cli
from ranet_mm.weights.convert import (
    from_caffe,
    from_gluoncv,
    from_tengshaofeng,
    gluoncv_arch,
    tengshaofeng_arch,
    to_caffe,
)
from ranet_mm.weights.convert.common import shapes_of
from ranet_mm.weights.convert.ports import gluoncv_keys, tengshaofeng_keys

GOLDEN = json.loads((Path(__file__).parent / 'golden' / 'port_logits.json').read_text())
TINY = dict(base='attention56', width=0.125)


@pytest.fixture(scope='module')
def blobs():
    return caffe_graph.random_blobs('attention56', 0.125)


@pytest.fixture
def state(blobs):
    return from_caffe(blobs, TINY)


# The authors' files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('net', caffe_graph.NETS)
def test_caffe_and_back(net):
    width = 0.25 if net.startswith('attentionnext') else 0.125
    blobs = caffe_graph.random_blobs(net, width)
    back = to_caffe(from_caffe(blobs, dict(base=net, width=width)), dict(base=net, width=width))
    assert set(back) == set(blobs)
    for layer, arrays in blobs.items():
        assert len(back[layer]) == len(arrays)
        for array, again in zip(arrays, back[layer], strict=True):
            assert array.shape == again.shape
            np.testing.assert_allclose(again, array, rtol=1e-12)


def test_single_precision_keeps_its_digits():
    blobs = caffe_graph.random_blobs('attention56', 0.125)
    single = {layer: [array.astype(np.float32) for array in arrays] for layer, arrays in blobs.items()}
    single['conv1/bn'][3][:] = 300.0  # a variance of 1.1e-6, well below eps
    state = from_caffe(single, TINY)
    assert state['stem.norm.running_var'].dtype == torch.float32
    np.testing.assert_allclose(to_caffe(state, TINY)['conv1/bn'][3], 300.0, rtol=1e-6)


@pytest.mark.parametrize('net', caffe_graph.NETS)
def test_keys_are_those_of_the_timm_model(net):
    timm = pytest.importorskip('timm')
    state = from_caffe(caffe_graph.random_blobs(net, 0.25), dict(base=net, width=0.25))
    with torch.device('meta'):
        model = timm.create_model(net, width=0.25)
    assert list(state) == list(model.state_dict())
    model.load_state_dict(state, strict=True, assign=True)


@pytest.mark.parametrize(('dims', 'shape'), [(1, (8,)), (2, (1, 8)), (4, (1, 8, 1, 1))])
def test_batch_norms_in_the_shapes_of_every_caffe(state, dims, shape):
    blobs = to_caffe(state, TINY, bn_dims=dims)
    assert [array.shape for array in blobs['conv1/bn']] == [shape] * 4
    assert blobs['classifier'][1].shape == (1000,)
    again = from_caffe(blobs, TINY)
    assert list(again) == list(state)
    assert all(torch.allclose(again[key], state[key], rtol=1e-12) for key in state)


def test_counters_start_at_0(state):
    counters = [value for key, value in state.items() if key.endswith('num_batches_tracked')]
    assert len(counters) == 107
    assert all(value == 0 for value in counters)


def test_any_number_of_classes(blobs):
    weight, bias = blobs['classifier']
    few = from_caffe({**blobs, 'classifier': [weight[:10], bias[:10]]}, TINY)
    assert few['head.fc.weight'].shape == (10, 256)


def without(blobs, layer):
    return {name: arrays for name, arrays in blobs.items() if name != layer}


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda b: without(b, 'pre_res_1/bn'), r'missing: pre_res_1/bn\[0\], .*pre_res_1/bn\[3\]$'),
        (lambda b: {**b, 'conv1': [*b['conv1'], np.zeros(8)]}, r'unexpected: conv1\[1\]$'),
        (lambda b: {**b, 'conv9': b['conv1']}, r'unexpected: conv9\[0\]$'),
        (lambda b: {**b, 'conv1/bn': b['conv1/bn'][:3]}, r'missing: conv1/bn\[3\]$'),
        (lambda b: {**b, 'conv1': [b['conv1'][0][:, :1]]}, r'misshaped: conv1\[0\] \(8, 1, 7, 7\) in place of \(8, 3,'),
        (lambda b: {**b, 'classifier': [b['classifier'][0].T, b['classifier'][1]]}, r'misshaped: classifier\[0\]'),
        (lambda b: {**b, 'conv1/bn': [*b['conv1/bn'][:3], -np.ones(8)]}, r'conv1/bn\[3\] is not allowed'),
        (lambda b: {'other' + n: a for n, a in b.items()}, r'missing: conv1\[0\].* and 536 more; unexpected: other'),
    ],
)
def test_blobs_that_do_not_fit_are_named(blobs, change, words):
    with pytest.raises(ValueError, match=words):
        from_caffe(change(blobs), TINY)


@pytest.mark.parametrize(('key', 'words'), [('norm.weight', 'missing: norm.weight$'), ('extra', 'unexpected: extra$')])
def test_keys_that_do_not_fit_are_named(state, key, words):
    state.pop(key, None) if key in state else state.update({key: torch.zeros(1)})
    with pytest.raises(ValueError, match=words):
        to_caffe(state, TINY)


@pytest.mark.parametrize(
    ('arch', 'words'),
    [
        ('attention56_cifar', "arch='attention56_cifar' is not allowed: .* mask_pools="),
        (dict(base='attention56', compat='tengshaofeng'), "not compat='tengshaofeng'$"),
        (dict(base='attention92', r=2), 'not r=2$'),
    ],
)
def test_networks_without_authors_names_are_refused(arch, words):
    with pytest.raises(ValueError, match=words):
        from_caffe({}, arch)
    with pytest.raises(ValueError, match=words):
        to_caffe({}, arch)


# The ports ------------------------------------------------------------------------------------------------


def seeded(key, shape):
    """Float64 array that follows from a key's name; the generator's stream never changes."""
    rng = np.random.RandomState(zlib.crc32(key.encode()))
    if len(shape) > 1:
        return rng.standard_normal(shape) * np.prod(shape[1:]) ** -0.5
    if key.endswith('var'):
        return rng.uniform(0.7, 4, shape)
    return rng.uniform(0.5, 1.5, shape) if key.endswith(('weight', 'gamma')) else rng.uniform(-0.5, 0.5, shape)


def logits(state, arch):
    """Logits of our network for the image that the ports' were measured with."""
    weight, bias = (state.pop(f'head.fc.{name}') for name in ('weight', 'bias'))
    with torch.device('meta'):
        model = RANetFeatures(arch)
    model.load_state_dict(state, assign=True)
    image = np.random.RandomState(0).standard_normal((1, 3, arch.img_size, arch.img_size))
    with torch.no_grad():
        return F.linear(model.eval()(torch.from_numpy(image)).mean((2, 3)), weight, bias)[0].numpy()


def relative(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def tengshaofeng_weights(arch):
    """A state dict as the port saves it, unused shortcuts and counters included."""
    names, unused = tengshaofeng_keys(arch)
    state = {name: torch.from_numpy(seeded(name, shapes_of(arch, 10)[key])) for key, name in names.items()}
    state |= {name: torch.full((1, 1, 1, 1), torch.nan) for name in unused}
    norms = [name.removesuffix('running_var') for name in state if name.endswith('running_var')]
    return state | {f'{norm}num_batches_tracked': torch.tensor(7) for norm in norms}


@pytest.mark.parametrize(
    ('model', 'arch'),
    [
        ('ResidualAttentionModel_92_32input_update', 'attention92_cifar'),
        pytest.param('ResidualAttentionModel_56', 'attention56', marks=pytest.mark.slow('whole networks')),
        pytest.param('ResidualAttentionModel_92', 'attention92', marks=pytest.mark.slow('whole networks')),
    ],
)
def test_tengshaofeng_logits(model, arch, caplog):
    golden, arch = GOLDEN['tengshaofeng'][model], resolve_arch(arch, compat='tengshaofeng')
    theirs = tengshaofeng_weights(arch)
    assert len(theirs) == golden['keys']
    assert tengshaofeng_arch(theirs) == arch
    with caplog.at_level(logging.INFO):
        state = from_tengshaofeng(theirs)
    assert f'dropped {golden["dropped"]} shortcut convolutions' in caplog.text
    assert relative(logits(state, arch), golden['logits']) < 1e-10


def test_tengshaofeng_weights_need_its_graph():
    arch = resolve_arch('attention92_cifar', compat='tengshaofeng')
    golden = GOLDEN['tengshaofeng']['ResidualAttentionModel_92_32input_update']
    state = from_tengshaofeng(tengshaofeng_weights(arch))
    assert relative(logits(state, resolve_arch('attention92_cifar')), golden['logits']) > 1e-2


@pytest.mark.parametrize(
    ('model', 'arch'),
    [
        ('cifar_residualattentionnet56', dict(base='attention56_cifar')),
        pytest.param('residualattentionnet56', dict(base='attention56'), marks=pytest.mark.slow('whole networks')),
        pytest.param(
            'cifar_residualattentionnet452',
            dict(base='attention452_cifar', modules=(5, 6, 7)),
            marks=pytest.mark.slow('whole networks'),
        ),
    ],
)
def test_gluoncv_logits(model, arch):
    """To 1e-6 alone, as MXNet computes the positions of a resize in single precision."""
    golden, arch = GOLDEN['gluoncv'][model], resolve_arch(arch, compat='gluoncv')
    shapes, names = shapes_of(arch, 10), gluoncv_keys(arch)
    params = {name: seeded(name, shapes[key]) for key, name in names.items()}
    params['fc.weight'] = seeded('fc.weight', (*shapes['head.fc.weight'], 1, 1))
    assert len(params) == golden['keys']
    assert gluoncv_arch(params) == arch
    assert relative(logits(from_gluoncv(params), arch), golden['logits']) < 1e-6


def test_gluoncv_452_has_one_unit_after_the_merge():
    assert resolve_arch('attention452_cifar', modules=(5, 6, 7), compat='gluoncv').depth == 398


@pytest.mark.parametrize('convert', [from_tengshaofeng, from_gluoncv])
def test_ports_name_what_does_not_fit(convert):
    with pytest.raises(ValueError, match=r'missing: conv1\.1.* more; unexpected: what; misshaped: conv1\.0'):
        convert({'conv1.0.weight': np.zeros((32, 3, 5, 5)), 'what': np.zeros(1)})


# The tool -------------------------------------------------------------------------------------------------

OPTIONS = ['--arch', 'attention56', '--options', 'width=0.125']


@pytest.fixture
def timm_file(state, tmp_path):
    torch.save(state, tmp_path / 'timm.pth')
    return str(tmp_path / 'timm.pth')


@pytest.mark.parametrize(('kind', 'name'), [('openmmlab', 'a.pth'), ('timm', 'a.safetensors'), ('caffe-npz', 'a.npz')])
def test_tool_there_and_back(kind, name, timm_file, state, tmp_path):
    if kind == 'openmmlab':
        pytest.importorskip('mmengine')
    if name.endswith('.safetensors'):
        pytest.importorskip('safetensors')
    there, back = str(tmp_path / name), str(tmp_path / 'back.pth')
    assert cli.main([timm_file, there, '--from', 'timm', '--to', kind, *OPTIONS]) == 0
    assert cli.main([there, back, '--from', kind, '--to', 'timm', *OPTIONS]) == 0
    again = torch.load(back, weights_only=True)
    assert list(again) == list(state)
    assert all(torch.allclose(again[key], state[key], rtol=1e-12) for key in state)


def test_tool_writes_openmmlab_keys(timm_file, tmp_path):
    out = tmp_path / 'mm.pth'
    assert cli.main([timm_file, str(out), '--from', 'timm', '--to', 'openmmlab', *OPTIONS]) == 0
    keys = torch.load(out, weights_only=True)
    assert 'backbone.stem.conv.weight' in keys
    assert [key for key in keys if not key.startswith('backbone.')] == ['head.fc.weight', 'head.fc.bias']


def test_tool_tells_the_network_of_a_port(tmp_path, capsys):
    arch = resolve_arch('attention56_cifar', compat='tengshaofeng')
    torch.save(tengshaofeng_weights(arch), tmp_path / 'port.pkl')
    paths = [str(tmp_path / name) for name in ('port.pkl', 'out.pth')]
    assert cli.main([*paths, '--from', 'tengshaofeng', '--to', 'timm']) == 0
    assert "of attention56_cifar with compat='tengshaofeng'" in capsys.readouterr().out
    assert cli.main([paths[0], str(tmp_path / 'b.npz'), '--from', 'tengshaofeng', '--to', 'caffe-npz']) == 1
    assert "compat='tengshaofeng'" in capsys.readouterr().err


def test_tool_keeps_an_existing_output(timm_file, capsys):
    arguments = [timm_file, timm_file, '--from', 'timm', '--to', 'timm', *OPTIONS]
    before = Path(timm_file).read_bytes()
    assert cli.main(arguments) == 1
    assert '--overwrite' in capsys.readouterr().err
    assert Path(timm_file).read_bytes() == before
    assert cli.main([*arguments, '--overwrite']) == 0


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['no.pth', 'b.pth', '--from', 'timm', '--to', 'timm', *OPTIONS], "input 'no.pth' does not exist"),
        (['timm.pth', 'b.npz', '--from', 'timm', '--to', 'timm', *OPTIONS], 'must end in .safetensors or .pth'),
        (['timm.pth', 'b.pth', '--from', 'timm', '--to', 'timm'], '--arch is missing'),
        (['timm.pth', 'b.pth', '--from', 'timm', '--to', 'timm', '--arch', 'attention92'], 'missing: .*misshaped: '),
        (['bad.pth', 'b.pth', '--from', 'timm', '--to', 'timm', *OPTIONS], 'cannot be read: it holds pathlib'),
    ],
)
def test_tool_says_what_is_wrong_in_one_sentence(arguments, words, timm_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(Path, 'bad.pth')  # an object that only code could restore
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(words, error), error
    assert not Path('b.pth').exists()
