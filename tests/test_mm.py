"""The OpenMMLab plug: backbone, neck and head."""

import subprocess
import sys
from dataclasses import fields
from importlib.util import find_spec

import pytest
import torch
from torch import nn

pytest.importorskip('mmpretrain')

from mmpretrain.registry import MODELS

from ranet_mm import ArchCfg, resolve_arch
from ranet_mm.mm.engine.optim import AutoAmpOptimWrapper, AutocastOptimWrapper, fuse
from ranet_mm.mm.models.backbone import ResidualAttentionNet
from ranet_mm.mm.models.head import ResidualAttentionHead
from ranet_mm.mm.models.neck import ResidualAttentionNeck
from ranet_mm.weights.fit import misfits

SMALL = dict(arch='attention56_cifar', width=0.125, stem_pool=True)
SHAPES = [(2, 16, 16, 16), (2, 32, 8, 8), (2, 64, 4, 4), (2, 128, 4, 4)]


def small(**options):
    torch.manual_seed(0)
    return ResidualAttentionNet(**{**SMALL, **options})


def image(size=32, channels=3):
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))


class TestOutputs:
    @pytest.mark.parametrize('indices', [(0, 1, 2, 3), (-1,), (2, -4), (3,)])
    def test_out_indices(self, indices):
        maps = small(out_indices=indices).eval()(image())
        assert isinstance(maps, tuple)
        assert [tuple(m.shape) for m in maps] == [SHAPES[i] for i in indices]

    def test_shared_norms_are_those_that_read_the_map(self):
        model = small(out_indices=(0, 1, 2, 3)).eval()
        read, first = [], [stage[0] for stage in model.stages[1:]]
        for unit in first:
            unit.conv1.register_forward_pre_hook(lambda _, args: read.append(args[0].clone()))
        maps = model(image())
        assert all(torch.equal(a, b) for a, b in zip(maps, read, strict=False))
        assert torch.equal(maps[3], model.forward_features(image()))
        assert all(m.min() >= 0 for m in maps)

    def test_own_norms(self):
        model, shared = (small(out_indices=(0, 2, 3), out_norm=name).eval() for name in ('own', 'shared'))
        assert set(model.state_dict()) - set(shared.state_dict()) == {
            f'norm{i}.{k}' for i in (0, 2) for k in nn.BatchNorm2d(1).state_dict()
        }
        assert [model.norm0.num_features, model.norm2.num_features] == [16, 64]
        model.load_state_dict(shared.state_dict(), strict=False)
        for stage in (0, 2):
            getattr(model, f'norm{stage}').load_state_dict(shared.stages[stage + 1][0].norm1.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(model(image()), shared(image()), strict=True))

    def test_raw_maps(self):
        model = small(out_indices=(0, 1, 2, 3), out_norm='none').eval()
        assert all(torch.equal(a, b) for a, b in zip(model(image()), model.forward_stages(image()), strict=True))

    @pytest.mark.parametrize(
        ('kinds', 'out_norm', 'normed'),
        [('aAaA', 'shared', [1]), ('aAaA', 'own', [0, 2]), ('aaAA', 'shared', [0]), ('aaAA', 'own', [0, 1])],
    )
    def test_maps_of_activated_units_are_returned_as_they_are(self, kinds, out_norm, normed):
        unit = tuple(dict(a='type1', A='resnext')[kind] for kind in kinds)  # A ends with its activation
        model, images = small(unit=unit, width=0.5, out_indices=(0, 1, 2, 3), out_norm=out_norm), image().double()
        model.double().eval()
        maps, raw = model(images), model.forward_stages(images)
        assert [i for i in range(4) if not torch.equal(maps[i], raw[i])] == normed
        model.switch_to_deploy()
        with torch.inference_mode():
            for before, after in zip(maps, model(images), strict=True):
                torch.testing.assert_close(after, before)

    def test_unknown_norm_is_refused(self):
        with pytest.raises(ValueError, match="out_norm='pre' is not allowed: it must be one of shared, own, none"):
            small(out_norm='pre')

    @pytest.mark.parametrize('indices', [(4,), (-5,), ()])
    def test_indices_out_of_range_are_refused(self, indices):
        with pytest.raises(ValueError, match=r'out_indices=.* each must be from -4 to 3'):
            small(out_indices=indices)

    def test_input_of_other_channels(self):
        assert small(in_channels=5).eval()(image(33, 5))[0].shape[0] == 2
        with pytest.raises(ValueError, match=r'\(N, 3, H, W\) is expected'):
            small()(image(32, 5))


