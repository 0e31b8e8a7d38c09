"""The test images are read at the end of training, once, or not at all."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip('mmpretrain')

from ranet_mm.cli import train

EMA = "custom_hooks = [dict(type='ranet_mm.RecordHook'), dict(type='EMAHook', momentum=0.5)]\n"


def record(folder='run'):
    return json.loads(Path(folder, 'record.json').read_text())


def test_metrics_are_printed_and_recorded(write_config, capsys):
    assert train.main([write_config(), '--work-dir', 'run']) == 0
    run = record()
    accuracy = run['test']['accuracy/top1']
    assert f'validation accuracy {run["curve"][-1]["accuracy/top1"]:.2f}, test accuracy {accuracy:.2f}, ' in (
        capsys.readouterr().out
    )
    assert run['data']['test'] == run['data']['val']  # the tiny run validates on the same images
    assert len(run['curve']) == 2


def test_not_while_choosing(write_config, images, capsys):
    shutil.rmtree(images / 'test')
    config = write_config('val_cfg = val_dataloader = val_evaluator = None\n')
    assert train.main([config, '--work-dir', 'run', '--no-test']) == 0
    assert 'test' not in record()
    assert 'accuracy' not in capsys.readouterr().out


def test_missing_test_images_are_told_before_training(write_config, images, capsys):
    shutil.rmtree(images / 'test')
    config = write_config('val_cfg = val_dataloader = val_evaluator = None\n')
    assert train.main([config, '--work-dir', 'run']) == 1
    error = capsys.readouterr().err
    assert 'error: data folder' in error and 'does not exist' in error
    assert not Path('run/epoch_1.pth').exists()


def test_moving_average_is_tested(write_config, monkeypatch):
    from mmengine.hooks import EMAHook

    seen = []
    swap = EMAHook._swap_ema_parameters
    monkeypatch.setattr(EMAHook, '_swap_ema_parameters', lambda self: seen.append(1) or swap(self))
    assert train.main([write_config(EMA + 'train_cfg = dict(max_epochs=1)\n'), '--work-dir', 'run']) == 0
    assert len(seen) == 4  # there and back, for validation and for the test
    assert record()['test'] == {'accuracy/top1': record()['curve'][-1]['accuracy/top1']}
