"""Training by time: as many epochs as fit into some minutes, at the speed that the run itself is measured at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, get_world_size, is_main_process
from mmengine.runner import Runner

from ...machine import age
from .console import images_per_second
from .costs import Costs, loaders, measured
from .hooks import ProgressiveResizeHook, hook_type

MEASURED = 0.02  # of the minutes, for each measurement
RESERVE = 0.08  # of what is planned: steps vary, and hooks take a little
ENDING = 3.0  # seconds from the last metric to the end of the process
SHARE = 0.05  # of the time, at most, for validation, and as much for checkpoints

WARM_UP = 0.1  # of the run: at most so long is what is counted in iterations
WHOLE = 'step_size', 'begin', 'end', 'T_max', 'total_iters'  # of a scheduler, in epochs or iterations


def planned(cfg: Config, minutes: float, build: Callable[[Config], Runner]) -> Runner:
    """A runner whose last validation and test end within the minutes; the config gets its number of epochs.

    A first runner measures steps (at each image size of the run), validation, test and checkpoints. Its model, compiled
    where the config says so, and its data go on to the second one, which starts as if it were the only one.

    Args:
        cfg: A config whose loop counts epochs.
        minutes: From the start of the process.
        build: Makes a runner of a config.

    Raises:
        ValueError: Not even one epoch fits, or the config counts no epochs.
    """
    counted_epochs(cfg)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        trial = build(Config(dict(cfg.to_dict(), work_dir=folder), filename=cfg.filename))
        costs = measured(trial, 60 * minutes * MEASURED)
    plan = [make_plan(cfg, costs, minutes, trial)]
    broadcast_object_list(plan)  # of the first process
    set_epochs(cfg, plan[0])
    runner = build(cfg)
    runner.model, runner.plan = trial.model, plan[0]
    for name in loaders(trial):
        setattr(runner, name, getattr(trial, name))
    if is_main_process():
        epochs, speed = runner.plan['epochs'], images_per_second(runner.plan['images_per_second'])
        print(
            f'In {minutes:g} minutes: {epochs} epoch{"s" * (epochs > 1)} at {speed}, all to end after '
            f'{runner.plan["seconds"] / 60:.1f} minutes',
            flush=True,
        )
    return runner


def make_plan(cfg: Config, costs: Costs, minutes: float, runner: Runner) -> dict[str, Any]:
    """The epochs that fit, and how often to validate and to save.

    Returns:
        `minutes` asked for, `images_per_second` in training, `epochs` and their `iterations`, `val_interval` and
        `save_interval` in epochs, `seconds` from the start of the process that all is expected to take, those that had
        `passed`, and the `costs` that were measured.
    """
    loader = runner._train_dataloader
    often = {name: max(1, round(costs[name] / (SHARE * costs['epoch']))) for name in ('val', 'save')}
    val_interval = max(cfg.train_cfg.get('val_interval', 1), often['val'])
    started = age()
    epochs, left = 0, 60 * minutes - started - ENDING
    while total(costs, epochs + 1, val_interval, often['save']) <= left:
        epochs += 1
    seconds = started + total(costs, max(1, epochs), val_interval, often['save']) + ENDING
    if not epochs:
        raise ValueError(
            f'--minutes {minutes:g} is not allowed here: one epoch with its validation and the test would end after '
            f'{seconds / 60:.1f} minutes'
        )
    return dict(
        minutes=minutes, images_per_second=round(loader.batch_size * get_world_size() / costs['step'], 1),
        epochs=epochs, iterations=len(loader), val_interval=min(val_interval, epochs),
        save_interval=min(often['save'], epochs), seconds=round(seconds, 1), passed=round(started, 1),
        costs={name: round(value, 4) for name, value in costs.items()},
    )  # fmt: skip


def total(costs: Costs, epochs: int, val_interval: int, save_interval: int) -> float:
    """Seconds of so many epochs, with their validations (each may be the best, and saved), checkpoints and the test."""
    validations, saves = -(-epochs // val_interval), -(-epochs // save_interval)
    each = epochs * costs['epoch'] + validations * (costs['val'] + costs['save']) + saves * costs['save']
    return costs['start'] + costs['test'] + each * (1 + RESERVE)


def set_epochs(cfg: Config, plan: Mapping[str, Any]) -> None:
    """Change a config to train for other epochs, with learning rates, image sizes and averages in proportion.

    Args:
        cfg: A config whose loop counts epochs.
        plan: `epochs`, the `iterations` of one, and `val_interval` and `save_interval` in epochs.

    Raises:
        ValueError: The loop counts iterations.
    """
    epochs = plan['epochs']
    factor = epochs / counted_epochs(cfg)
    cfg.train_cfg.update(max_epochs=epochs, val_interval=plan['val_interval'])
    if cfg.get('default_hooks', {}).get('checkpoint', {}).get('by_epoch', True):
        cfg.merge_from_dict({'default_hooks.checkpoint.interval': plan['save_interval']})
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers, Mapping) else schedulers:
        scale(scheduler, factor, epochs * plan['iterations'])
    for hook in cfg.get('custom_hooks') or ():
        if hook.get('begin_epoch'):
            hook.begin_epoch = max(1, round(hook.begin_epoch * factor))
        if hook_type(hook) is ProgressiveResizeHook:
            hook.sizes = [(first * factor, side) for first, side in hook.sizes]


def counted_epochs(cfg: Config) -> int:
    """The epochs of a config, or a ValueError where its loop counts iterations."""
    if 'max_epochs' not in cfg.train_cfg:
        raise ValueError('--minutes is not allowed here: the training loop of this config counts no epochs')
    return cfg.train_cfg.max_epochs


def scale(scheduler: dict[str, Any], factor: float, total: int) -> None:
    """Stretch a scheduler of MMEngine by a factor; `total` is the new number of iterations.

    A warm-up that is counted in iterations keeps its length, as far as it is a tenth of the run; milestones never do.
    """
    by_epoch = scheduler.get('by_epoch', True)
    if 'milestones' in scheduler:
        scheduler['milestones'] = [max(1, round(place * factor)) for place in scheduler['milestones']]
    for name, value in scheduler.items():
        if name not in WHOLE or not value:
            continue
        if not by_epoch:
            scheduler[name] = min(value, max(1, round(WARM_UP * total)))
        elif scheduler.get('convert_to_iter_based'):
            scheduler[name] = value * factor
        else:
            scheduler[name] = max(1, round(value * factor))