class TestFreezing:
    @pytest.mark.parametrize('frozen', [-1, 0, 2, 4])
    def test_frozen_stages_keep_weights_and_statistics(self, frozen):
        model = small(frozen_stages=frozen).train()
        parts = [model.stem, *model.stages]
        before = [{k: v.clone() for k, v in part.state_dict().items()} for part in parts]
        model(image().requires_grad_())[0].sum().backward()
        for i, (part, old) in enumerate(zip(parts, before, strict=True)):
            is_frozen = i <= frozen
            assert all((p.grad is None) == is_frozen for p in part.parameters())
            statistics = [k for k in old if k.endswith('running_mean')]
            assert all(torch.equal(part.state_dict()[k], old[k]) == is_frozen for k in statistics)
        assert model.norm.weight.requires_grad == (frozen < 4)

    def test_out_of_range_is_refused(self):
        with pytest.raises(ValueError, match='frozen_stages=5 is not allowed: it must be from -1 to 4'):
            small(frozen_stages=5)

    def test_norm_eval_fixes_statistics_but_trains_weights(self):
        model = small(norm_eval=True).train()
        assert model.training
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert not any(norm.training for norm in norms)
        assert all(norm.weight.requires_grad for norm in norms)

    def test_train_and_eval_return_the_model(self):
        model = small()
        assert model.train() is model
        assert model.eval() is model
        assert not any(m.training for m in model.modules())


@pytest.mark.parametrize('out_norm', ['shared', 'own', 'none'])
def test_every_trained_parameter_gets_a_gradient(out_norm):
    model = small(out_indices=(0, 1, 2, 3), out_norm=out_norm).train()
    sum(m.square().sum() for m in model(image())).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == [name for name, p in model.named_parameters() if not p.requires_grad]
    assert missing == (['norm.weight', 'norm.bias'] if out_norm == 'none' else [])


@pytest.mark.parametrize('out_norm', ['shared', 'own', 'none'])
@pytest.mark.parametrize('indices', [(0,), (1, 0), (0, 1, 2), (2, 3)])
def test_what_is_trainable_gets_a_gradient(indices, out_norm):
    model = small(out_indices=indices, out_norm=out_norm).train()
    ran = []
    for number, stage in enumerate(model.stages):
        stage.register_forward_hook(lambda *_, number=number: ran.append(number))
    sum(m.square().sum() for m in model(image())).backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())
    assert ran == list(range(max(indices) + 1))
    last = max(indices)
    if last < 3:  # the norm of the stage behind is trained where the map takes it
        assert model.stages[last + 1][0].norm1.weight.requires_grad == (out_norm == 'shared')
    model.load_state_dict(small().state_dict(), strict=out_norm != 'own')  # keys are those of the whole network


def test_checkpointing_changes_neither_outputs_nor_gradients():
    models = [small(with_cp=with_cp).train().double() for with_cp in (False, True)]
    for model in models:
        model(image().double())[0].square().sum().backward()
    for a, b in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    assert torch.equal(*(m.eval()(image().double())[0] for m in models))


