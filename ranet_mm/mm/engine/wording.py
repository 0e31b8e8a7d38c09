"""How a run, its speed and its scores are told."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mmengine.runner import Runner

NAMES = {'accuracy/top1': 'accuracy'}


def scores(metrics: Mapping[str, float]) -> str:
    """`accuracy 98.33`, from MMEngine's metrics."""
    return '  '.join(f'{NAMES.get(k, k)} {v:.2f}' for k, v in metrics.items() if isinstance(v, float | np.floating))


def images_per_second(speed: float) -> str:
    return f'{speed:.0f} images/s' if speed >= 10 else f'{speed:.1f} images/s'


def clock(seconds: float) -> str:
    """`h:mm:ss`, or `m:ss` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{rest:02d}' if hours else f'{minutes}:{rest:02d}'


def run_name(runner: Runner) -> str:
    """The config file's name, which MMEngine follows with a time stamp."""
    return runner.experiment_name.rsplit('_', 2)[0]
