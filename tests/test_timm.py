"""The timm models: registration, model methods, features, compilers, and weights."""

import copy
import inspect
import pickle
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from torch import nn

timm = pytest.importorskip('timm', reason='timm is not installed: pip install timm')

from timm.layers import SelectAdaptivePool2d  # noqa: E402
from timm.models import group_parameters, model_entrypoint  # noqa: E402
from timm.optim import create_optimizer_v2  # noqa: E402

import ranet_mm.timm.residual_attention as plug  # noqa: E402
from ranet_mm import ARCHS, RANet, weights  # noqa: E402
from ranet_mm.timm import __main__ as run  # noqa: E402

TINY = dict(width=0.25)
# One attention module and one residual unit, for tests whose time grows with the number of layers.
SHORT = dict(modules=(1,), widths=(32,), strides=(2,), mask_pools=(1,), post_units=1, post_width=64)
NAMES = [
    pytest.param(n, marks=pytest.mark.slow('deep networks')) if arch.depth > 128 else n for n, arch in ARCHS.items()
]
LAYOUTS = ['attention56', 'attention56_cifar', 'attention56_table1', 'attentionnext56']
PARAMETERS = {
    'attention56': 31_810_728,
    'attention92': 52_466_344,
    'attention56_cifar': 7_202_794,
    'attention92_cifar': 12_170_730,
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return timm.create_model('attention56_cifar', **TINY).eval()


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


# Registration -------------------------------------------------------------------------------------------


def test_every_variant_is_registered():
    assert set(timm.list_models(module='residual_attention')) == set(ARCHS)


@pytest.mark.parametrize('name', ARCHS)
def test_entrypoint_is_a_named_documented_function(name):
    entrypoint = model_entrypoint(name)
    assert entrypoint is getattr(plug, name)
    assert name in plug.__all__
    assert entrypoint.__doc__.startswith(f'{name}:')
    assert pickle.loads(pickle.dumps(entrypoint)) is entrypoint
    assert inspect.signature(entrypoint).parameters['pretrained'].default is False


@pytest.mark.parametrize(('name', 'count'), PARAMETERS.items())
def test_parameter_counts(name, count):
    assert sum(p.numel() for p in timm.create_model(name, device='meta').parameters()) == count


@pytest.mark.parametrize('name', NAMES)
def test_pretrained_cfg_describes_the_network(name):
    model = timm.create_model(name, device='meta').eval()
    cfg = model.pretrained_cfg
    features = model.forward_features(torch.empty(1, *cfg['input_size'], device='meta'))
    assert features.shape == (1, model.num_features, *cfg['pool_size'])
    assert model.forward_head(features).shape == (1, cfg['num_classes'])
    assert {f'{cfg["first_conv"]}.weight', f'{cfg["classifier"]}.weight'} <= set(model.state_dict())


def test_data_config_of_the_cifar_layout(model):
    cfg = timm.data.resolve_model_data_config(model)
    assert (cfg['input_size'], cfg['crop_pct'], cfg['interpolation']) == ((3, 32, 32), 1.0, 'bicubic')
    assert (cfg['mean'], cfg['std']) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


# Head ---------------------------------------------------------------------------------------------------


def test_forward_is_features_then_head(model, images):
    features = model.forward_features(images)
    pre_logits = model.forward_head(features, pre_logits=True)
    assert features.shape == (2, model.num_features, 8, 8)
    torch.testing.assert_close(pre_logits, features.mean((2, 3)))
    torch.testing.assert_close(model(images), model.get_classifier()(pre_logits))
    assert model.get_submodule(model.get_classifier(name_only=True)) is model.get_classifier()


@pytest.mark.parametrize(('pool', 'times'), [('avg', 1), ('max', 1), ('avgmax', 1), ('catavgmax', 2), ('flatten', 64)])
def test_poolings(model, images, pool, times):
    model.reset_classifier(7, pool)
    assert model.head_hidden_size == times * model.num_features
    assert model.forward_head(model.forward_features(images), pre_logits=True).shape == (2, model.head_hidden_size)
    assert model(images).shape == (2, 7)
    model.reset_classifier(5)
    assert model.head.global_pool.pool_type == pool
    assert model(images).shape == (2, 5)


def test_without_classifier_and_pooling(model, images):
    model.reset_classifier(0)
    assert model.num_classes == 0
    assert model(images).shape == (2, model.head_hidden_size)
    model.reset_classifier(0, '')
    torch.testing.assert_close(model(images), model.forward_features(images))
    built = timm.create_model('attention56_cifar', num_classes=0, global_pool='', **TINY)
    assert built(images).shape == (2, built.num_features, 8, 8)


def test_without_pooling_every_position_is_classified(model, images):
    expected = model(images)
    maps = timm.create_model('attention56_cifar', global_pool='', **TINY).eval()
    maps.load_state_dict(model.state_dict())
    assert maps(images).shape == (2, 10, 8, 8)
    torch.testing.assert_close(maps(images).mean((2, 3)), expected)


@pytest.mark.parametrize('pool', ['avgmax', 'catavgmax'])
def test_own_choice_of_pooling_has_the_values_of_timm(pool):
    features = torch.randn(2, 5, 7, 9)
    expected = SelectAdaptivePool2d(pool_type=pool, flatten=True)(features)
    torch.testing.assert_close(plug.Head(5, 0, pool, 0.0, 7)(features), expected)


def test_reset_keeps_type_and_mode(model):
    model.double().reset_classifier(3)
    assert model.head.fc.weight.dtype == torch.float64
    assert not model.head.training


def test_init_weights_starts_anew(model, images):
    model.train()(images)
    assert model.norm.running_mean.any()
    before = model.head.fc.weight.clone()
    model.init_weights(zero_init_last=True)
    assert not model.norm.running_mean.any()
    assert not model.stages[0][0].conv3.weight.any()
    assert not torch.equal(model.head.fc.weight, before)


def test_literal_table_1_flattens_the_native_size(images):
    model = timm.create_model('attention56_table1', **TINY).eval()
    assert model.head.fc.in_features == 64 * model.num_features
    assert model(images).shape == (2, 10)
    with pytest.raises(ValueError, match='map of 10x10 is not allowed'):
        model(torch.randn(1, 3, 40, 40))


def test_drop_rates_act_in_training_only(images):
    model = timm.create_model('attention56_cifar', drop_rate=0.5, drop_path_rate=0.5, **TINY)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize('chans', [1, 4, 13])
def test_input_channels(chans):
    model = timm.create_model('attention56_cifar', in_chans=chans, **TINY).eval()
    assert model(torch.randn(1, chans, 33, 47)).shape == (1, 10)


@pytest.mark.parametrize('stride', [8, 16, 32])
def test_output_stride(stride):
    model = timm.create_model('attention56', output_stride=stride, **TINY).eval()
    assert model.forward_features(torch.randn(1, 3, 64, 96)).shape[-2:] == (64 // stride, 96 // stride)
    assert model.feature_info[-1]['reduction'] == stride


def test_layers_by_name_and_class(images):
    model = timm.create_model('attention56_cifar', act_layer='silu', norm_layer=nn.InstanceNorm2d, **TINY)
    kinds = {type(m) for m in model.modules()}
    assert nn.InstanceNorm2d in kinds
    assert not kinds & {nn.BatchNorm2d, nn.ReLU}
    assert model(images).shape == (2, 10)


def test_architecture_overrides():
    model = timm.create_model('attention56_cifar', p=2, t=1, r=2, unit='type2', **TINY)
    assert (model.arch.p, model.arch.t, model.arch.r, model.arch.unit) == (2, 1, 2, 'type2')


# Features -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('wrapper', ['list', 'dict', 'hook', 'fx', 'getter'])
def test_features_only(model, images, wrapper):
    features = timm.create_model(
        'attention56_cifar', features_only=True, feature_cls=wrapper, out_indices=(0, 2, -1), **TINY
    ).eval()
    own = features.model if wrapper == 'getter' else features
    own.load_state_dict(_renamed(model.state_dict(), own), strict=True)
    maps = features(images)
    maps = list(maps.values()) if isinstance(maps, dict) else maps
    expected = model.forward_intermediates(images, indices=[0, 2, 4], intermediates_only=True)
    assert features.feature_info.channels() == [m.shape[1] for m in maps]
    assert features.feature_info.reduction() == [1, 2, 4]
    for ours, theirs in zip(expected, maps, strict=True):
        torch.testing.assert_close(theirs, ours)


def _renamed(state, wrapper):
    """Weights under the flattened or prefixed keys of timm's feature wrappers."""
    found = {}
    for key in wrapper.state_dict():
        plain = key.removeprefix('graph_module.').replace('stem_', 'stem.', 1)
        plain = plain.replace('stages_', 'stages.', 1) if plain.startswith('stages_') else plain
        found[key] = state[plain]
    return found


@pytest.mark.parametrize('name', LAYOUTS)
def test_features_only_has_every_level(name):
    features = timm.create_model(name, features_only=True, device='meta').eval()
    side = ARCHS[name].img_size
    maps = features(torch.empty(1, 3, side, side, device='meta'))
    info = features.feature_info
    assert [(m.shape[1], m.shape[2]) for m in maps] == [
        (chs, -(-side // stride)) for chs, stride in zip(info.channels(), info.reduction(), strict=True)
    ]


def test_forward_intermediates(model, images):
    final, maps = model.forward_intermediates(images)
    torch.testing.assert_close(final, model.forward_features(images))
    assert [m.shape[1] for m in maps] == [info['num_chs'] for info in model.feature_info]
    assert [32 // m.shape[2] for m in maps] == [info['reduction'] for info in model.feature_info]
    torch.testing.assert_close(maps[-1], model.forward_stages(images)[-1])
    normed = model.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)
    torch.testing.assert_close(normed[0], final)


def test_forward_intermediates_stops_early(model, images):
    seen = []
    for stage in model.stages:
        stage.register_forward_hook(lambda *args: seen.append(1))
    last, maps = model.forward_intermediates(images, indices=[0, 2], stop_early=True)
    assert len(seen) == 2
    torch.testing.assert_close(last, maps[-1])


@pytest.mark.parametrize('last', range(5))
def test_prune_intermediate_layers(model, images, last):
    expected = model.forward_intermediates(images, indices=[last], intermediates_only=True)
    kept = model.prune_intermediate_layers([last], prune_norm=True)
    assert kept == [last]
    assert len(model.stages) == last
    assert model.num_features == model.head_hidden_size == expected[0].shape[1]
    torch.testing.assert_close(model.forward_intermediates(images, indices=kept, intermediates_only=True), expected)
    torch.testing.assert_close(model.forward_features(images), expected[0])


# Training aids ------------------------------------------------------------------------------------------


def test_checkpointing_changes_nothing_but_memory(model, images):
    model.train()
    grads = []
    for enable in (False, True):
        twin = copy.deepcopy(model).double()
        twin.set_grad_checkpointing(enable)
        twin(images.double()).square().sum().backward()
        grads.append({k: p.grad for k, p in twin.named_parameters()})
    assert all(g is not None for g in grads[0].values())
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize('coarse', [True, False])
def test_groups_run_from_stem_to_head(model, coarse):
    groups = group_parameters(model, model.group_matcher(coarse=coarse))
    order = [{name.split('.')[0] for name in groups[i]} for i in sorted(groups)]
    blocks = len(model.stages) if coarse else sum(len(stage) for stage in model.stages)
    assert sum(map(len, groups.values())) == len(list(model.parameters()))
    assert order[0] == {'stem'}
    assert order[-1] == {'head'}
    assert len([g for g in order if g == {'stages'}]) + len([g for g in order if g == {'stages', 'norm'}]) == blocks


def test_layer_decay_lowers_the_rate_towards_the_stem(model):
    optimizer = create_optimizer_v2(model, opt='sgd', lr=0.1, weight_decay=1e-4, layer_decay=0.5)
    scales = {id(p): group['lr_scale'] for group in optimizer.param_groups for p in group['params']}
    path = [model.stem.conv.weight, *(stage[0].conv1.weight for stage in model.stages), model.head.fc.weight]
    values = [scales[id(p)] for p in path]
    assert values == sorted(values)
    assert len(set(values)) == len(values)
    assert values[-1] == 1


def test_no_weight_decay_names_nothing(model):
    assert model.no_weight_decay() == set()


# Compilers and formats ----------------------------------------------------------------------------------


SHORT_OPTIONS = [
    {},
    dict(unit='type2', attention='channel', learning='naive', upsample='transposed'),
    dict(unit='resnext', widths=(64,), attention='spatial', upsample='nearest'),
    dict(mask='local', mask_pools=(0,), stem_pool=True, global_pool='fastcatavgmax'),
    dict(flatten=True),
    dict(global_pool='catavgmax'),
    dict(global_pool=''),
]
# Compilers are slow: the default network always, the others where slow tests run.
COMPILED = [
    SHORT_OPTIONS[0],
    *(pytest.param(o, marks=pytest.mark.slow('a compiler or an export')) for o in SHORT_OPTIONS[1:]),
]


def short(**options):
    torch.manual_seed(0)
    return timm.create_model('attention56_cifar', **SHORT | options).eval()


@pytest.mark.parametrize('options', SHORT_OPTIONS)
def test_torchscript(images, options):
    model = short(**options)
    torch.testing.assert_close(torch.jit.script(model)(images), model(images))


def test_torchscript_takes_other_sizes():
    model = short()
    scripted = torch.jit.script(model)
    for size in ((33, 57), (64, 40)):
        images = torch.randn(1, 3, *size)
        torch.testing.assert_close(scripted(images), model(images))


@pytest.mark.parametrize('options', SHORT_OPTIONS)
def test_fx_is_equal_and_can_be_scripted(images, options):
    model = short(**options)
    traced = torch.fx.symbolic_trace(model)
    assert torch.equal(traced(images), model(images))
    torch.testing.assert_close(torch.jit.script(traced)(images), model(images))


@pytest.mark.slow('an export of each option')
@pytest.mark.parametrize('options', COMPILED[:4])
def test_export_with_dynamic_batch_and_size(options):
    model, dim = short(**options), torch.export.Dim
    shapes = {0: dim('batch'), 2: dim('height', min=32), 3: dim('width', min=32)}
    program = torch.export.export(model, (torch.randn(2, 3, 48, 40),), dynamic_shapes=(shapes,)).module()
    for size in ((2, 3, 32, 32), (1, 3, 45, 67)):
        images = torch.randn(size)
        torch.testing.assert_close(program(images), model(images))


def test_export_of_a_fixed_size(images):
    model = short(flatten=True)
    torch.testing.assert_close(torch.export.export(model, (images,)).module()(images), model(images))


@pytest.mark.slow('a compiler')
@pytest.mark.parametrize('options', COMPILED[:5])
def test_compile_has_no_graph_break(images, options):
    model = short(**options)
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(images), model(images))


def test_channels_last(model, images):
    fast = copy.deepcopy(model).to(memory_format=torch.channels_last)
    features = fast.forward_features(images.to(memory_format=torch.channels_last))
    assert features.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fast(images), model(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('options', [{}, dict(attention='channel'), dict(attention='spatial', learning='naive')])
def test_autocast(images, dtype, options):
    model = timm.create_model('attention56_cifar', **TINY, **options)
    with torch.autocast('cpu', dtype):
        logits = model(images)
    assert logits.dtype == dtype
    assert logits.isfinite().all()
    logits.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_pickle_and_deepcopy(model, images):
    expected = model(images)
    assert torch.equal(pickle.loads(pickle.dumps(model))(images), expected)
    assert torch.equal(copy.deepcopy(model)(images), expected)


def test_device_and_dtype():
    model = timm.create_model('attention56_cifar', device='meta', dtype=torch.bfloat16, **TINY)
    assert {(p.device.type, p.dtype) for p in model.parameters()} == {('meta', torch.bfloat16)}


# Bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'error', 'sentence'),
    [
        (dict(p=0), ValueError, 'p=0 is not allowed: it must be'),
        (dict(global_pool='mean'), ValueError, "global_pool='mean' is not allowed: it must be one of avg, max"),
        (dict(num_classes=-1), ValueError, 'num_classes=-1 is not allowed: it must be 0 or more'),
        (dict(output_stride=4), ValueError, 'output_stride=4 is not allowed: it must be 8, 16 or 32'),
        (dict(act_layer='rilu'), ValueError, "act_layer='rilu' is not allowed"),
        (dict(norm_layer='batch'), ValueError, "norm_layer='batch' is not allowed"),
        (dict(img_size=(32, 40)), ValueError, r'img_size=\(32, 40\) is not allowed'),
        (dict(bn_momentum=0.1), TypeError, "'bn_momentum' is not an option of the network: allowed are modules, "),
    ],
)
def test_bad_options(options, error, sentence):
    with pytest.raises(error, match=sentence):
        timm.create_model('attention56_cifar', **options)


def test_bad_input(model):
    with pytest.raises(ValueError, match='input of 31x64 pixels is not allowed'):
        model(torch.randn(1, 3, 31, 64))
    with pytest.raises(ValueError, match='in_chans=3'):
        model(torch.randn(1, 4, 32, 32))
    with pytest.raises(ValueError, match='output_fmt'):
        model.forward_intermediates(torch.randn(1, 3, 32, 32), output_fmt='NLC')


# Weights ------------------------------------------------------------------------------------------------


def test_no_weights_are_named(monkeypatch):
    monkeypatch.setattr(plug, '_index', {'attention92_cifar.made': {}})
    with pytest.raises(RuntimeError, match=r'attention128 has no pretrained weights; .* attention92_cifar\.made'):
        timm.create_model('attention128', pretrained=True, **TINY)


def test_own_file(model, images, tmp_path):
    path = weights.save(model.state_dict(), tmp_path, 'attention56_cifar.own')
    loaded = timm.create_model(
        'attention56_cifar', pretrained=True, pretrained_cfg_overlay=dict(file=str(path)), **TINY
    ).eval()
    assert torch.equal(loaded(images), model(images))
    loaded = timm.create_model('attention56_cifar', checkpoint_path=str(path), **TINY).eval()
    assert torch.equal(loaded(images), model(images))


def test_own_file_with_the_keys_of_openmmlab(model, images, tmp_path):
    state = {k if k.startswith('head.') else f'backbone.{k}': v for k, v in model.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'published.pth')
    overlay = dict(file=str(tmp_path / 'published.pth'))
    loaded = timm.create_model('attention56_cifar', pretrained=True, pretrained_cfg_overlay=overlay, **TINY).eval()
    assert torch.equal(loaded(images), model(images))


def test_weights_are_adapted(model, images, tmp_path):
    path = weights.save(model.state_dict(), tmp_path, 'attention56_cifar.own')
    options = dict(pretrained=True, pretrained_cfg_overlay=dict(file=str(path)), **TINY)
    gray = timm.create_model('attention56_cifar', in_chans=1, num_classes=5, **options)
    torch.testing.assert_close(gray.stem.conv.weight, model.stem.conv.weight.sum(1, keepdim=True))
    assert torch.equal(gray.stages[3][0].conv1.weight, model.stages[3][0].conv1.weight)
    assert gray.head.fc.weight.shape == (5, model.num_features)
    assert timm.create_model('attention56_cifar', num_classes=0, **options).eval()(images).shape == (2, 256)
    assert len(timm.create_model('attention56_cifar', features_only=True, **options)(images)) == 5


def test_half_precision_is_adapted_in_full(model, tmp_path):
    half = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    path = weights.save(half, tmp_path, 'attention56_cifar.own')
    overlay = dict(file=str(path))
    gray = timm.create_model('attention56_cifar', pretrained=True, in_chans=1, pretrained_cfg_overlay=overlay, **TINY)
    expected = half['stem.conv.weight'].float().sum(1, keepdim=True)
    torch.testing.assert_close(gray.stem.conv.weight.data, expected)


def test_another_source_replaces_the_shipped_file(model, images, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    torch.save(model.state_dict(), tmp_path / 'w.pth')
    for overlay in (dict(url=(tmp_path / 'w.pth').as_uri()), dict(state_dict=model.state_dict())):
        loaded = timm.create_model('attention56_cifar', pretrained=True, pretrained_cfg_overlay=overlay, **TINY)
        assert torch.equal(loaded.eval()(images), model(images))


def test_saved_for_a_hub_and_read_back(model, images, tmp_path):
    timm.models.save_for_hf(model, tmp_path, model_args=TINY, safe_serialization=True)
    loaded = timm.create_model(f'local-dir:{tmp_path}', pretrained=True).eval()
    assert torch.equal(loaded(images), model(images))


def test_weights_that_do_not_exist_are_named():
    with pytest.raises(FileNotFoundError, match=r"weights 'none\.pth' do not exist"):
        timm.create_model('attention56_cifar', pretrained=True, pretrained_cfg_overlay=dict(file='none.pth'))


def test_classifier_of_another_pooling_is_refused(model, tmp_path):
    overlay = dict(file=str(weights.save(model.state_dict(), tmp_path, 'attention56_cifar.own')))
    options = dict(pretrained=True, pretrained_cfg_overlay=overlay, global_pool='catavgmax', **TINY)
    with pytest.raises(ValueError, match='classifier of 256 features do not fit one of 512: give another global_pool'):
        timm.create_model('attention56_cifar', **options)
    assert timm.create_model('attention56_cifar', num_classes=3, **options).head.fc.weight.shape == (3, 512)


def test_weights_of_another_architecture_are_refused(model, tmp_path):
    path = weights.save(model.state_dict(), tmp_path, 'attention56_cifar.own')
    with pytest.raises(ValueError, match=r'weights do not fit attention.*: missing: stages\.'):
        timm.create_model('attention92_cifar', pretrained=True, pretrained_cfg_overlay=dict(file=str(path)), **TINY)


def test_shipped_rows_become_tags(model, tmp_path):
    weights.save(model.state_dict(), tmp_path, 'attention56_cifar.made', num_classes=7, mean=[0.1, 0.2, 0.3])
    made = plug._default_cfgs(weights.index(tmp_path))
    assert list(made['attention56_cifar'].tags) == ['made']
    assert made['attention56_cifar'].is_pretrained
    assert not made['attention92_cifar'].is_pretrained
    cfg = made['attention56_cifar'].default
    assert (cfg.num_classes, cfg.mean, cfg.pool_size) == (7, (0.1, 0.2, 0.3), (8, 8))


def test_damaged_weights_are_refused(model, tmp_path):
    path = weights.save(model.state_dict(), tmp_path, 'attention56_cifar.made')
    row = weights.index(tmp_path)['attention56_cifar.made']
    weights.verify(row['file'], row['sha256'])
    path.write_bytes(path.read_bytes()[:-1] + b'x')
    with pytest.raises(ValueError, match='are damaged or were replaced'):
        weights.verify(row['file'], row['sha256'])
    with pytest.raises(FileNotFoundError, match='do not exist'):
        weights.verify(tmp_path / 'none.safetensors', row['sha256'])


SHIPPED = """
import pathlib, sys, timm, torch
import ranet_mm.weights as weights
folder = pathlib.Path(sys.argv[1])
torch.manual_seed(0)
model = timm.create_model('attention56_cifar').eval()
path = weights.save(model.state_dict(), folder, 'attention56_cifar.made')
for name in [n for n in sys.modules if n.startswith('ranet_mm')]:
    if name != 'ranet_mm.weights':
        del sys.modules[name]
weights.FOLDER = folder
import ranet_mm
assert 'attention56_cifar.made' in timm.list_pretrained()
assert timm.list_models('attention*', pretrained=True) == ['attention56_cifar.made']
images = torch.randn(1, 3, 32, 32)
for name in ('attention56_cifar', 'attention56_cifar.made'):
    assert torch.equal(timm.create_model(name, pretrained=True).eval()(images), model(images))
path.write_bytes(path.read_bytes()[:-1] + b'x')
try:
    timm.create_model('attention56_cifar', pretrained=True)
except ValueError as error:
    print(error)
"""


@pytest.mark.slow('a process that loads each file')
def test_shipped_weights_load_by_tag(tmp_path):
    done = subprocess.run([sys.executable, '-c', SHIPPED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'are damaged or were replaced' in done.stdout


@pytest.mark.parametrize('name', weights.index())
def test_shipped_weights(name):
    row = weights.index()[name]
    weights.verify(row['file'], row['sha256'])
    assert name in timm.list_pretrained()
    assert isinstance(timm.create_model(name, pretrained=True), RANet)


# Documents and scripts ----------------------------------------------------------------------------------


def test_fine_tuning_example_is_short():
    assert len(example_of_fine_tuning().strip().splitlines()) < 30


@pytest.mark.slow('it trains')
def test_fine_tuning_example_learns_the_digits():
    pytest.importorskip('sklearn', reason='scikit-learn is not installed: pip install scikit-learn')
    done = subprocess.run([sys.executable, '-c', example_of_fine_tuning()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(':')[0] for line in lines] == ['epoch 1', 'epoch 2', 'epoch 3']
    assert float(lines[-1].split()[-1].rstrip('%')) > 90


def example_of_fine_tuning():
    text = (ROOT / 'docs/timm.md').read_text(encoding='utf-8')
    return text.split('<!-- run by tests/test_timm.py -->\n```python\n')[1].split('```')[0]


@pytest.mark.slow('processes that import timm')
def test_runner_registers_the_models_for_a_script(tmp_path):
    (tmp_path / 'helper.py').write_text('NAME = "attention56"')
    script = tmp_path / 'script.py'
    script.write_text(
        'import sys, timm, helper; assert __name__ == "__main__"; print(sys.argv, timm.is_model(helper.NAME))'
    )
    done = subprocess.run(
        [sys.executable, '-m', 'ranet_mm.timm.__main__', script, '-x'], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == f'{[str(script), "-x"]} True', done.stderr


@pytest.mark.parametrize(
    ('args', 'sentence'), [([], 'error: name a script'), (['no.py'], "script 'no.py' does not exist")]
)
def test_runner_without_a_script(monkeypatch, args, sentence):
    monkeypatch.setattr(sys, 'argv', ['ranet_mm.timm.__main__', *args])
    with pytest.raises(SystemExit, match=sentence):
        run.main()