class TestOptions:
    CHANGES = dict(
        modules=(2, 1, 1), widths=(64, 256, 512), strides=(2, 2, 2), mask_pools=(1, 1, 1), post_width=512, post_units=2,
        post_stride=2, stem_width=128, stem_kernel=5, stem_stride=2, stem_pool=False, p=2, t=1, r=2, unit='type2',
        always_project=True, attention='channel', learning='naive', mask='local', upsample='nearest', width=0.25,
        flatten=True, compat='tengshaofeng', img_size=64,
    )  # fmt: skip
    NEEDS = dict(mask=dict(mask_pools=(0, 0, 0)))
    # Of these, a backbone passes on what a classifier or a table of models reads.
    WITHOUT_EFFECT = ('flatten', 'img_size')

    def test_every_field_is_tried(self):
        assert set(self.CHANGES) == {f.name for f in fields(ArchCfg)}

    @pytest.mark.parametrize('name', CHANGES)
    def test_field_reaches_the_network(self, name):
        needed = self.NEEDS.get(name, {})
        model, plain = small(**needed, **{name: self.CHANGES[name]}).eval(), small(**needed).eval()
        assert getattr(model.arch, name) == self.CHANGES[name] != getattr(plain.arch, name)
        if name not in self.WITHOUT_EFFECT:
            assert differ(model, plain)

    def test_arch_as_a_mapping(self):
        assert small(arch=dict(base='attention92_cifar', p=2)).arch == resolve_arch(
            'attention92_cifar', p=2, width=0.125, stem_pool=True
        )

    def test_unknown_option(self):
        with pytest.raises(TypeError, match="'depht' is not an option of the network: allowed are modules"):
            small(depht=3)

    def test_norm_and_activation(self):
        model = small(norm_cfg=dict(type='GN', num_groups=4), act_cfg=dict(type='GELU'))
        kinds = {type(m) for m in model.modules()}
        assert {nn.GroupNorm, nn.GELU} <= kinds
        assert not {nn.BatchNorm2d, nn.ReLU} & kinds

    def test_synchronized_batch_norm(self):
        plain, model = small().eval(), small(norm_cfg=dict(type='SyncBN')).eval()
        assert sum(isinstance(m, nn.SyncBatchNorm) for m in model.modules()) == sum(
            isinstance(m, nn.BatchNorm2d) for m in plain.modules()
        )
        model.load_state_dict(plain.state_dict())
        assert torch.equal(model(image())[0], plain(image())[0])
        assert not small(norm_cfg=dict(type='SyncBN'), norm_eval=True).train().stem.norm.training

    def test_group_norm_has_no_statistics_to_freeze(self):
        model = small(norm_cfg=dict(type='GN', num_groups=4), norm_eval=True, frozen_stages=1).train()
        assert not list(model.buffers())
        assert [p.requires_grad for p in (model.stem.norm.weight, model.norm.weight)] == [False, True]

    def test_frozen_norm(self):
        model = small(norm_cfg=dict(type='BN', requires_grad=False))
        assert not model.norm.weight.requires_grad
        assert model.stem.conv.weight.requires_grad


def differ(a, b):
    """Whether two networks have other weights or, with equal weights, other outputs."""
    if misfits(a.state_dict(), b.state_dict()):
        return True
    a.load_state_dict(b.state_dict())
    x, y = a(image())[0], b(image())[0]
    return x.shape != y.shape or not torch.equal(x, y)


class TestStrides:
    @pytest.mark.parametrize(
        ('layout', 'sides'),
        [
            (dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)), (16, 8, 8, 8)),
            (dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)), (16, 8, 4, 4)),
            (dict(strides=[1, 1, 1], post_stride=1), (16, 16, 16, 16)),
            (dict(output_stride=8), (16, 8, 8, 8)),
            (dict(output_stride=16), (16, 8, 4, 4)),
        ],
        ids=str,
    )
    def test_maps_and_weights(self, layout, sides):
        strided = small(arch='attention56')
        dilated = small(arch='attention56', out_indices=(0, 1, 2, 3), **layout).eval()
        dilated.load_state_dict(strided.state_dict())
        assert tuple(m.shape[-1] for m in dilated(image(64))) == sides

    def test_an_entry_for_each_stage(self):
        two = dict(base='attention56', modules=(1, 2), widths=(64, 64), strides=(1, 1), mask_pools=(1, 1))
        model = small(arch=two, strides=(1, 2, 1))
        assert (model.arch.strides, model.arch.post_stride) == ((1, 2), 1)
        with pytest.raises(ValueError, match=r'strides=\(1, 2, 1, 1, 1\) is not allowed: it must have 3 entries'):
            small(strides=(1, 2, 1, 1, 1))


