"""A resumed run is the run that was not interrupted: accumulated gradients, random draws and counts of hooks go on."""

from pathlib import Path

import pytest
import torch
from conftest import make_config, make_images

pytest.importorskip('mmpretrain')

from test_tools import ITERATIONS, PLAIN, stop_after

from ranet_mm.cli import train
from ranet_mm.weights.read import read as read_checkpoint

SMALL = """
model['backbone'].update(modules=(1,), widths=(64,), strides=(2,), mask_pools=(1,), t=1, post_units=1)
val_cfg = val_dataloader = val_evaluator = None
"""
FOURS = SMALL + PLAIN + 'optim_wrapper = dict(accumulative_counts=4)\n'
# A step after each fourth batch, in epochs of six: at the end of the first one two batches wait for the next.
WAYS = {
    'plain': FOURS,
    'average': FOURS
    + "custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', ema_type='ranet_mm.ExponentialMovingAverage')]\n",
    'muon and clipping': FOURS
    + "optim_wrapper.update(optimizer=dict(_delete_=True, type='ranet_mm.Muon'), clip_grad=dict(max_norm=0.1))\n",
    'bfloat16': FOURS + "optim_wrapper.update(type='ranet_mm.AutocastOptimWrapper', dtype='bfloat16')\n",
    'of MMEngine': FOURS + "optim_wrapper.update(type='OptimWrapper')\n",
    'random': SMALL + "model['head']['dropout'] = 0.5\nmodel['backbone']['drop_path_rate'] = 0.5\n"
    "model['train_cfg'] = dict(augments=dict(type='Mixup', alpha=1.0))\n",
}


QUICK = 'plain', 'random'
SLOW = [pytest.param(name, marks=pytest.mark.slow('two runs of each way')) for name in WAYS if name not in QUICK]


@pytest.fixture(scope='module', params=[*QUICK, *SLOW])
def whole(request, tmp_path_factory):
    """A config, and its uninterrupted run of twelve steps, which keeps the checkpoint of its first epoch."""
    folder = tmp_path_factory.mktemp('whole')
    config = make_config(folder, make_images(folder / 'images'), WAYS[request.param])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train.main([config, '--work-dir', 'whole', '--no-test', '--debug']) == 0
    return config, folder / 'whole'


def assert_same(found, expected):
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        torch.testing.assert_close(found.get(part), expected.get(part), rtol=0, atol=0)


@pytest.mark.slow('two runs of each way')
@pytest.mark.parametrize('step', [3, 8])
def test_interrupted_between_two_steps_of_the_optimizer(whole, step, monkeypatch, capsys):
    config, folder = whole
    with monkeypatch.context() as patch:
        stop_after(patch, step)
        assert train.main([config, '--work-dir', 'cut', '--no-test']) == 130
    capsys.readouterr()
    assert train.main([config, '--work-dir', 'cut', '--resume', '--no-test', '--debug']) == 0
    assert 'is lost' not in capsys.readouterr().err
    assert_same(read_checkpoint('cut/epoch_2.pth'), read_checkpoint(folder / 'epoch_2.pth'))


def test_from_the_end_of_an_epoch(whole):
    config, folder = whole
    start = str(folder / 'epoch_1.pth')
    assert train.main([config, '--work-dir', 'cut', '--resume', start, '--no-test', '--debug']) == 0
    assert_same(read_checkpoint('cut/epoch_2.pth'), read_checkpoint(folder / 'epoch_2.pth'))


def test_a_checkpoint_has_no_more_where_nothing_waits(whole):
    """But for the generators, of 16 kB."""
    last = read_checkpoint(whole[1] / 'epoch_2.pth')['meta']['processes']
    assert [state['gradients'] for state in last] == [{}]


@pytest.mark.slow('two runs')
def test_a_run_without_a_seed_goes_on_with_the_one_it_drew(write_config):
    config = write_config(SMALL + PLAIN + 'randomness = dict(seed=None)\n')
    assert train.main([config, '--work-dir', 'whole', '--no-test']) == 0
    assert train.main([config, '--work-dir', 'cut', '--resume', 'whole/epoch_1.pth', '--no-test', '--debug']) == 0
    assert_same(read_checkpoint('cut/epoch_2.pth'), read_checkpoint('whole/epoch_2.pth'))


@pytest.mark.slow('two runs')
def test_counts_towards_an_early_stop_go_on(write_config):
    """Of four epochs none is better by 200 %, so that the third one is the second without progress, and the last."""
    stop = "dict(type='EarlyStoppingHook', monitor='accuracy/top1', patience=2, min_delta=200)"
    more = f'train_cfg = dict(max_epochs=4)\ncustom_hooks = [*_base_.custom_hooks, {stop}]\n'
    config = write_config(SMALL.split('val_cfg')[0] + PLAIN + more)
    assert train.main([config, '--work-dir', 'whole', '--no-test', '--debug']) == 0
    assert not Path('whole/epoch_4.pth').exists()
    assert train.main([config, '--work-dir', 'cut', '--resume', 'whole/epoch_2.pth', '--no-test', '--debug']) == 0
    assert Path('cut/epoch_3.pth').exists() and not Path('cut/epoch_4.pth').exists()


def test_another_length_does_not_change_the_schedule_in_silence(write_config, capsys):
    config = write_config(SMALL + PLAIN)
    short = [config, '--no-test', '--debug', '--work-dir', 'run', '--cfg-options', 'train_cfg.max_epochs=1']
    assert train.main(short) == 0
    assert train.main([config, '--no-test', '--debug', '--work-dir', 'run', '--resume']) == 0
    said = 'the schedules go on as the checkpoint has them, with ends at [100, 6]; by the config they would end at [100'
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(('count', 'kept'), [(-1, {1, 2}), (0, {1, 2}), (1, {2})])
def test_as_many_checkpoints_as_are_to_be_kept(write_config, count, kept):
    """All where the number is not positive, as in MMEngine."""
    config = write_config(SMALL + PLAIN + "default_hooks['checkpoint'].update(interval=1)\n")
    options = ['--cfg-options', f'default_hooks.checkpoint.max_keep_ckpts={count}']
    assert train.main([config, '--work-dir', 'run', '--no-test', '--debug', *options]) == 0
    assert {int(path.stem.removeprefix('epoch_')) for path in Path('run').glob('epoch_*.pth')} == kept


def test_loops_of_iterations_go_on_between_two_steps_too(write_config):
    every = "train_cfg['max_iters'] = 7\ndefault_hooks['checkpoint'].update(interval=3)\n"
    config = write_config(FOURS + ITERATIONS + every)
    assert train.main([config, '--work-dir', 'whole', '--no-test', '--debug']) == 0
    assert read_checkpoint('whole/iter_6.pth')['meta']['processes'][0]['gradients']
    assert train.main([config, '--work-dir', 'cut', '--resume', 'whole/iter_6.pth', '--no-test', '--debug']) == 0
    assert_same(read_checkpoint('cut/iter_7.pth'), read_checkpoint('whole/iter_7.pth'))
