"""`record.json`: what ran, on what, and the curve."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size, is_main_process, master_only
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from .... import files
from ....registry import HOOKS
from .. import finite
from ..console import run_name
from ..loops import by_epoch, stretch
from ..provenance import commit, described, hardware, peak_memory, typed_command, versions
from ..workdir import RECORD, shown, start

OF_AN_EARLIER_RUN = (
    'name', 'config', 'command', 'seed', 'commit', 'hardware', 'processes', 'epochs', 'iterations', 'iteration',
    'seconds', 'images',
)  # fmt: skip
SKIPPED = 50  # steps with a loss that is no number, which loss scaling leaves out until its scale fits
# Of all sittings, before the first one.
COSTS = dict(seconds=0.0, train_seconds=0.0, cpu_seconds=0.0, images=0, images_per_second=0.0, peak_memory_mib=0)


@HOOKS.register_module()
class RecordHook(Hook):
    """Write `record.json` into the work dir: what ran, on what, and the curve, by epochs or validations.

    The record travels with the checkpoints, so a resumed run goes on with what was true at its checkpoint.
    Of the record's fields, `seconds` adds up training and validation, `cpu_seconds` is what this process used of
    the processor meanwhile (its data workers aside), `images_per_second` is training alone (data loading included),
    `peak_memory_mib` is the device's, or the process's on a CPU. `earlier` tells of the run whose checkpoint this one
    started from by `load_from`, and of those before it, the first of all first; these costs are without theirs. `plan`
    tells what a run by time set itself (see `by_time.make_plan`).

    Args:
        skip: How many steps in a row may have a loss that is no finite number: they change no weights. On a device, a
            number above 0 makes each step wait for its loss.

    Raises:
        ValueError: `skip` is no whole number of 0 or more.
        FloatingPointError: The loss is no finite number, in more steps than that. The message tells the iteration, the
            learning rate, the first module whose output is not finite when the batch is run again, and the last good
            checkpoint.
    """

    priority = 'LOW'  # before checkpoints are saved

    def __init__(self, skip: int = 0) -> None:
        if type(skip) is not int or skip < 0:
            raise ValueError(f'skip={skip!r} is not allowed: it must be a whole number, 0 or more')
        self.skip = skip
        self.record: dict[str, Any] = {}
        self.resumed: dict[str, Any] = {}
        self.earlier: list[dict[str, Any]] = []
        self.spoilt = 0

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        old = checkpoint.get('record', {})
        if runner._resume:
            self.resumed, self.earlier = old, old.get('earlier', [])
        elif old:
            self.earlier = [*old.get('earlier', []), {key: old[key] for key in OF_AN_EARLIER_RUN if key in old}]

    def before_train(self, runner: Runner) -> None:
        finite.guard(runner.model, runner.optim_wrapper, self.skip > 0)
        old = self.resumed
        self.path = Path(runner.work_dir) / RECORD
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
            **{name: old.get(name, nothing) for name, nothing in COSTS.items()},
            curve=old.get('curve', []),
            settings={**runner.cfg.to_dict(), 'load_from': start(runner.cfg)},
        )
        if plan := getattr(runner, 'plan', old.get('plan')):
            self.record['plan'] = plan
        if self.earlier:
            self.record['earlier'] = self.earlier
        self._describe_data(runner, 'train', old)
        if runner.val_loop is not None:
            self._describe_data(runner, 'val', old)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, **kwargs: Any) -> None:
        self.images += len(data_batch['inputs']) * get_world_size()
        self.train_seconds += runner.message_hub.get_scalar('train/time').current()
        self._check_loss(runner, data_batch)

    def _check_loss(self, runner: Runner, batch: Any = None) -> None:
        """Stop before more is trained, saved or recorded where a step has spoilt the weights."""
        scalars = runner.message_hub.log_scalars
        loss = scalars['train/loss'].current() if 'train/loss' in scalars else 0.0  # a device tells it later
        if math.isfinite(loss):
            self.spoilt = 0
        elif batch is not None or not self.skip:  # once for each step
            self.spoilt += 1
        if self.spoilt > max(self.skip, SKIPPED if hasattr(runner.optim_wrapper, 'loss_scaler') else 0):
            raise FloatingPointError(
                f'the loss is {loss} by iteration {runner.iter + 1}, {finite.explained(runner, batch)}: lower '
                'optim_wrapper.optimizer.lr, or set optim_wrapper.clip_grad'
            )

    def after_train_epoch(self, runner: Runner) -> None:
        if by_epoch(runner):
            self._add_point(runner, epoch=runner.epoch + 1)
            self._write(runner.iter)

    def _add_point(self, runner: Runner, **when: int) -> None:
        self._check_loss(runner)
        hub = runner.message_hub
        loss = torch.tensor(hub.get_scalar('train/loss').mean(stretch(runner)), dtype=torch.double)
        all_reduce(loss, 'mean')  # each process knows the loss of its own images alone
        lr = hub.get_scalar('train/lr').current()
        self.record['curve'].append(dict(**when, loss=_rounded(loss), lr=_rounded(lr)))

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        check_best(runner.hooks, metrics or {})
        if self.record and not by_epoch(runner) and last_iteration(self.record['curve']) != runner.iter:
            self._add_point(runner, iteration=runner.iter)  # once, though a resumed run may validate again
        if self.record.get('curve'):
            self.record['curve'][-1].update(_numbers(metrics))
            self._write(runner.iter)

    def after_train(self, runner: Runner) -> None:
        if not self.record['curve']:  # iterations without a validation
            self._add_point(runner, iteration=runner.iter)
        self._write(runner.iter)

    def after_test_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        if self.record:  # at the end of training
            self.record['test'] = _numbers(metrics)
            self._describe_data(runner, 'test', {})
            self._write(runner.iter)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._check_loss(runner)
        self._update(checkpoint['meta']['iter'])
        checkpoint['record'] = json.loads(self._text())

    def _update(self, iteration: int) -> None:
        record, now, cpu_now = self.record, time.perf_counter(), time.process_time()
        spent = dict(seconds=now - self.since, cpu_seconds=cpu_now - self.cpu_since, train_seconds=self.train_seconds)
        record.update(iteration=iteration, **{name: round(record[name] + more, 1) for name, more in spent.items()})
        record['images'] += self.images
        record['images_per_second'] = round(record['images'] / max(record['train_seconds'], 1e-3), 1)
        record['peak_memory_mib'] = max(record['peak_memory_mib'], peak_memory())
        self.since, self.cpu_since, self.images, self.train_seconds = now, cpu_now, 0, 0.0
        if record['curve']:
            record['curve'][-1].setdefault('seconds', record['seconds'])

    def _write(self, iteration: int) -> None:
        self._update(iteration)
        if is_main_process():
            files.write(self.path, self._text())

    def _text(self) -> str:
        return json.dumps(self.record, indent=1, default=str) + '\n'

    @master_only
    def _describe_data(self, runner: Runner, split: str, old: Mapping) -> None:
        found = self.record['data'][split] = described(getattr(runner, f'{split}_dataloader').dataset, split)
        before = old.get('data', {}).get(split, found)
        if {**before, 'name': found['name']} != found:  # records of earlier versions have no name
            runner.logger.warning(f'{split} data is not that of the run so far: {before} became {found}')


def last_iteration(curve: Sequence[Mapping[str, Any]]) -> int | None:
    """The iteration of a curve's last point, where its points are of iterations."""
    return curve[-1].get('iteration') if curve else None


def check_best(hooks: Iterable[Hook], metrics: Mapping[str, Any]) -> None:
    """Tell in a sentence that `save_best` names no metric; MMEngine says its name alone.

    Raises:
        ValueError: It does.
    """
    for hook in hooks:
        for name in getattr(hook, 'key_indicators', None) or () if isinstance(hook, CheckpointHook) else ():
            if name != 'auto' and name not in metrics:
                raise ValueError(
                    f'default_hooks.checkpoint.save_best={name!r} is not allowed: validation gives {", ".join(metrics)}'
                )


def _rounded(value: float) -> float:
    return float(f'{float(value):.6g}')


def _numbers(metrics: Mapping[str, Any] | None) -> dict[str, float]:
    return {k: _rounded(v) for k, v in (metrics or {}).items() if isinstance(v, Real)}
