"""Hooks that change what the network is trained on."""

import logging
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmpretrain')
Config = pytest.importorskip('mmengine.config').Config
Runner = pytest.importorskip('mmengine.runner').Runner
ProgressiveResizeHook = pytest.importorskip('ranet_mm.mm.engine.hooks').ProgressiveResizeHook
from ranet_mm.mm.engine import console  # noqa: E402
from ranet_mm.mm.engine.runner import Runner as OwnRunner  # noqa: E402


class Sides(torch.nn.Module):
    """A classifier's stand-in that notes the side of each batch."""

    def __init__(self, size=None):
        super().__init__()
        self.data_preprocessor = torch.nn.Module()
        if size:
            self.data_preprocessor.size = size
        self.min_size = 32


class FakeRunner:
    """At an iteration of a run of 100 epochs, 10 iterations each."""

    def __init__(self, iteration=0, **kwargs):
        self.iter, self.max_epochs, self.max_iters = iteration, 100, 1000
        self.model, self.logger = Sides(**kwargs), logging.getLogger(__name__)


@pytest.mark.parametrize(('epoch', 'side'), [(0, 16), (3, 16), (4, 24), (7, 24), (8, 32), (99, 32)])
def test_pictures_get_the_side_of_the_epoch(epoch, side):
    hook, runner = ProgressiveResizeHook([(0, 16), (4, 24), (8, 32)]), FakeRunner(10 * epoch)
    batch = dict(inputs=[torch.full((3, 32, 32), 77, dtype=torch.uint8) for _ in range(2)])
    hook.before_train_iter(runner, 0, batch)
    assert [tuple(image.shape) for image in batch['inputs']] == [(3, side, side)] * 2
    assert all((image == 77).all() and image.dtype == torch.uint8 for image in batch['inputs'])


@pytest.mark.parametrize(('iteration', 'side'), [(70, 16), (74, 16), (75, 32), (79, 32)])
def test_the_side_changes_inside_an_epoch(iteration, side):
    hook, runner = ProgressiveResizeHook([(0, 16), (7.5, 32)]), FakeRunner(iteration, size=99)
    hook.before_train_iter(runner, 0)
    assert runner.model.data_preprocessor.size == side


def test_each_change_is_logged_once(caplog):
    hook, runner = ProgressiveResizeHook([(0, 16), (0.5, 32)]), FakeRunner(size=99)
    with caplog.at_level('INFO'):
        for runner.iter in range(10):
            hook.before_train_iter(runner, 0)
    assert [record.message for record in caplog.records] == [
        'from iteration 1: pictures of 16 pixels a side',
        'from iteration 6: pictures of 32 pixels a side',
    ]


def test_a_preprocessor_that_makes_its_own_pictures_is_told_the_side():
    hook, runner, batch = ProgressiveResizeHook([(0, 16), (1, 32)]), FakeRunner(size=32), dict(inputs='untouched')
    hook.before_train_iter(runner, 0, batch)
    assert runner.model.data_preprocessor.size == 16
    assert batch == dict(inputs='untouched')


def test_the_network_admits_small_pictures_only_where_the_hook_says_so():
    runner = FakeRunner()
    ProgressiveResizeHook([(0, 16), (1, 32)]).before_train(runner)
    assert runner.model.min_size == 16


@pytest.mark.parametrize('sizes', [[], [(1, 32)], [(0, 16), (0, 32)], [(0, 32), (5, 16), (3, 32)], [(0, 8), (1, 32)]])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match=r'sizes=.* is not allowed: it must be \(first epoch, side\) pairs'):
        ProgressiveResizeHook(sizes)


@pytest.mark.slow('a run at two sizes')
def test_a_run_goes_through_the_sizes(write_config, tmp_path):
    hook = "custom_hooks = [dict(type='ranet_mm.ProgressiveResizeHook', sizes=[(0, 16), (1, 32)])]\n"
    cfg = Config.fromfile(write_config(hook + 'train_cfg = dict(max_epochs=2, val_interval=9)\n'))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.persistent_workers = False
    cfg.work_dir = str(tmp_path)
    runner, sides = Runner.from_cfg(cfg), []
    runner.model.backbone.register_forward_pre_hook(
        lambda net, x: sides.append(x[0].shape[-1]) if net.training else None
    )
    runner.train()
    half = len(sides) // 2
    assert half > 0
    assert sides == [16] * half + [32] * half


def test_runners_of_one_second_share_nothing(write_config, tmp_path, monkeypatch):
    """As of a test after a validation: MMEngine keeps what a runner logs to by the config's name and the second."""
    monkeypatch.setattr('mmengine.runner.runner.time.time', lambda: 1e9)
    cfg, runners = Config.fromfile(write_config()), []
    for folder in ('first', 'second'):
        cfg.work_dir = str(tmp_path / folder)
        runners.append(OwnRunner.from_cfg(cfg))
    first, second = runners
    assert [console.run_name(runner) for runner in runners] == [Path(cfg.filename).stem] * 2
    assert first.logger is not second.logger and first.message_hub is not second.message_hub
    assert first.visualizer is not second.visualizer
