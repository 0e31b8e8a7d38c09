"""Training by time: the epochs that fit, the schedule scaled to them, and nothing changed by the measurement."""

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from test_device_data import CONFIG as DEVICE_CONFIG

from ranet_mm.cli import train
from ranet_mm.machine import age
from ranet_mm.mm.engine import by_time
from ranet_mm.mm.engine.by_time import make_plan, set_epochs, total

ROOT = Path(__file__).parents[1]
COSTS = dict(step=0.1, epoch=10.0, save=0.2, start=5.0, val=1.0, test=4.0)


def plan_for(epochs, iterations=100, val_interval=1, save_interval=1):
    return dict(epochs=epochs, iterations=iterations, val_interval=val_interval, save_interval=save_interval)


def scaled(name, epochs, **plan):
    cfg = Config.fromfile(ROOT / f'configs/{name}.py')
    set_epochs(cfg, plan_for(epochs, **plan))
    return cfg


class TestSchedule:
    def test_epochs_keep_their_share(self):
        """`fast` is 20 epochs, 5 of them up."""
        up, down = scaled('ranet/att56_cifar10_fast', 8).param_scheduler
        assert (up.begin, up.end, down.begin, 'end' in down) == (0, 2.0, 2.0, False)
        cfg = scaled('ranet/att56_cifar10_best', 30, val_interval=10, save_interval=3)
        assert [s.begin for s in cfg.param_scheduler] == [0, 0.5]
        assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (30, 10)
        assert cfg.default_hooks.checkpoint.interval == 3

    def test_image_sizes_keep_theirs(self):
        cfg = scaled('ranet/att56_cifar10_progressive', 30)
        (hook,) = [h for h in cfg.custom_hooks if h.type == 'ranet_mm.ProgressiveResizeHook']
        assert hook.sizes == [(0, 16), (12, 20), (18, 24), (25, 32)]

    def test_iterations_of_a_warm_up_stay_and_milestones_do_not(self):
        """The default recipe warms up for 100 iterations; the paper's lowers the rate after 64,000 and 96,000."""
        assert scaled('ranet/att56_cifar10', 20).param_scheduler[0].end == 100
        assert scaled('ranet/att56_cifar10', 2).param_scheduler[0].end == 20
        assert scaled('ranet/att56_cifar10_paper', 41).param_scheduler.milestones == [12_800, 19_200]

    def test_a_built_schedule_ends_with_the_run(self):
        """At the last step of 8 epochs the rate of `fast` is nearly 0, and its highest is what the config says."""
        from mmengine.registry import PARAM_SCHEDULERS

        cfg = scaled('ranet/att56_cifar10_fast', 8, iterations=9)
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], cfg.optim_wrapper.optimizer.lr)
        schedulers = [
            PARAM_SCHEDULERS.build(
                {'end': 8, **s, 'type': s.type}, default_args=dict(optimizer=optimizer, epoch_length=9)
            )
            for s in cfg.param_scheduler
        ]
        rates = []
        for _ in range(8 * 9):
            rates.append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
        assert max(rates) == pytest.approx(0.4) and rates.index(max(rates)) == pytest.approx(18, abs=1)
        assert rates[-1] < 0.4 / 50

    def test_loops_of_iterations_are_refused(self):
        cfg = Config(dict(train_cfg=dict(max_iters=100)))
        with pytest.raises(
            ValueError, match='--minutes is not allowed here: the training loop of this config counts no'
        ):
            set_epochs(cfg, plan_for(3))


