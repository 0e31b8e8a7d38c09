"""What may stand on the console: no chatter of libraries, warnings, and how a run, its speed and scores are told."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from mmengine.logging import MMLogger

if TYPE_CHECKING:
    from mmengine.runner import Runner

CHATTER = (
    'Default ``avg_non_ignore``',
    'The draw is False',
    '`reduce_zero_label` will be deprecated',
    'faster_coco_eval is not installed',
)
LOGGED_CHATTER = ('deprecated', 'prefix is not set', 'is not compiled')
NAMES = {'accuracy/top1': 'accuracy'}


def quiet_imports() -> None:
    """Keep warnings that a user can do nothing about off the console."""
    warnings.filterwarnings('ignore', category=UserWarning, message='Fail to import ``MultiScaleDeformable')
    warnings.filterwarnings('ignore', category=UserWarning, message='Setting ..._NUM_THREADS')
    for category in (FutureWarning, DeprecationWarning):
        warnings.filterwarnings('ignore', category=category)


def hush_libraries() -> None:
    """Keep what OpenMMLab's libraries say of themselves off the console, and out of the log."""
    for text in CHATTER:
        warnings.filterwarnings('ignore', category=UserWarning, message=re.escape(text))
    MMLogger.get_current_instance().addFilter(matters)  # mmpretrain's models import mmdet's, which log


def matters(record: logging.LogRecord) -> bool:
    """Leave out what a user can do nothing about."""
    return not any(text in record.getMessage() for text in LOGGED_CHATTER)


def silent(function: Callable) -> Callable:
    """Off the console with what libraries print whatever the level: where weights lie, how COCO's files are read."""

    @functools.wraps(function)
    def quiet(*args: Any, **kwargs: Any) -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            return function(*args, **kwargs)

    return quiet


class Console(logging.StreamHandler):
    """Warnings to whatever standard error is at the time, so that they stand above a live progress bar."""

    def __init__(self, replaced: logging.Handler) -> None:
        logging.Handler.__init__(self, max(replaced.level, logging.WARNING))
        self.setFormatter(replaced.formatter)
        for log_filter in replaced.filters:
            self.addFilter(log_filter)
        self.addFilter(matters)

    @property
    def stream(self) -> TextIO:
        return sys.stderr


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
