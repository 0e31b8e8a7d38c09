"""What MMEngine's runner does besides: memory format, progress bar, run record, checkpoint check."""

from __future__ import annotations

import json
import logging
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep convolution weights, and with them every map, in the memory order N, H, W, C."""

    def before_run(self, runner: Runner) -> None:
        runner.model.to(memory_format=torch.channels_last)


@HOOKS.register_module()
class ProgressHook(Hook):
    """One live line on a terminal: loss, accuracy, images/s and remaining time; else nothing.

    While it shows, the console gets warnings only; log files get everything.
    """

    priority = 'LOWEST'

    def __init__(self, stream: Any = None) -> None:
        self.stream = stream or sys.stdout
        self.bar: Progress | None = None

    @master_only
    def before_train(self, runner: Runner) -> None:
        if not self.stream.isatty():
            return
        self.bar = Progress(
            TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
            TextColumn('{task.fields[status]}'), TimeRemainingColumn(compact=True),
        )  # fmt: skip
        self.task = self.bar.add_task('train', total=runner.max_iters, completed=runner.iter, status='')
        self.bar.start()
        self._console(runner, logging.WARNING)

    @master_only
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if self.bar is not None:
            text = f'epoch {runner.epoch + 1}/{runner.max_epochs}'
            self.bar.update(self.task, completed=runner.iter + 1, description=text, status=status(runner, data_batch))

    @master_only
    def after_run(self, runner: Runner) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
            self._console(runner, logging.INFO)

    @staticmethod
    def _console(runner: Runner, level: int) -> None:
        for handler in runner.logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setLevel(level)


def status(runner: Runner, data_batch: Any) -> str:
    """`loss 1.234  acc 56.7 %  890 images/s`, from MMEngine's message hub."""
    hub = runner.message_hub
    parts = []
    for key, text in (('train/loss', 'loss {:.3f}'), ('val/accuracy/top1', 'acc {:.2f} %')):
        if key in hub.log_scalars:
            parts.append(text.format(hub.get_scalar(key).current()))
    seconds = hub.log_scalars.get('train/time')
    if seconds is not None and data_batch is not None:
        images = len(data_batch['inputs']) / seconds.mean(20)
        parts.append(f'{images:.0f} images/s' if images >= 10 else f'{images:.1f} images/s')
    return '  '.join(parts)


@HOOKS.register_module()
class RecordHook(Hook):
    """Write `record.json` into the work dir: what ran, on what, and the curve, epoch by epoch.

    A resumed run goes on with the record that it finds; `seconds` adds up training and validation.
    """

    priority = 'VERY_LOW'
    FILE = 'record.json'

    def before_train(self, runner: Runner) -> None:
        self.path = Path(runner.work_dir) / self.FILE
        self.started = time.perf_counter()
        old = self._previous(runner)
        self.seconds = old.get('seconds', 0.0)
        self.record = dict(
            name=runner.experiment_name.rsplit('_', 2)[0],
            seed=runner.seed,
            commit=commit(),
            resumed=old.get('resumed', 0) + 1 if old else 0,
            versions=versions(),
            hardware=hardware(),
            data=dict(train=len(runner.train_dataloader.dataset)),
            epochs=runner.max_epochs,
            iterations=runner.max_iters,
            curve=[p for p in old.get('curve', []) if p['epoch'] <= runner.epoch],
            config=runner.cfg.to_dict(),
        )

    def _previous(self, runner: Runner) -> dict:
        if runner.iter and self.path.is_file():
            return json.loads(self.path.read_text())
        return {}

    def after_train_epoch(self, runner: Runner) -> None:
        hub = runner.message_hub
        point = dict(epoch=runner.epoch + 1, loss=_rounded(hub.get_scalar('train/loss').mean(100)))
        self.record['curve'].append(point)
        self._write()

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        if getattr(self, 'record', None) and self.record['curve']:
            self.record['curve'][-1].update({k: _rounded(v) for k, v in (metrics or {}).items()})
            self.record['data']['val'] = len(runner.val_dataloader.dataset)
            self._write()

    def after_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._write()

    @master_only
    def _write(self) -> None:
        self.record['seconds'] = round(self.seconds + time.perf_counter() - self.started, 1)
        self.path.write_text(json.dumps(self.record, indent=1, default=str) + '\n')


