"""How a run, its speed and its scores are told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

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


def shown(path: str) -> str:
    """A path from the current folder, where it lies below."""
    return os.path.relpath(path) if Path(path).resolve().is_relative_to(Path.cwd()) else str(path)