class TestPlan:
    @pytest.fixture
    def runner(self, monkeypatch):
        class Loader(list):
            batch_size = 50

        monkeypatch.setattr(by_time, 'age', lambda: 30.0)
        return type('Runner', (), dict(_train_dataloader=Loader(range(100))))

    def test_the_most_that_fits(self, runner):
        cfg = Config(dict(train_cfg=dict(max_epochs=20, val_interval=1)))
        plan = make_plan(cfg, COSTS, 8, runner)
        assert (plan['images_per_second'], plan['iterations'], plan['val_interval']) == (500.0, 100, 2)
        assert plan['seconds'] <= 480 < 30 + 3 + total(COSTS, plan['epochs'] + 1, 2, 1)
        assert 36 <= plan['epochs'] <= 41  # 480 s less 42 s, at 10.8 s an epoch with half a validation and a checkpoint

    def test_checkpoints_and_validations_take_a_twentieth_each(self, runner):
        cfg = Config(dict(train_cfg=dict(max_epochs=20)))
        plan = make_plan(cfg, {**COSTS, 'val': 5.0, 'save': 2.0}, 60, runner)
        assert (plan['val_interval'], plan['save_interval']) == (10, 4)

    def test_less_than_an_epoch_is_refused(self, runner):
        cfg = Config(dict(train_cfg=dict(max_epochs=20)))
        with pytest.raises(
            ValueError, match=r'--minutes 0\.5 is not allowed here: one epoch .* end after 0\.9 minutes'
        ):
            make_plan(cfg, COSTS, 0.5, runner)


def test_the_age_of_the_process_grows():
    first = age()
    assert 0 < first <= age() < 3600


@pytest.fixture
def config(tmp_path, images):
    path = tmp_path / 'timed.py'
    path.write_text(DEVICE_CONFIG.format(root=str(ROOT), images=str(images)))
    return str(path)


@pytest.fixture
def three_epochs(monkeypatch):
    """Whatever is measured, three epochs fit."""
    monkeypatch.setattr(by_time, 'total', lambda costs, epochs, *intervals: 60.0 if epochs <= 3 else 1e6)
    monkeypatch.setattr(by_time, 'age', lambda: 1.0)


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']  # of our own run


@pytest.mark.slow('two whole runs')
class TestRun:
    def test_is_the_run_of_its_epochs(self, config, three_epochs, capsys):
        """The measurement leaves no trace: weights are those of a run whose config says three epochs."""
        assert train.main([config, '--minutes', '2', '--work-dir', 'timed', '--debug']) == 0
        out = capsys.readouterr().out
        assert 'In 2 minutes: 3 epochs at ' in out and 'epoch 3, ' in out
        record = json.loads(Path('timed/record.json').read_text())
        assert record['plan']['epochs'] == record['curve'][-1]['epoch'] == 3
        assert record['settings']['minutes'] == 2
        assert record['plan']['costs'].keys() == {'step', 'epoch', 'save', 'start', 'val', 'test'}
        cfg = Config.fromfile(config)
        set_epochs(cfg, plan_for(3, iterations=6))
        cfg.dump('plain.py')
        assert train.main(['plain.py', '--work-dir', 'plain', '--debug']) == 0
        found, expected = weights('timed/epoch_3.pth'), weights('plain/epoch_3.pth')
        assert all(torch.equal(found[key], value) for key, value in expected.items())
        assert train.main([config, '--minutes', '2', '--work-dir', 'timed', '--debug']) == 0  # once more

    def test_a_resumed_one_keeps_its_plan(self, config, three_epochs, monkeypatch, capsys):
        from test_device_data import interrupt

        with monkeypatch.context() as patch:
            interrupt(patch, 8)
            assert train.main([config, '--minutes', '2', '--work-dir', 'cut', '--debug']) == 130
        monkeypatch.setattr(by_time, 'planned', None)
        assert train.main([config, '--work-dir', 'cut', '--resume', '--debug']) == 0
        assert json.loads(Path('cut/record.json').read_text())['plan']['epochs'] == 3
        assert 'epoch 3, ' in capsys.readouterr().out

    def test_wrong_minutes(self, config, capsys):
        with pytest.raises(SystemExit):
            train.main([config, '--minutes', '0'])
        assert '--minutes 0.0 is not allowed: it must be above 0' in capsys.readouterr().err
        assert train.main([config, '--minutes', '0.001']) == 1
        assert '--minutes 0.001 is not allowed here: one epoch with' in capsys.readouterr().err
        assert not Path('work_dirs').exists()
        assert train.main([config, '--work-dir', 'counted', '--no-test']) == 0
        assert train.main([config, '--work-dir', 'counted', '--resume', '--minutes', '1']) == 1
        assert '--minutes is not allowed here: the run of checkpoint' in capsys.readouterr().err
