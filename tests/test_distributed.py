"""Several processes, started as a user starts them: gloo on CPUs, two of them."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import make_images

pytest.importorskip('mmpretrain')

from mmengine.config import Config

from ranet_mm.cli import test, train
from ranet_mm.mm.engine import launch
from ranet_mm.weights.read import read as read_checkpoint

ROOT = Path(__file__).parents[1]
PYTHON = sys.executable
DIGITS = str(ROOT / 'configs/ranet/att56_digits.py')
# Statistics of a batch depend on how it is shared out, those of group norm do not.
CONFIG = """
_base_ = ['{base}/models/att56_cifar.py', '{base}/default_runtime.py']
custom_imports = dict(imports=['signal_hook'], allow_failed_imports=False)
model = dict(
    backbone=dict(width=0.125, stem_pool=True, stem_stride=2, norm_cfg=dict(type='GN', num_groups=2)),
    head=dict(num_classes=2, in_channels=128),
)
data_preprocessor = dict(num_classes=2, mean=[120.0] * 3, std=[60.0] * 3, to_rgb=False)
pipeline = [dict(type='ranet_mm.LoadImage'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size={batch},
    num_workers=0,
    dataset=dict(type='ranet_mm.ImageFolder', root='images/train', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(type='ranet_mm.ImageFolder', root='images/test', pipeline=pipeline, test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='Accuracy')
val_cfg = test_cfg = dict()
train_cfg = dict(type='ranet_mm.ResumableTrainLoop', max_epochs=2)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=6)]
default_hooks = dict(
    _delete_=True, checkpoint=dict(type='CheckpointHook', interval=1), signal=dict(type='SignalHook')
)
"""
FSDP = """
runner_type = 'FlexibleRunner'
strategy = dict(type='ranet_mm.FSDPStrategy')
"""
MUON = "optim_wrapper = dict(optimizer=dict(type='ranet_mm.Muon', lr=0.01, weight_decay=0.1))\n"
# Double precision tells rounding from mistakes. The second process alone gets a signal during its n-th step. Threads of
# a group that still run at the exit may abort the process there; a group that is destroyed has them while it is held.
SIGNAL_HOOK = """
import atexit, os, pathlib, signal
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

torch.set_default_dtype(torch.float64)

@atexit.register
def tell():
    names = [path.read_text() for path in pathlib.Path('/proc/self/task').glob('*/comm')]
    print('threads of gloo:', sum('gloo' in name for name in names))

@HOOKS.register_module()
class SignalHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.rank == 1 and runner.iter + 1 == int(os.environ.get('SIGNAL_AT', 0)):
            signal.raise_signal(signal.SIGTERM)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if runner.rank == 1 and batch_idx == 0 and 'SIGNAL_IN_VALIDATION' in os.environ:
            signal.raise_signal(signal.SIGTERM)

    def before_val_epoch(self, runner):
        if 'KEEP' in os.environ:
            torch.save(dict(runner.model.module.named_buffers()), f'buffers{runner.rank}.pth')
"""
# Runs as many tasks as were asked for, with the variables that Slurm sets on one node.
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do
    case $1 in --ntasks=*) export SLURM_NTASKS=${1#*=} ;; esac
    echo "$1" >> srun_options
    shift
done
export SLURM_NNODES=1 SLURM_NODELIST=here SLURM_JOB_ID=9545
for ((i = 0; i < SLURM_NTASKS; i++)); do
    SLURM_PROCID=$i SLURM_LOCALID=$i "$@" &
    tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task" || exit; done
"""


def start(*command, **env):
    """Run a script of tools/ in the current folder."""
    env = {**os.environ, 'PYTHON': PYTHON, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': f'{Path.cwd()}:{ROOT}', **env}
    command = ['bash', str(ROOT / 'tools' / command[0]), *map(str, command[1:])]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images, of which 11 to test on, and the module of the configs."""
    folder = tmp_path_factory.mktemp('distributed')
    make_images(folder / 'images')
    (folder / 'images/test/dog/5.png').unlink()
    (folder / 'signal_hook.py').write_text(SIGNAL_HOOK)
    return folder


def config(batch, more=''):
    """A config file in the current folder."""
    path = Path(f'batch{batch}_{len(more)}.py')
    path.write_text(CONFIG.format(base=ROOT / 'configs/_base_', batch=batch) + more)
    return str(path)


@pytest.fixture(scope='module')
def two(folder):
    """What two processes printed that trained on batches of 2 each; their work dir is `two`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return start('dist_train.sh', config(2), 2, '--work-dir', 'two', PORT='29541')


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def record(name):
    return json.loads(Path(name, 'record.json').read_text())


def assert_no_thread_left(done):
    """Of each process that came to its exit: torchrun ends the others when the first of them was interrupted."""
    assert set(re.findall(r'threads of gloo: (\d+)', done.stdout)) == {'0'}


def assert_same_weights(a, b, **tolerance):
    a, b = (read_checkpoint(path)['state_dict'] for path in (a, b))
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], **tolerance)