class TestNeckAndHead:
    def test_average_and_flatten(self):
        maps = (torch.arange(24.0).view(2, 3, 2, 2),)
        assert torch.equal(ResidualAttentionNeck()(maps)[0], maps[0].mean((2, 3)))
        assert ResidualAttentionNeck('flatten')(maps)[0].shape == (2, 12)
        with pytest.raises(ValueError, match="mode='max' is not allowed: it must be one of avg, flatten"):
            ResidualAttentionNeck('max')

    def test_dropout_is_for_training(self):
        head = ResidualAttentionHead(3, 64, dropout=0.5)
        features = (torch.ones(2, 64),)
        assert not torch.equal(head.train()(features), head(features))
        assert torch.equal(head.eval()(features), head.fc(features[0]))
        with pytest.raises(ValueError, match='dropout=1 is not allowed'):
            ResidualAttentionHead(3, 64, dropout=1)

    @pytest.mark.parametrize('loss', [dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=3),
                                      dict(type='FocalLoss'), dict(type='CrossEntropyLoss')])  # fmt: skip
    def test_any_loss_of_mmpretrain(self, loss):
        from mmpretrain.structures import DataSample

        classifier = build_classifier(loss=loss)
        samples = [DataSample().set_gt_label(label) for label in (0, 2)]
        value = classifier(image(), samples, mode='loss')['loss']
        value.backward()
        assert value.isfinite()
        assert classifier.head.fc.weight.grad.any()

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_scores_have_single_precision_at_least(self, dtype):
        head = MODELS.build(dict(type='ranet_mm.ResidualAttentionHead', num_classes=10, in_channels=16)).to(dtype)
        scores = torch.stack([sample.pred_score for sample in head.predict((torch.randn(3, 16, dtype=dtype),))])
        assert scores.dtype == (dtype if dtype == torch.float64 else torch.float32)
        assert torch.allclose(scores.sum(1), torch.ones(3, dtype=scores.dtype), atol=1e-6)

    def test_another_number_of_features_is_named(self):
        head = MODELS.build(dict(type='ranet_mm.ResidualAttentionHead', num_classes=10, in_channels=16))
        with pytest.raises(ValueError, match=r'^24 features are not allowed: in_channels=16 of the head'):
            head((torch.randn(3, 24),))

    def test_keys(self):
        keys = set(build_classifier().state_dict())
        assert keys == {f'backbone.{k}' for k in small().state_dict()} | {'head.fc.weight', 'head.fc.bias'}


def build_classifier(**head):
    return MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='ranet_mm.ResidualAttentionNet', **SMALL),
            neck=dict(type='ranet_mm.ResidualAttentionNeck'),
            head=dict(type='ranet_mm.ResidualAttentionHead', num_classes=3, in_channels=128, **head),
        )
    )


@pytest.mark.slow('a process for each library')
@pytest.mark.parametrize('library', ['mmpretrain', 'mmseg', 'mmdet'])
def test_builds_in_other_libraries_without_custom_imports(library):
    if find_spec(library) is None:
        pytest.skip(f'{library} is not installed: the extras mm, seg and det bring mmpretrain, mmseg and mmdet')
    if library == 'mmdet' and find_spec('mmcv._ext') is None:
        pytest.skip('mmdet needs the compiled operators of mmcv, and this mmcv has none: build onedl-mmcv with them')
    code = (
        f'from {library}.registry import MODELS\n'
        f'from {library}.utils import register_all_modules\n'
        'register_all_modules()\n'
        "net = MODELS.build(dict(type='ranet_mm.ResidualAttentionNet', arch='attention56_cifar', width=0.125))\n"
        'print(type(net).__module__)\n'
    )
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ['ranet_mm.mm.models.backbone'], done.stderr


