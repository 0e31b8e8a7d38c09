"""`record.json`: what ran, on what, and the curve."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from numbers import Real
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from mmengine.dist import all_reduce, get_world_size, is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..registry import HOOKS
from .identity import common_folder, data_name
from .progress import by_epoch, run_name, shown, stretch

PACKAGES = (
    'torch', 'torchvision', 'timm', 'numpy', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmsegmentation',
    'onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain', 'onedl-mmdetection', 'onedl-mmsegmentation',
)  # fmt: skip
CONTENT_LIMIT = 2**30  # bytes of files that are read for a digest
OF_AN_EARLIER_RUN = (
    'name', 'config', 'command', 'seed', 'commit', 'hardware', 'processes', 'epochs', 'iterations', 'iteration',
    'seconds', 'images',
)  # fmt: skip


@HOOKS.register_module()
class RecordHook(Hook):
    """Write `record.json` into the work dir: what ran, on what, and the curve, epoch by epoch.

    The record travels with the checkpoints, so a resumed run goes on with what was true at its checkpoint.
    Of the record's fields, `seconds` adds up training and validation, `cpu_seconds` is what this process used of
    the processor meanwhile (its data workers aside), `images_per_second` is training alone (data loading included),
    `peak_memory_mib` is the device's, or the process's on a CPU. `earlier` tells of the run whose checkpoint this one
    started from by `load_from`, and of those before it, the first of all first; these costs are without theirs. `plan`
    tells what a run by time set itself (see `by_time.make_plan`).
    """

    priority = 'LOW'  # before checkpoints are saved
    FILE = 'record.json'

    def __init__(self) -> None:
        self.record: dict[str, Any] = {}
        self.resumed: dict[str, Any] = {}
        self.earlier: list[dict[str, Any]] = []

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        old = checkpoint.get('record', {})
        if runner._resume:
            self.resumed, self.earlier = old, old.get('earlier', [])
        elif old:
            self.earlier = lineage(old)

    def before_train(self, runner: Runner) -> None:
        old = self.resumed
        self.path = Path(runner.work_dir) / self.FILE
        self.since, self.cpu_since = time.perf_counter(), time.process_time()
        self.images, self.train_seconds = 0, 0.0
        self.record = dict(
            name=run_name(runner),
            config=shown(runner.cfg.filename),
            command=typed_command(),
            seed=runner.seed,
            commit=commit(),
            sittings=old.get('sittings', 0) + 1,
            versions=versions(),
            hardware=hardware(),
            processes=get_world_size(),
            parameters=sum(p.numel() for p in runner.model.parameters()),
            data={},
            epochs=runner.max_epochs,
            iterations=runner.max_iters,
            iteration=runner.iter,
            seconds=old.get('seconds', 0.0),
            train_seconds=old.get('train_seconds', 0.0),
            cpu_seconds=old.get('cpu_seconds', 0.0),
            images=old.get('images', 0),
            images_per_second=old.get('images_per_second', 0.0),
            peak_memory_mib=old.get('peak_memory_mib', 0),
            curve=old.get('curve', []),
            settings=settings(runner),
        )
        if plan := getattr(runner, 'plan', old.get('plan')):
            self.record['plan'] = plan
        if self.earlier:
            self.record['earlier'] = self.earlier
        self._describe_data(runner, 'train', old)
        if runner.val_loop is not None:
            self._describe_data(runner, 'val', old)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        self.images += len(data_batch['inputs']) * get_world_size()
        self.train_seconds += runner.message_hub.get_scalar('train/time').current()

    def after_train_epoch(self, runner: Runner) -> None:
        if by_epoch(runner):
            self._add_point(runner, epoch=runner.epoch + 1)
            self._write(runner.iter)

    def _add_point(self, runner: Runner, **when: int) -> None:
        hub = runner.message_hub
        loss = torch.tensor(hub.get_scalar('train/loss').mean(stretch(runner)), dtype=torch.double)
        all_reduce(loss, 'mean')  # each process knows the loss of its own images alone
        lr = hub.get_scalar('train/lr').current()
        self.record['curve'].append(dict(**when, loss=_rounded(loss), lr=_rounded(lr)))

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        if self.record and not by_epoch(runner):
            self._add_point(runner, iteration=runner.iter)
        if self.record.get('curve'):
            self.record['curve'][-1].update(_numbers(metrics))
            self._write(runner.iter)

    def after_test_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        if self.record.get('curve'):  # at the end of training
            self.record['test'] = _numbers(metrics)
            self._describe_data(runner, 'test', {})
            self._write(runner.iter)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._update(checkpoint['meta']['iter'])
        checkpoint['record'] = json.loads(self._text())

    def _update(self, iteration: int) -> None:
        now, cpu_now = time.perf_counter(), time.process_time()
        record = self.record
        record['iteration'] = iteration
        record['seconds'] = round(record['seconds'] + now - self.since, 1)
        record['cpu_seconds'] = round(record['cpu_seconds'] + cpu_now - self.cpu_since, 1)
        record['images'] += self.images
        record['train_seconds'] = round(record['train_seconds'] + self.train_seconds, 1)
        record['images_per_second'] = round(record['images'] / max(record['train_seconds'], 1e-3), 1)
        record['peak_memory_mib'] = max(record['peak_memory_mib'], peak_memory())
        self.since, self.cpu_since, self.images, self.train_seconds = now, cpu_now, 0, 0.0
        if record['curve']:
            record['curve'][-1].setdefault('seconds', record['seconds'])

    def _write(self, iteration: int) -> None:
        self._update(iteration)
        write_atomically(self.path, self._text())

    def _text(self) -> str:
        return json.dumps(self.record, indent=1, default=str) + '\n'

    def _describe_data(self, runner: Runner, split: str, old: Mapping) -> None:
        if not is_main_process():
            return
        loader = getattr(runner, f'{split}_dataloader')
        found = self.record['data'][split] = described(loader.dataset, split)
        before = old.get('data', {}).get(split, found)
        if {**before, 'name': found['name']} != found:  # records of earlier versions have no name
            runner.logger.warning(f'{split} data is not that of the run so far: {before} became {found}')


def lineage(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a run that starts from another's checkpoint tells of it, and of those before it."""
    return [*record.get('earlier', []), {key: record[key] for key in OF_AN_EARLIER_RUN if key in record}]


