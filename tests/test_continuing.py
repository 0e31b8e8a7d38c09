"""A resumed run is the run that was not interrupted: accumulated gradients, random draws and counts of hooks go on."""

from pathlib import Path

import pytest
import torch
from conftest import make_config, make_images

pytest.importorskip('mmpretrain')

from test_tools import PLAIN, stop_after

from ranet_mm.cli import train
from ranet_mm.mm.engine import continuing
from ranet_mm.weights.read import read as read_checkpoint

FOURS = PLAIN + 'optim_wrapper = dict(accumulative_counts=4)\n'
# A step after each fourth batch, in epochs of six: at the end of the first one two batches wait for the next.
WAYS = {
    'plain': FOURS,
    'average': FOURS
    + "custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', ema_type='ranet_mm.ExponentialMovingAverage')]\n",
    'muon and clipping': FOURS
    + "optim_wrapper.update(optimizer=dict(_delete_=True, type='ranet_mm.Muon'), clip_grad=dict(max_norm=0.1))\n",
    'bfloat16': FOURS + "optim_wrapper.update(type='ranet_mm.AutocastOptimWrapper', dtype='bfloat16')\n",
    'of MMEngine': FOURS + "optim_wrapper.update(type='OptimWrapper')\n",
    'random': "model['head']['dropout'] = 0.5\nmodel['backbone']['drop_path_rate'] = 0.5\n"
    "model['train_cfg'] = dict(augments=dict(type='Mixup', alpha=1.0))\n",
}


@pytest.fixture(scope='module', params=WAYS)
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
    assert train.main([config, '--work-dir', 'cut', '--resume', str(folder / 'epoch_1.pth'), '--no-test', '--debug']) == 0
    assert_same(read_checkpoint('cut/epoch_2.pth'), read_checkpoint(folder / 'epoch_2.pth'))
