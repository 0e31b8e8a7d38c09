"""What may stand on the console: no chatter of libraries, warnings, and what the hooks say."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any, TextIO

from mmengine.logging import MMLogger

CHATTER = (
    'Default ``avg_non_ignore``',
    'The draw is False',
    '`reduce_zero_label` will be deprecated',
    'faster_coco_eval is not installed',
)
LOGGED_CHATTER = ('deprecated', 'prefix is not set', 'is not compiled')


def quiet_imports() -> None:
    """Keep warnings that a user can do nothing about off the console."""
    warnings.filterwarnings('ignore', category=UserWarning, message='Fail to import ``MultiScaleDeformable')
    warnings.filterwarnings('ignore', category=UserWarning, message='Setting ..._NUM_THREADS')
    warnings.filterwarnings('ignore', category=FutureWarning)
    warnings.filterwarnings('ignore', category=DeprecationWarning)


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
