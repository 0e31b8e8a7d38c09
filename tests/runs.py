"""Runs of a tiny network on twelve images, in forks of this process, and whether two have come to the same."""

import contextlib
import gc
import json
import mmap
import os
import signal
import socket
import struct
import sys
import traceback
from functools import cache
from pathlib import Path

import torch
from conftest import DEVICE_CONFIG, ROOT, make_config, make_images

from ranet_mm import files
from ranet_mm.cli import train
from ranet_mm.mm.engine import loops
from ranet_mm.weights.read import read

SMALL = """
model['backbone'].update(modules=(1,), widths=(64,), strides=(2,), mask_pools=(1,), t=1, post_units=1)
train_cfg = dict(max_epochs=3)
default_hooks['checkpoint'].update(save_best='auto')
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', ema_type='ranet_mm.ExponentialMovingAverage', momentum=0.3)]
"""
WORKERS = 'train_dataloader.update(num_workers=2, persistent_workers=True)\nval_dataloader.update(num_workers=1)\n'
NOISE = """
train.pop('_delete_')
train_dataloader['dataset'] = dict(_delete_=True, type='ranet_mm.LabelNoise', fraction=0.4, seed=0, dataset=train)
train['pipeline'] = [*train['pipeline'][:-1], dict(type='RandomErasing', erase_prob=0.9, mode='rand'),
                     dict(type='PackInputs')]
"""
DRAWN = """
model['head']['dropout'] = 0.5
model['backbone']['drop_path_rate'] = 0.5
model['train_cfg'] = dict(augments=dict(type='Mixup', alpha=1.0))
"""
RESIZE = "custom_hooks.append(dict(type='ranet_mm.ProgressiveResizeHook', sizes=[(0, 16), (1.5, 32)]))\n"
ITERATIONS = """
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=18, val_interval=6)
param_scheduler = None
default_hooks['checkpoint'].update(by_epoch=False, interval=4)
train_dataloader['sampler'] = dict(_delete_=True, type='InfiniteSampler', shuffle=True)
"""
# What a run has that is killed, in one or two processes.
WAYS = {
    'image folder, 2 data workers, augmentation': (SMALL + WORKERS, 1),
    'no data workers, dropout, Mixup': (SMALL + DRAWN, 1),
    'noise in images and labels': (SMALL + WORKERS + NOISE, 1),
    'gradients over 4 batches': (SMALL + WORKERS + 'optim_wrapper = dict(accumulative_counts=4)\n', 1),
    'progressive sizes': (SMALL + WORKERS + RESIZE, 1),
    'iterations': (SMALL + WORKERS + ITERATIONS, 1),
    'images on the device': (None, 1),
    'two processes': (SMALL + WORKERS, 2),
}
MEASURED = (
    'seconds', 'train_seconds', 'cpu_seconds', 'images', 'images_per_second', 'peak_memory_mib', 'sittings', 'command',
    'settings', 'name', 'commit', 'config',
)  # fmt: skip


class Shared:
    """Three numbers that a forked run and this process both see: its first iteration, its last, and events of files."""

    def __init__(self):
        self.memory = mmap.mmap(-1, 24)

    def __getitem__(self, place):
        return struct.unpack_from('q', self.memory, 8 * place)[0]

    def __setitem__(self, place, value):
        struct.pack_into('q', self.memory, 8 * place, value)


def imported():
    """Import what a run does, once for all forks."""
    import mmpretrain.apis
    import mmpretrain.visualization  # noqa: F401
    from mmengine import registry as mmengine_registry
    from yapf.yapflib import yapf_api

    from ranet_mm import registry

    yapf_api.FormatCode = lambda text, **_: (text, True)  # a second of each run
    for place in (mmengine_registry, registry):
        for found in list(vars(place).values()):
            if isinstance(found, registry.Registry):
                found.import_from_location()
    gc.collect()
    gc.freeze()


@cache
def config(way, folder):
    """A config file of one of the ways."""
    more, images = WAYS[way][0], folder / 'images'
    if not images.is_dir():
        make_images(images)
    if more is not None:
        return make_config(folder, images, more)
    path = folder / 'device_tiny.py'
    device = DEVICE_CONFIG.format(root=str(ROOT), images=str(images), recipe='fast')
    path.write_text(device + SMALL.split('train_cfg')[0])
    return str(path)


