"""What keeps an accelerator busy: nothing in a step waits for it, and nothing is done for single images."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip('mmpretrain')

from mmengine.logging import MessageHub
from mmengine.model import ExponentialMovingAverage as MMEngineEMA
from mmengine.optim import OptimWrapper
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample

from ranet_mm.cli import train
from ranet_mm.compiling import compile_units
from ranet_mm.mm.data.labels import Labels
from ranet_mm.mm.engine import finite
from ranet_mm.mm.engine.ema import ExponentialMovingAverage
from ranet_mm.mm.engine.hooks import runtime_info
from ranet_mm.mm.engine.hooks.runtime_info import RuntimeInfoHook
from ranet_mm.mm.engine.loops import ResumableTrainLoop
from ranet_mm.mm.engine.optim import AutoAmpOptimWrapper, PlainOptimWrapper, merge_groups
from ranet_mm.mm.models.head import ResidualAttentionHead


@pytest.fixture
def best(device_config):
    """The recipe with everything in it."""
    return device_config('best', 'optim_wrapper = dict(clip_grad=dict(max_norm=1.0))\n')


class Waits(TorchDispatchMode):
    """Counts what a processor would wait for a device at."""

    OPS = 'aten::_local_scalar_dense', 'aten::nonzero', 'aten::is_nonzero', 'aten::equal'

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen[func._schema.name] += func._schema.name in self.OPS
        return func(*args, **(kwargs or {}))


@pytest.mark.slow('a run of the longest recipe')
def test_nothing_waits_inside_an_epoch(best, monkeypatch):
    """Every step of the recipe with mixing, strong augmentation, clipping, averages and logs."""
    waits, run_iter, late = Waits(), ResumableTrainLoop.run_iter, []

    def counted(self, *args):
        with waits:
            run_iter(self, *args)

    def fetch(values):
        late.append(len(values))
        return torch.stack([v.detach().float().reshape(()) for v in values]), lambda wait: wait

    monkeypatch.setattr(ResumableTrainLoop, 'run_iter', counted)
    for module in (runtime_info, finite):
        monkeypatch.setattr(module, 'on_host', lambda value: False)
    monkeypatch.setattr(runtime_info, 'fetch', fetch)
    assert train.main([best, '--debug']) == 0
    assert waits.seen.total() == 18 and len(waits.seen) > 50  # the step of the average, which lies on the host
    assert late == [2] * 18  # the loss and the norm of the gradients
    record = json.loads(Path('work_dirs/best_tiny/record.json').read_text())
    assert [point['loss'] > 0 for point in record['curve']] == [True] * 6


def test_scalars_arrive_late_and_in_order(monkeypatch):
    hub, hook, there = MessageHub.get_instance('late'), RuntimeInfoHook(), []
    runner = SimpleNamespace(message_hub=hub, optim_wrapper=SimpleNamespace(later={}))
    monkeypatch.setattr(runtime_info, 'on_host', lambda value: not isinstance(value, torch.Tensor))
    monkeypatch.setattr(runtime_info, 'fetch', lambda values: (torch.stack(values), lambda wait: wait or bool(there)))
    for step in range(3):
        runner.optim_wrapper.later['grad_norm'] = torch.tensor(10.0 + step)
        hook.after_train_iter(runner, step, outputs=dict(loss=torch.tensor(float(step))))
    assert 'train/loss' not in hub.log_scalars and not runner.optim_wrapper.later
    there.append(1)
    hook.after_train_iter(runner, 3, outputs=dict(loss=torch.tensor(3.0), count=7))
    assert hub.get_scalar('train/loss').data[0].tolist() == [0, 1, 2, 3]
    assert hub.get_scalar('train/grad_norm').data[0].tolist() == [10, 11, 12]
    assert hub.get_scalar('train/count').current() == 7
    there.clear()
    hook.after_train_iter(runner, 4, outputs=dict(loss=torch.tensor(4.0)))
    assert hub.get_scalar('train/loss').current() == 3
    hook.after_train_epoch(runner)
    assert hub.get_scalar('train/loss').current() == 4


class TestGroups:
    def groups(self):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        decayed = [dict(params=[p], weight_decay=5e-4 * (p.dim() > 1)) for p in model.parameters()]
        return model, torch.optim.SGD(decayed, lr=0.1, momentum=0.9)

    def test_equal_options_share_a_group(self):
        model, optimizer = self.groups()
        merge_groups(optimizer)
        assert [len(group['params']) for group in optimizer.param_groups] == [2, 6]
        merged = {id(p) for group in optimizer.param_groups for p in group['params']}
        assert merged == {id(p) for p in model.parameters()}

    def test_steps_are_the_same(self):
        found = []
        for merge in (False, True):
            torch.manual_seed(0)
            model, optimizer = self.groups()
            if merge:
                merge_groups(optimizer)
            for _ in range(3):
                model(torch.randn(2, 3, 8, 8)).square().mean().backward()
                optimizer.step()
            found.append(model.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in found), strict=True))

    def test_the_wrapper_of_the_recipes_merges(self):
        wrapper = AutoAmpOptimWrapper(optimizer=self.groups()[1])
        assert len(wrapper.optimizer.param_groups) == 2


@pytest.mark.parametrize('clip', [dict(max_norm=0.01), dict(clip_value=0.001, type='value')])
def test_clipping_is_that_of_mmengine(clip):
    found = []
    for kind, later in ((OptimWrapper, None), (PlainOptimWrapper, None), (PlainOptimWrapper, {})):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        wrapper = kind(torch.optim.SGD(model.parameters(), 0.1), clip_grad=dict(clip))
        wrapper.later = later
        wrapper.update_params(model(torch.randn(4, 3)).square().sum())
        found.append((model.weight.detach(), later))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][0], found[2][0])
    assert found[2][1].keys() == (set() if 'type' in clip else {'grad_norm'})


@pytest.mark.parametrize('update_buffers', [False, True])
def test_averages_are_those_of_mmengine(update_buffers):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    kinds = MMEngineEMA, ExponentialMovingAverage
    averages = [kind(model, 0.3, interval=2, update_buffers=update_buffers) for kind in kinds]
    for _ in range(5):
        model(torch.randn(2, 3, 8, 8))
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        for average in averages:
            average.update_parameters(model)
    ours, theirs = (average.state_dict() for average in reversed(averages))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


class TestLabels:
    def test_are_the_samples_of_mmpretrain(self):
        labels, scores = torch.tensor([2, 0, 1]), torch.eye(3)[[2, 0, 1]] * 0.9
        for sample, label, score in zip(Labels(labels, scores), labels, scores, strict=True):
            assert isinstance(sample, DataSample)
            assert sample.gt_label.equal(label.view(1)) and sample.gt_score.equal(score)
        assert 'gt_score' not in Labels(labels)[-1] and Labels(labels)[-1].gt_label.tolist() == [1]

    @pytest.mark.parametrize('soft', [False, True])
    @pytest.mark.parametrize(
        'loss', [dict(type='CrossEntropyLoss'), dict(type='LabelSmoothLoss', label_smooth_val=0.1)]
    )
    def test_loss_is_that_of_single_samples(self, soft, loss):
        torch.manual_seed(0)
        ours, theirs = (
            kind(num_classes=3, in_channels=8, loss=dict(loss)) for kind in (ResidualAttentionHead, LinearClsHead)
        )
        theirs.load_state_dict(ours.state_dict())
        labels = Labels(torch.tensor([2, 0, 1, 1]), torch.rand(4, 3).softmax(1) if soft else None)
        feats = (torch.randn(4, 8),)
        assert ours.loss(feats, labels)['loss'].equal(theirs.loss(feats, list(labels))['loss'])

    def test_predictions_are_in_full_precision(self):
        head = ResidualAttentionHead(num_classes=3, in_channels=8)
        scores = torch.tensor([[1.0, 2.0, 4.0]])
        (half,), (full,) = (head._get_predictions(s, None) for s in (scores.bfloat16(), scores))
        assert half.pred_score.equal(full.pred_score) and half.pred_score.dtype == torch.float32


class TestCompile:
    @pytest.mark.slow('a compiler, and two epochs')
    def test_once_for_each_shape(self, best):
        """Neither the last batch, of 2 images, nor validation, nor the second epoch compiles anything once more."""
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        assert train.main([best, '--debug', '--cfg-options', 'compile.backend=eager']) == 0
        counters = torch._dynamo.utils.counters
        # 3 stages open with a unit, as the post stage does; full size, and each pooled size once; units after the first
        assert counters['stats']['unique_graphs'] == counters['frames']['total'] == 11
        state = torch.load('work_dirs/best_tiny/epoch_6.pth', weights_only=False)['state_dict']  # our own run's
        assert 'backbone.stages.0.0.conv1.weight' in state and not any('_orig_mod' in key for key in state)

    def test_a_network_without_units_is_refused(self):
        model = nn.Module()
        model.backbone = nn.Linear(2, 2)
        with pytest.raises(ValueError, match='compile=True is not allowed with a backbone of type Linear'):
            compile_units(model, 4, {})
