"""Train a model from a config."""

from __future__ import annotations

import json
from argparse import Namespace
from copy import deepcopy
from pathlib import Path

from ..mm import config
from .program import Positive, command, is_main_process, option, run_options, shared


@command(
    run_options,
    option('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
           help='go on from a checkpoint, by default from the latest in the work dir'),
    shared('--overwrite', help='start anew in a work dir that holds another run'),
    option('--no-validate', action='store_true', help='do not evaluate during training'),
    option('--no-test', action='store_true', help='do not read the test images at the end'),
    option('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size'),
    option('--minutes', type=float, action=Positive, metavar='M',
           help='train as many epochs as fit, so that all ends within M minutes; the schedule is scaled to them'),
    option('--no-persistent-workers', action='store_true', help='start data workers anew each epoch'),
)  # fmt: skip
def main(args: Namespace) -> None:
    """Train, then print one summary line and where things were written."""
    cfg = configure(args)
    from ..mm.engine import by_time, launch, workdir
    from ..mm.engine.hooks.claim import ClaimHook

    if not (args.resume or args.overwrite):
        workdir.check(cfg)
    claim = ClaimHook(deepcopy(cfg), clean=args.overwrite)
    if cfg.get('minutes') and not cfg.get('resume'):
        runner = by_time.planned(cfg, cfg.minutes, config.build_runner)
    else:
        runner = config.build_runner(cfg)
    runner.register_hook(claim)
    runner.train()
    launch.leave()
    if is_main_process():
        print(summary(Path(cfg.work_dir)))


parse_args = main.parse_args


def configure(args: Namespace) -> config.Config:
    """The config with the command line's options applied.

    Raises:
        ValueError: The config has no `auto_scale_lr`, or the checkpoint is not one to resume from.
        FileNotFoundError: The config file or the checkpoint does not exist.
    """
    cfg = config.load_config(args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.no_test:
        cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    if args.amp:
        cfg.optim_wrapper.update(type='ranet_mm.AutoAmpOptimWrapper', dtype=None)
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError('--auto-scale-lr needs auto_scale_lr.base_batch_size in the config')
        cfg.auto_scale_lr.enable = True
    if args.no_persistent_workers:
        for name in config.LOADERS:
            if cfg.get(name):
                cfg[name].persistent_workers = False
    if args.minutes:
        cfg.minutes = args.minutes
    if args.resume:
        set_resume(cfg, args.resume)
    return cfg


def set_resume(cfg: config.Config, checkpoint: str) -> None:
    """Go on from a checkpoint, with the epochs that the run has planned; `auto` starts anew where there is none yet.

    Raises:
        ValueError: The run did not train by time and is to go on so.
    """
    from ..mm.engine.by_time import set_epochs
    from ..mm.engine.workdir import newest
    from ..weights.read import resumable

    path = newest(Path(cfg.work_dir)) if checkpoint == 'auto' else checkpoint
    if path is None:
        return
    plan = resumable(path).get('record', {}).get('plan')
    if plan:
        set_epochs(cfg, plan)
        cfg.minutes = plan['minutes']
    elif cfg.get('minutes'):
        raise ValueError(f'--minutes is not allowed here: the run of checkpoint {str(path)!r} counts its epochs')
    cfg.resume, cfg.load_from = True, str(path)


def summary(folder: Path) -> str:
    """One line from the run's record, and where things were written."""
    from ..mm.engine.console import images_per_second, scores

    record = folder / 'record.json'
    where = f'Written to {folder}/: checkpoints and logs'
    if not record.is_file():
        return where
    run = json.loads(record.read_text())
    last = run['curve'][-1]
    validation = {k: v for k, v in last.items() if k not in ('epoch', 'iteration', 'loss', 'lr', 'seconds')}
    unit = 'epoch' if 'epoch' in last else 'iteration'
    parts = [f'{unit} {last[unit]}', f'loss {last["loss"]:.4f}']
    parts += [f'{of} {scores(m)}' for of, m in (('validation', validation), ('test', run.get('test'))) if m]
    return (
        f'Trained {run["name"]}: {", ".join(parts)}, {run["seconds"]:.0f} s at '
        f'{images_per_second(run["images_per_second"])}\n{where}, {record.name}'
    )
