"""What would end or spoil a run late is told before its first step."""

from pathlib import Path

import pytest

pytest.importorskip('mmpretrain')

from test_continuing import SMALL
from test_tools import PLAIN, files, refused

from ranet_mm.cli import train

# 12 images of 32 pixels, whose last maps have one.
DEEP = """
model['backbone'].update(modules=(1,), widths=(64,), strides=(4,), mask_pools=(1,), t=1, post_units=1, post_stride=2)
val_cfg = val_dataloader = val_evaluator = None
train_cfg = dict(max_epochs=1)
"""


class TestOneImage:
    @pytest.mark.parametrize(
        ('size', 'said'),
        [
            (11, '12 images in batches of 11 end with a batch of 1 image, with which the norm layer backbone.'),
            (1, 'train_dataloader.batch_size=1 is not allowed: with one image the norm layer backbone.'),
        ],
    )
    def test_is_refused_before_the_first_step(self, write_config, capsys, size, said):
        config = write_config(PLAIN + DEEP + f"train_dataloader['batch_size'] = {size}\n")
        err = refused(capsys, train, config, '--work-dir', 'run')
        assert said in err and ' has one value of each channel to be trained by' in err
        assert not list(Path('run').rglob('*.pth'))

    @pytest.mark.parametrize(
        'more',
        [
            "train_dataloader['drop_last'] = True",
            "model['backbone']['norm_eval'] = True",
            "model['backbone']['norm_cfg'] = dict(type='GN', num_groups=1)",
            "model['backbone'].update(strides=(1,), post_stride=1)",
            "train_dataloader['batch_size'] = 12",
        ],
    )
    def test_is_no_fault_elsewhere(self, write_config, more):
        config = write_config(PLAIN + DEEP + f"train_dataloader['batch_size'] = 11\n{more}\n")
        assert train.main([config, '--work-dir', 'run', '--no-test', '--debug']) == 0


@pytest.mark.parametrize(
    ('option', 'least'),
    [
        ('optim_wrapper.accumulative_counts=0', 'a whole number of 1 or more'),
        ('optim_wrapper.clip_grad.max_norm=-1', 'above 0'),  # which would go up the gradient
    ],
)
def test_steps_that_train_nothing_are_refused(write_config, capsys, option, least):
    err = refused(capsys, train, write_config(), '--work-dir', 'run', '--cfg-options', option)
    assert f'error: {option} is not allowed: it must be {least}' in err


@pytest.mark.slow('whole runs')
def test_what_is_to_be_best_is_told_in_a_sentence(write_config, capsys):
    more = "default_hooks = dict(checkpoint=dict(save_best='accuracy/top5'))\n"
    config = write_config(SMALL.split('val_cfg')[0] + PLAIN + more)
    assert train.main([config, '--work-dir', 'run', '--no-test']) == 1
    said = "default_hooks.checkpoint.save_best='accuracy/top5' is not allowed: validation gives accuracy/top1"
    assert said in capsys.readouterr().err


@pytest.mark.slow('whole runs')
def test_fewer_epochs_than_are_done_are_refused_and_a_late_validation_is_told(write_config, capsys):
    config = write_config(SMALL.split('val_cfg')[0] + PLAIN)
    late = ['--cfg-options', 'train_cfg.val_begin=9']
    assert train.main([config, '--work-dir', 'run', '--no-test', *late]) == 0
    assert 'train_cfg.val_begin=9 is after the last, 2: nothing is validated' in capsys.readouterr().err
    before = files('run')
    fewer = ['--resume', '--cfg-options', 'train_cfg.max_epochs=1']
    assert train.main([config, '--work-dir', 'run', '--no-test', *fewer]) == 1
    assert 'train_cfg.max_epochs=1 is not allowed here: the checkpoint has 2 epochs' in capsys.readouterr().err
    assert files('run') == before


@pytest.mark.parametrize('option', ['max_epochs=0', 'max_epochs=1.5', 'val_interval=0', 'val_begin=-1'])
def test_lengths_that_are_none_are_refused(write_config, capsys, option):
    err = refused(capsys, train, write_config(), '--work-dir', 'run', '--cfg-options', f'train_cfg.{option}')
    assert f'error: train_cfg.{option} is not allowed: it must be a whole number of ' in err


def test_a_loss_that_is_no_number_ends_the_run(write_config, capsys):
    more = 'optim_wrapper = dict(optimizer=dict(lr=1e30))\nparam_scheduler = None\n'
    assert train.main([write_config(SMALL + PLAIN + more), '--work-dir', 'run', '--no-test']) == 1
    assert 'the loss is nan by iteration ' in capsys.readouterr().err
    assert not list(Path('run').glob('*.pth')) and not Path('run/record.json').exists()


def test_what_comes_after_the_end_is_told(write_config, capsys):
    more = """
param_scheduler = [dict(type='CosineAnnealingLR', T_max=200, end=200), dict(type='MultiStepLR', milestones=[1, 9])]
custom_hooks = [*_base_.custom_hooks, dict(type='ranet_mm.ProgressiveResizeHook', sizes=[(0, 16), (1, 24), (2, 32)])]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone.stem': dict(lr_mult=0.1), 'bakbone': dict(lr_mult=0)}))
"""
    assert train.main([write_config(SMALL + PLAIN + more), '--work-dir', 'run', '--no-test', '--debug']) == 0
    err = capsys.readouterr().err
    assert 'param_scheduler[0] (CosineAnnealingLR) has end=200, T_max=200, but training ends after 2 epochs' in err
    assert 'param_scheduler[1] (MultiStepLR) has milestones=[1, 9], but' in err
    assert "custom_keys has 'bakbone', which no parameter has in its name" in err
    assert 'training ends after 2 epochs, before the sizes (first epoch, side) (2, 32), which' in err