def _rounded(value: float) -> float:
    return round(float(value), 6)


def commit() -> str | None:
    """The checkout's commit, with `-dirty` where it has uncommitted changes; None outside a checkout."""
    command = ['git', 'describe', '--always', '--abbrev=12', '--dirty', '--exclude=*']
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that make the result."""
    names = ('torch', 'torchvision', 'timm', 'onedl-mmengine', 'mmengine', 'onedl-mmpretrain', 'mmpretrain', 'numpy')
    found = {d.metadata['Name'].lower(): d.version for d in metadata.distributions()}
    return dict(python=platform.python_version(), **{n: found[n] for n in names if n in found})


def hardware() -> str:
    """The GPU's name, or the CPU's number of threads and instruction set."""
    if torch.cuda.is_available():
        return f'{torch.cuda.device_count()} x {torch.cuda.get_device_name()}'
    return f'CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}'


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Refuse a checkpoint of another network; MMEngine only logs it and leaves weights random.

    When a run starts from a checkpoint (`load_from`), its classifier may differ and is then trained anew.

    Raises:
        ValueError: Keys or shapes differ; the sentence lists the first of them and both architectures.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        theirs = checkpoint.get('state_dict', checkpoint)
        ours = model.state_dict()
        fine_tuning = runner._train_loop is not None and not runner._resume
        if fine_tuning:
            for key in [k for k in theirs if k.startswith('head.') and k in ours and theirs[k].shape != ours[k].shape]:
                runner.logger.info(f'{key} is trained anew: {tuple(theirs[key].shape)} became {tuple(ours[key].shape)}')
                del theirs[key]
        differences = mismatches(ours, theirs, ignore='head.' if fine_tuning else None)
        if differences:
            raise ValueError(
                f'checkpoint does not fit the model: {"; ".join(differences[:4])}'
                f'{" and more" if len(differences) > 4 else ""}. The model is {describe(runner.cfg)}, '
                f'the checkpoint is {checkpoint_architecture(checkpoint)}'
            )


def mismatches(ours: Mapping, theirs: Mapping, ignore: str | None = None) -> list[str]:
    """Sentences about keys that are missing, unexpected or of another shape."""
    found = []
    for key in [*ours, *(k for k in theirs if k not in ours)]:
        if ignore and key.startswith(ignore):
            continue
        if key not in theirs:
            found.append(f'{key} is missing')
        elif key not in ours:
            found.append(f'{key} is unexpected')
        elif ours[key].shape != theirs[key].shape:
            found.append(f'{key} has shape {tuple(theirs[key].shape)} instead of {tuple(ours[key].shape)}')
    return found


def describe(cfg: Mapping) -> str:
    """Type and architecture of a config's backbone."""
    model = cfg.get('model') or {}
    backbone = (model.get('module') or model).get('backbone') or {}
    options = ', '.join(f'{k}={v!r}' for k, v in backbone.items() if k not in ('type', 'init_cfg'))
    return f'{backbone.get("type", "unknown")}({options})'


def checkpoint_architecture(checkpoint: Mapping) -> str:
    """Architecture that a checkpoint's own config names, or the number of its parameters."""
    text = checkpoint.get('meta', {}).get('cfg')
    if isinstance(text, str):
        from mmengine.config import Config

        return describe(Config.fromstring(text, '.py'))
    weights = checkpoint.get('state_dict', checkpoint)
    count = sum(v.numel() for v in weights.values() if isinstance(v, torch.Tensor))
    return f'of {count:,} values with keys such as {next(iter(weights), None)!r}'