def begin(argv, shared, processes, kill_at=None):
    """Fork processes that train; returns their ids. `kill_at` is the number of the event of files that kills."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    shared[0], shared[1], shared[2] = -1, -1, 0
    found = []
    for rank in range(processes):
        child = os.fork()
        if not child:
            os.setpgid(0, 0)
            if processes > 1:
                names = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=processes, MASTER_PORT=port)
                os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR='127.0.0.1')
                argv = [*argv, '--launcher', 'pytorch']
            os._exit(work(argv, shared, kill_at))
        with contextlib.suppress(OSError):
            os.setpgid(child, child)
        found.append(child)
    return found


def work(argv, shared, kill_at):
    """What a forked process does; returns its exit code."""
    try:
        sys.stdout = sys.stderr = open('log', 'a', buffering=1)  # noqa: SIM115
        for number in (1, 2):
            os.dup2(sys.stdout.fileno(), number)
        watch(shared)
        if kill_at is not None:
            die_at(shared, kill_at)
        code = train.main(argv)
        sys.stdout.flush()
        return code
    except BaseException:
        traceback.print_exc()
        return 1


def watch(shared):
    """Tell the iterations that a run comes to."""
    for loop in (loops.ResumableTrainLoop, loops.ResumableIterTrainLoop):

        def counted(self, *args, original=loop.run_iter):
            shared[0] = self.iter if shared[0] < 0 else shared[0]
            result = original(self, *args)
            shared[1] = self.iter
            return result

        loop.run_iter = counted


def die_at(shared, number):
    """Kill this process at one of the events of its files: half written, before and after each sync and rename."""

    def event():
        shared[2] += 1
        if shared[2] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def write_bytes(path, data, original=Path.write_bytes):
        if path.name.startswith(files.DRAFT):
            original(path, data[: len(data) // 2])
            event()
        return original(path, data)

    def around(function):
        def called(*args):
            event()
            result = function(*args)
            event()
            return result

        return called

    Path.write_bytes = write_bytes
    files.sync, files.sync_folder = around(files.sync), around(files.sync_folder)
    files.os = Renaming(around(os.replace))


class Renaming:
    """`os` with another `replace`."""

    def __init__(self, replace):
        self.replace = replace

    def __getattr__(self, name):
        return getattr(os, name)


def end(children, number=None):
    """Wait for processes, or kill them and what they have started; returns the exit codes."""
    for child in children if number else ():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, number)
    codes = []
    while children:
        done, status = os.waitpid(children[0], 0)
        codes.append(os.waitstatus_to_exitcode(status))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(done, signal.SIGKILL)  # data workers of a process that was killed
        if codes[-1]:  # the others wait for it in vain
            for child in children[1:]:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGKILL)
        children = children[1:]
    return codes


def final(folder):
    """What a run has come to: the last checkpoint's weights, averages, optimizer and schedules, and its record."""
    checkpoint = read(max(folder.glob('*[0-9].pth'), key=lambda path: int(path.stem.rpartition('_')[2])))
    record = json.loads((folder / 'record.json').read_text())
    for point in record['curve']:
        point.pop('seconds', None)
    parts = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
    names = sorted(path.name for path in folder.iterdir() if path.suffix == '.pth' or path.name.startswith('.'))
    return dict(
        {part: checkpoint.get(part) for part in parts}, files=names, generators=checkpoint['meta'].get('processes'),
        record={name: value for name, value in record.items() if name not in MEASURED},
    )  # fmt: skip


def differing(found, expected):
    """The parts in which two runs differ, and of records the fields."""
    parts = [part for part in expected if part not in ('record', 'files') and not same(found[part], expected[part])]
    parts += [f'file {name}' for name in sorted({*found['files']} ^ {*expected['files']})]
    ours, theirs = found['record'], expected['record']
    return parts + [f'record.{name}' for name in {**ours, **theirs} if not same(ours.get(name), theirs.get(name))]


def same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def ended(child):
    with open(f'/proc/{child}/stat') as file:
        return file.read().rpartition(')')[2].split()[0] == 'Z'