@master_only
def write_atomically(path: Path, text: str) -> None:
    """Write a file such that a reader, or a crash, never meets half of it."""
    draft = path.with_name(f'{path.name}.tmp')
    draft.write_text(text)
    draft.replace(path)


def typed_command() -> str:
    """The command line of this process, or of the script that started it with others.

    The console command goes by its name, wherever pip has put it.
    """
    program, *arguments = sys.argv
    script, processes = Path(shown(program)), os.environ.get('LOCAL_WORLD_SIZE')
    if script.stem == 'ranet':
        return shlex.join(['ranet', *arguments])
    if script.name in ('train.py', 'test.py') and processes and arguments[-2:] == ['--launcher', 'pytorch']:
        config, *options = arguments[:-2]
        if not config.startswith('-'):  # the order in which the starting script hands them on
            return shlex.join([str(script.with_name(f'dist_{script.stem}.sh')), config, processes, *options])
    return shlex.join(['python', str(script), *arguments])


def settings(runner: Runner) -> dict[str, Any]:
    """The config; a checkpoint that the run goes on from is told from the current folder, where it lies below."""
    found = runner.cfg.to_dict()
    if found.get('load_from') and '://' not in found['load_from']:
        found['load_from'] = shown(found['load_from'])
    return found


def _rounded(value: float) -> float:
    return float(f'{float(value):.6g}')


def _numbers(metrics: Mapping[str, Any] | None) -> dict[str, float]:
    return {k: _rounded(v) for k, v in (metrics or {}).items() if isinstance(v, Real)}


def described(dataset: Any, role: str) -> dict[str, Any]:
    """Name (see `data_name`) and digest of a data set, which is read once."""
    known = _DESCRIBED.setdefault(dataset, {})
    if role not in known:
        known[role] = dict(name=data_name(dataset, role), **data_digest(dataset))
    return known[role]


_DESCRIBED: WeakKeyDictionary[Any, dict[str, dict]] = WeakKeyDictionary()


def data_digest(dataset: Any) -> dict[str, Any]:
    """Number of samples, and SHA-256 over their labels and their names and content, in order.

    Files above 1 GiB in all are told by name and size alone; `of` says which.
    """
    samples = [dataset.get_data_info(i) for i in range(len(dataset))] if hasattr(dataset, 'get_data_info') else []
    paths = [s['img_path'] for s in samples if 'img_path' in s]
    root = common_folder(paths)
    with_content = sum(map(os.path.getsize, paths)) <= CONTENT_LIMIT
    digest = hashlib.sha256()
    for sample in samples:
        for part in _identity(sample, root, with_content):
            digest.update(part)
    of = 'labels and pixels' if not paths else 'labels, names and ' + ('content' if with_content else 'sizes')
    return dict(samples=len(dataset), sha256=digest.hexdigest(), of=of)


def _identity(sample: Mapping, root: str, with_content: bool) -> Iterator[bytes]:
    yield repr(sample.get('gt_label')).encode()
    if 'instances' in sample:  # boxes and masks of single objects
        yield repr(sample['instances']).encode()
    if sample.get('seg_map_path'):
        yield Path(sample['seg_map_path']).read_bytes()
    path = sample.get('img_path')
    if path is None:
        yield np.ascontiguousarray(sample.get('img', ())).tobytes()
        return
    yield os.path.relpath(path, root).encode()
    yield Path(path).read_bytes() if with_content else str(os.path.getsize(path)).encode()


def commit() -> str | None:
    """The checkout's commit, with `-dirty` where it has uncommitted changes; None outside a checkout.

    A copy without its history is told by the variable `RANET_MM_COMMIT`.
    """
    here = Path(__file__)
    if _git('ls-files', '--error-unmatch', here.name) is None:  # installed below somebody else's checkout
        return os.environ.get('RANET_MM_COMMIT')
    return _git('describe', '--always', '--abbrev=12', '--dirty', '--exclude=*')


def _git(*args: str) -> str | None:
    try:
        done = subprocess.run(['git', *args], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that make the result."""
    found = {d.name.lower(): d.version for d in metadata.distributions()}
    found['torch'] = torch.__version__  # tells the build
    if torch.cuda.is_available():
        found.update(cuda=torch.version.cuda, cudnn=str(torch.backends.cudnn.version()))
    return dict(python=platform.python_version(), **{n: found[n] for n in (*PACKAGES, 'cuda', 'cudnn') if n in found})


def hardware() -> str:
    """The GPU's name, or the CPU's number of threads and instruction set."""
    if torch.cuda.is_available():
        return f'{torch.cuda.device_count()} x {torch.cuda.get_device_name()}'
    return f'CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}'


def peak_memory() -> int:
    """MiB that this process held at most: of the GPU's memory, or of the machine's on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() // 2**20
    unit = 1 if sys.platform == 'darwin' else 2**10  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20
