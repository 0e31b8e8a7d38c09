"""A schedule for another number of epochs: all that is counted in epochs keeps its share of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from .hooks import ProgressiveResizeHook
from .hooks.kind import hook_type

WHOLE = 'step_size', 'begin', 'end', 'T_max', 'total_iters'
WARM_UP = 0.1  # of the run: at most so long is what is counted in iterations


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
    """The epochs of a config.

    Raises:
        ValueError: Its loop counts iterations.
    """
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
    for name in WHOLE:
        value = scheduler.get(name)
        if not value:
            continue
        if not by_epoch:
            scheduler[name] = min(value, max(1, round(WARM_UP * total)))
        elif scheduler.get('convert_to_iter_based'):
            scheduler[name] = value * factor
        else:
            scheduler[name] = max(1, round(value * factor))
