"""Numbers: losses that are none, gradients, masks, and what half precision holds."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ranet_mm import arch, layers
from ranet_mm.network import RANetFeatures

hypothesis = pytest.importorskip('hypothesis', reason='inputs of masks are drawn by hypothesis')
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as arrays  # noqa: E402

TINY = dict(
    modules=(1,), widths=(8,), strides=(1,), mask_pools=(2,), post_width=8, post_units=1, post_stride=1, stem_width=8,
    stem_kernel=3, stem_stride=1, stem_pool=False, img_size=32,
)  # fmt: skip
HALF = 65504  # the greatest number of float16


# Gradients ----------------------------------------------------------------------------------------------


def tiny(**options):
    """A network of 8 channels, or as few as its units take, smooth, without statistics of a batch."""
    torch.manual_seed(0)
    chs = dict(resnext=64, type1=8, type2=8).get(options.get('unit', 'type1'), 32)
    fields = TINY | dict(widths=(chs,), post_width=chs) | options
    net = RANetFeatures(fields, norm_layer=lambda chs: nn.GroupNorm(1, chs), act_layer=nn.Softplus).double()
    net.min_size = 1
    return net


@pytest.mark.parametrize('attention', arch.ATTENTION)
@pytest.mark.parametrize('learning', arch.LEARNING)
@pytest.mark.parametrize('unit', ['type1', 'resnext'])
def test_gradients_of_attention(attention, learning, unit):
    check(tiny(attention=attention, learning=learning, unit=unit))


@pytest.mark.parametrize('unit', arch.UNITS)
def test_gradients_of_units(unit):
    check(tiny(unit=unit))


@pytest.mark.parametrize('options', [*(dict(upsample=u) for u in arch.UPSAMPLE), dict(mask='local', mask_pools=(0,))])
def test_gradients_of_masks(options):
    check(tiny(**options))


def check(net):
    """By finite differences: of the input, and of a weight of each kind of place in the mask."""
    names = ['stages.0.1.mask.conv2.weight', 'stages.0.1.trunk.0.conv3.weight']
    image = torch.randn(1, 3, 5, 4, dtype=torch.double, requires_grad=True)
    ends = [net.get_parameter(name).flatten()[:4].detach().clone().requires_grad_() for name in names]
    whole = {name: value.detach() for name, value in net.state_dict().items()}

    def run(image, *ends):
        pairs = zip(names, ends, strict=True)
        changed = {name: torch.cat([end, whole[name].flatten()[4:]]).view_as(whole[name]) for name, end in pairs}
        return torch.func.functional_call(net, whole | changed, (image,)).mean((2, 3))

    assert torch.autograd.gradcheck(run, (image, *ends), fast_mode=True)


# Masks --------------------------------------------------------------------------------------------------

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**60), max_value=2.0**60)
MAPS = arrays.arrays(np.float32, st.tuples(*(st.integers(1, 4) for _ in range(4))), elements=FLOATS)


@pytest.mark.parametrize(('attention', 'least'), [('mixed', 0), ('spatial', 0), ('channel', -1)])
@given(maps=MAPS)
@settings(deadline=None)
def test_masks_stay_in_range(attention, least, maps):
    mask = layers.ATTENTION[attention](torch.from_numpy(maps))
    assert mask.shape == maps.shape
    assert ((least - 1e-6 <= mask) & (mask <= 1 + 1e-6)).all()


# Half precision -----------------------------------------------------------------------------------------


def greatest(name, images):
    """The greatest value that a module of a network gives, with the statistics of the images as in training."""
    torch.manual_seed(0)
    net, found = RANetFeatures(name).train(), []
    for module in net.modules():
        module.register_forward_hook(lambda module, args, output: found.append(output.detach().abs().max().item()))
    with torch.no_grad():
        net(images)
    return max(found)


def photos(size):
    from sklearn.datasets import load_sample_images

    found = [torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() for image in load_sample_images().images]
    found = torch.nn.functional.interpolate(torch.cat(found), size=(size, size), mode='area')
    return (found / 255 - 0.45) / 0.22


@pytest.mark.slow('the deepest networks, for half a minute')
@pytest.mark.parametrize('name', arch.ARCHS)
def test_no_activation_is_beyond_half_precision(name):
    pytest.importorskip('sklearn')
    assert greatest(name, photos(64 if arch.ARCHS[name].flatten is False else arch.ARCHS[name].img_size)) < HALF / 8


# Gradients over depth ------------------------------------------------------------------------------------


class TestGradientNorms:
    def test_the_log_has_those_of_each_part(self, write_config, monkeypatch):
        pytest.importorskip('mmpretrain')
        from ranet_mm.cli import train

        step, seen = torch.optim.SGD.step, []

        def watched(optimizer, *args, **kwargs):
            seen.append([p.grad.double().norm().item() for g in optimizer.param_groups for p in g['params']])
            return step(optimizer, *args, **kwargs)

        monkeypatch.setattr(torch.optim.SGD, 'step', watched)
        hook = "custom_hooks = [*_base_.custom_hooks, dict(type='ranet_mm.GradientNormHook', interval=2)]\n"
        assert train.main([write_config(hook), '--work-dir', 'run', '--cfg-options', 'train_cfg.max_epochs=1']) == 0
        lines = [json.loads(x) for f in Path('run').rglob('scalars.json') for x in f.read_text().splitlines()]
        told = {line['step']: line for line in lines if 'gradient/stem' in line}
        assert [*told] == [2, 4, 6]
        for number, line in told.items():
            parts = {key: norm for key, norm in line.items() if key.startswith('gradient/')}
            stages = [norm for key, norm in parts.items() if 'stages' in key]
            assert {'gradient/stages.0.1', 'gradient/stages.2.1', 'gradient/head'} <= {*parts}
            assert (parts.pop('gradient/least'), parts.pop('gradient/most')) == (min(stages), max(stages))
            assert math.hypot(*parts.values()) == pytest.approx(math.hypot(*seen[number - 1]), rel=1e-5)

    @pytest.mark.slow('gradients of the deepest networks')
    @pytest.mark.parametrize('name', ['attention56_cifar', 'attention452_cifar'])
    def test_they_do_not_vanish_over_depth(self, name):
        """On the way back from the last stage to the first, before the first step; they grow with depth there."""
        pytest.importorskip('sklearn')
        torch.manual_seed(0)
        net = RANetFeatures(name)
        images = torch.cat([photos(32), torch.randn(6, 3, 32, 32)])
        net(images).mean((2, 3)).square().sum().backward()
        parts = {}
        for key, value in net.named_parameters():
            if key.startswith('stages.'):
                parts.setdefault(key.split('.')[1], []).append(value.grad.norm().item())
        norms = [math.hypot(*found) for found in parts.values()]
        assert math.isfinite(max(norms))
        assert min(norms) == norms[-1] > 0


@pytest.mark.parametrize('name', ['attention56_cifar.digits', 'attention56_cifar.cifar10', 'attention92_cifar.cifar10'])
def test_weights_that_ship_answer_in_half_precision(name):
    """As in single precision, on photographs."""
    timm = pytest.importorskip('timm')
    pytest.importorskip('sklearn')
    import ranet_mm.timm  # noqa: F401

    model = timm.create_model(name, pretrained=True).eval()
    channels, side, _ = model.pretrained_cfg['input_size']
    images = photos(side)[:, :channels]
    with torch.no_grad():
        whole = model(images).softmax(1)
        half = model.half()(images.half()).float().softmax(1)
    assert half.isfinite().all()
    assert (whole - half).abs().max() < 0.02


# A loss that is no number -------------------------------------------------------------------------------


class TestLoss:
    @pytest.fixture(autouse=True)
    def _mm(self):
        pytest.importorskip('mmpretrain')

    def run(self, write_config, more):
        from test_continuing import SMALL
        from test_tools import PLAIN

        from ranet_mm.cli import train

        return train.main([write_config(SMALL + PLAIN + more), '--work-dir', 'run', '--no-test'])

    def test_the_first_module_is_named(self, write_config, capsys, monkeypatch):
        self.spoil(monkeypatch, 'stages.0.1.trunk', {3})
        assert self.run(write_config, '') == 1
        err = capsys.readouterr().err
        assert 'the loss is nan by iteration 3, with a learning rate of ' in err
        assert 'not finite first: the output of backbone.stages.0.1.trunk.0;' in err
        assert '; no checkpoint is there: lower optim_wrapper.optimizer.lr' in err

    def spoil(self, monkeypatch, place, steps):
        """Have a place of the network give no numbers in the steps of these numbers."""
        from ranet_mm.mm.models.backbone import ResidualAttentionNet

        forward, count = ResidualAttentionNet.forward, [0]

        def spoilt(net, x):
            if net.training and torch.is_grad_enabled():
                count[0] += 1
            unit = net.get_submodule(place)[0]
            unit.forward = lambda x: type(unit).forward(unit, x) * (float('nan') if count[0] in steps else 1)
            return forward(net, x)

        monkeypatch.setattr(ResidualAttentionNet, 'forward', spoilt)

    def test_steps_are_left_out_where_that_is_asked_for(self, write_config, monkeypatch):
        self.spoil(monkeypatch, 'stages.0.1.trunk', {2, 3})
        record = "h['type'] == 'ranet_mm.RecordHook'"
        skip = f'custom_hooks = [dict(h, skip=2) if {record} else h for h in _base_.custom_hooks]\n'
        assert self.run(write_config, skip) == 0
        saved = torch.load(next(Path('run').glob('epoch_*.pth')), weights_only=False)
        assert all(v.isfinite().all() for v in saved['state_dict'].values())