@pytest.mark.slow('runs of two processes')
@pytest.mark.usefixtures('here')
class TestTwoProcesses:
    def test_half_the_batch_each_is_the_run_of_one(self, folder, two):
        assert two.returncode == 0, two.stderr
        assert_no_thread_left(two)
        assert train.main([config(4), '--work-dir', 'one']) == 0
        one, other = record('one'), record('two')
        assert (one['processes'], other['processes']) == (1, 2)
        assert one['iterations'] == other['iterations'] == 6
        assert one['images'] == other['images'] == 24
        for a, b in zip(one['curve'], other['curve'], strict=True):
            assert b['loss'] == pytest.approx(a['loss'], rel=1e-5)  # the record has six digits
            assert b['accuracy/top1'] == a['accuracy/top1']
        assert_same_weights('one/epoch_2.pth', 'two/epoch_2.pth', rtol=0, atol=1e-12)

    def test_evaluation_counts_each_image_once(self, folder, two, capsys):
        path = config(2)
        done = start('dist_test.sh', path, 'two/epoch_2.pth', 2, '--dump', 'two.pkl', PORT='29542')
        assert done.returncode == 0, done.stderr
        assert_no_thread_left(done)
        assert test.main([path, 'two/epoch_2.pth', '--dump', 'one.pkl']) == 0
        scores = re.compile(r'accuracy [\d.]+ on 11 images')
        assert scores.search(capsys.readouterr().out)[0] == scores.search(done.stdout)[0]
        one, other = (pickle.loads(Path(name).read_bytes()) for name in ('one.pkl', 'two.pkl'))
        assert [s['img_path'] for s in other] == [s['img_path'] for s in one]
        assert len({s['img_path'] for s in other}) == len(other) == 11
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a['pred_score'], b['pred_score'])

    def test_interrupted_and_resumed_ends_as_if_never_interrupted(self, folder, two):
        argv = ['dist_train.sh', config(2), 2, '--work-dir', 'cut']
        done = start(*argv, PORT='29543', SIGNAL_AT='5')
        assert done.returncode != 0
        assert done.stderr.count('error: interrupted after iteration 5 of 6; --resume goes on') == 1
        assert_no_thread_left(done)
        assert read_checkpoint('cut/interrupted.pth')['meta']['iter'] == 5
        assert not Path('cut/epoch_2.pth').exists()
        done = start(*argv, '--resume', PORT='29544')
        assert done.returncode == 0, done.stderr
        assert not Path('cut/interrupted.pth').exists()
        assert_same_weights('cut/epoch_2.pth', 'two/epoch_2.pth', rtol=0, atol=0)
        # Of the interrupted epoch, the losses before the interruption are the first process's.
        assert record('cut')['curve'][0]['loss'] == record('two')['curve'][0]['loss']
        assert [r['images'] for r in (record('cut'), record('two'))] == [24, 24]

    def test_gradients_that_wait_for_more_go_on_in_each_process(self, folder):
        """A step after each second batch: the fifth one waits for the sixth. Batch statistics are each one's own."""
        path = config(2, "optim_wrapper['accumulative_counts'] = 2\nmodel['backbone'].pop('norm_cfg')\n")
        whole = start('dist_train.sh', path, 2, '--work-dir', 'pairs', PORT='29561')
        assert whole.returncode == 0, whole.stderr
        start('dist_train.sh', path, 2, '--work-dir', 'cut_pairs', PORT='29562', SIGNAL_AT='5')
        waiting = [s['gradients'] for s in read_checkpoint('cut_pairs/interrupted.pth')['meta']['processes']]
        assert len(waiting) == 2 and waiting[0].keys() == waiting[1].keys() != set()
        done = start('dist_train.sh', path, 2, '--work-dir', 'cut_pairs', '--resume', PORT='29563')
        assert done.returncode == 0, done.stderr
        assert_same_weights('cut_pairs/epoch_2.pth', 'pairs/epoch_2.pth', rtol=0, atol=0)

    @pytest.mark.parametrize('batches', ['equal', 'unequal'])
    def test_interrupted_in_validation_all_stop(self, folder, two, batches):
        """Also where the signalled process has a batch fewer than the others: 5 images in batches of 1, after 6."""
        uneven = (
            "val_dataloader.update(batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False, round_up=False))\n"
        )
        path = config(2, uneven if batches == 'unequal' else '')
        done = start('dist_train.sh', path, 2, '--work-dir', batches, PORT='29552', SIGNAL_IN_VALIDATION='1')
        assert done.returncode != 0
        assert done.stderr.count('error: interrupted in validation; --resume goes on from the latest') == 1, done.stderr
        assert_no_thread_left(done)
        assert Path(batches, 'epoch_1.pth').exists() and not Path(batches, 'epoch_2.pth').exists()

    def test_slurm(self, folder, two, monkeypatch):
        """Against a stand-in for srun that starts the tasks on this machine, and keeps the options it was given."""
        Path('srun').write_text(SRUN)
        Path('srun').chmod(0o755)
        env = dict(PATH=f'{folder}:{os.environ["PATH"]}', GPUS='2', GRES='')
        done = start('slurm_train.sh', 'debug', 'tiny', config(2), 'slurm', **env)
        assert done.returncode == 0, done.stderr
        options = Path('srun_options').read_text().split()
        assert {'--partition=debug', '--job-name=tiny', '--ntasks=2', '--ntasks-per-node=2'} <= set(options)
        assert not any(option.startswith('--gres') for option in options)
        assert record('slurm')['processes'] == 2
        assert_same_weights('slurm/epoch_2.pth', 'two/epoch_2.pth', rtol=0, atol=0)

    def test_batch_statistics_are_averaged_before_validation(self, folder):
        more = "model['backbone'].pop('norm_cfg')\ntrain_cfg['max_epochs'] = 1\n"
        done = start('dist_train.sh', config(2, more), 2, '--work-dir', 'norm', PORT='29548', KEEP='1')
        assert done.returncode == 0, done.stderr
        saved = read_checkpoint('norm/epoch_1.pth')['state_dict']
        first, second = (torch.load(f'buffers{rank}.pth') for rank in range(2))
        statistics = first.keys() & saved.keys()
        assert sum(key.endswith('running_var') for key in statistics) > 30
        for key in statistics:
            assert torch.equal(first[key], second[key]), key
            assert torch.equal(first[key], saved[key]), key

    def test_muon_is_shared_out(self, folder):
        done = start('dist_train.sh', config(2, MUON), 2, '--work-dir', 'two_muon', PORT='29549')
        assert done.returncode == 0, done.stderr
        assert train.main([config(4, MUON), '--work-dir', 'one_muon']) == 0
        assert_same_weights('one_muon/epoch_2.pth', 'two_muon/epoch_2.pth', rtol=0, atol=1e-8)

    def test_fully_sharded(self, folder, two):
        """Equal to replicas, resumed too; its checkpoints are of the whole model, for one process as well."""
        path = config(2, FSDP)
        argv = ['dist_train.sh', path, 2, '--work-dir', 'sharded']
        done = start(*argv, PORT='29546')
        assert done.returncode == 0, done.stderr
        assert_no_thread_left(done)
        assert_same_weights('sharded/epoch_2.pth', 'two/epoch_2.pth', rtol=0, atol=1e-12)
        Path('sharded/epoch_2.pth').rename('uninterrupted.pth')
        done = start(*argv, '--resume', 'sharded/epoch_1.pth', PORT='29547')
        assert done.returncode == 0, done.stderr
        assert_same_weights('sharded/epoch_2.pth', 'uninterrupted.pth', rtol=0, atol=0)
        assert test.main([config(2), 'sharded/epoch_2.pth']) == 0

    def test_muon_needs_whole_kernels(self, folder):
        done = start('dist_train.sh', config(2, FSDP + MUON), 2, '--work-dir', 'sharded_muon', PORT='29551')
        assert done.returncode != 0
        assert 'no parameter has the 4 dimensions of a kernel' in done.stderr

    def test_another_number_of_processes_cannot_go_on(self, folder, two, capsys):
        assert train.main([config(2), '--work-dir', 'two', '--resume', 'two/epoch_1.pth']) == 1
        err = capsys.readouterr().err
        assert err.startswith('error: an epoch of 6 iterations cannot go on with a checkpoint whose epochs have 3: ')
        assert 'the number of processes' in err