class TestFusedSGD:
    OPTIONS = dict(lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)

    def stepped(self, optimizer, steps):
        for _ in range(steps):
            for p in optimizer.param_groups[0]['params']:
                p.grad = torch.sin(7 * p.detach())
            optimizer.step()
        return optimizer.param_groups[0]['params']

    def made(self, mended, **options):
        torch.manual_seed(0)
        optimizer = torch.optim.SGD([nn.Parameter(torch.randn(65)), nn.Parameter(torch.randn(3, 7))], **options)
        if mended:
            fuse(optimizer)
        return optimizer

    def test_values_are_those_of_plain_steps(self):
        plain, fused = (self.made(fused, **self.OPTIONS) for fused in (False, True))
        assert [g['fused'] for g in (*plain.param_groups, *fused.param_groups)] == [None, True]
        torch.testing.assert_close(self.stepped(plain, 5), self.stepped(fused, 5))

    @pytest.mark.parametrize(('saved', 'loaded'), [(False, True), (True, False), (True, True)])
    def test_states_of_both_kinds_go_on(self, saved, loaded):
        first, then, whole = (self.made(fused, **self.OPTIONS) for fused in (saved, loaded, False))
        for ours, theirs in zip(then.param_groups[0]['params'], self.stepped(first, 2), strict=True):
            ours.data.copy_(theirs.data)
        then.load_state_dict(first.state_dict())
        assert then.param_groups[0]['fused'] is True
        torch.testing.assert_close(self.stepped(then, 2), self.stepped(whole, 4))

    @pytest.mark.parametrize('options', [dict(fused=False), dict(foreach=True), dict(foreach=False)])
    def test_what_a_config_says_stays(self, options):
        kept = self.made(True, **self.OPTIONS, **options)
        assert {name: kept.param_groups[0][name] for name in options} == options
        assert not kept.param_groups[0]['fused']


class TestMixedPrecision:
    def optimizer(self):
        return torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)

    @pytest.mark.parametrize(('native', 'dtype'), [(True, torch.bfloat16), (False, None)])
    def test_choice_on_a_cpu(self, monkeypatch, native, dtype):
        monkeypatch.setattr('ranet_mm.mm.engine.optim.get_device', lambda: 'cpu')
        monkeypatch.setattr('torch.ops.mkldnn._is_mkldnn_bf16_supported', lambda: native)
        wrapper = AutoAmpOptimWrapper(optimizer=self.optimizer())
        assert getattr(wrapper, 'dtype', None) == dtype

    @pytest.mark.parametrize(('name', 'dtype'), [('bfloat16', torch.bfloat16), ('float32', None)])
    @pytest.mark.parametrize('native', [True, False])
    def test_another_than_the_fastest(self, monkeypatch, native, name, dtype):
        monkeypatch.setattr('torch.ops.mkldnn._is_mkldnn_bf16_supported', lambda: native)
        monkeypatch.setattr('ranet_mm.mm.engine.optim.get_device', lambda: 'cpu')
        wrapper = AutoAmpOptimWrapper(optimizer=self.optimizer(), dtype=name)
        assert getattr(wrapper, 'dtype', None) == dtype

    @pytest.mark.parametrize('name', ['float16', 'half', 16])
    def test_precisions_that_are_none(self, monkeypatch, name):
        monkeypatch.setattr('ranet_mm.mm.engine.optim.get_device', lambda: 'cpu')
        said = f'^optim_wrapper.dtype={name!r} is not allowed on cpu: it must be float32 or bfloat16, or left out$'
        with pytest.raises(ValueError, match=said):
            AutoAmpOptimWrapper(optimizer=self.optimizer(), dtype=name)

    def test_autocast_computes_in_its_type(self):
        wrapper = AutocastOptimWrapper(optimizer=self.optimizer(), dtype=torch.bfloat16)
        layer = nn.Linear(2, 2)
        with wrapper.optim_context(layer):
            assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
        assert layer(torch.ones(1, 2)).dtype == torch.float32