class TestLaunch:
    def test_leave(self, monkeypatch):
        values = dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1', MASTER_PORT='29550')
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        launch.prepare(Config(dict(launcher='pytorch')))
        assert torch.distributed.is_initialized()
        for _ in range(2):
            launch.leave()
            assert not torch.distributed.is_initialized()

    @pytest.mark.parametrize('launcher', launch.LAUNCHERS)
    def test_not_started_by_the_launcher(self, launcher, monkeypatch, capsys):
        for name in launch.LAUNCHERS[launcher]:
            monkeypatch.delenv(name, raising=False)
        assert train.main([DIGITS, '--launcher', launcher]) == 1
        err = capsys.readouterr().err
        assert f'--launcher {launcher} is not allowed here: {launch.LAUNCHERS[launcher][0]}, ' in err
        assert f'was not started by {launch.STARTERS[launcher]}' in err

    def test_first_node_of_a_slurm_step(self, monkeypatch, tmp_path):
        for name in ('SLURM_STEP_NUM_NODES', 'SLURM_STEP_NODELIST'):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv('SLURM_NNODES', '1')
        assert launch.first_node() == '127.0.0.1'
        script = '#!/usr/bin/env bash\n[ "$*" = "show hostnames n[3-4]" ] && printf "n3\\nn4\\n"\n'
        (tmp_path / 'scontrol').write_text(script)
        (tmp_path / 'scontrol').chmod(0o755)
        monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
        monkeypatch.setenv('SLURM_NNODES', '2')
        monkeypatch.setenv('SLURM_NODELIST', 'n[3-4]')
        assert launch.first_node() == 'n3'

    def test_jobs_on_one_node_get_ports_of_their_own(self):
        ports = {launch.port_of_job(job) for job in range(123456, 123456 + 1000)}
        assert len(ports) == 1000
        assert 1024 < min(ports) <= max(ports) < 32768
