"""The machine that this process runs on; the standard library alone."""

from __future__ import annotations

import os
import time
from pathlib import Path


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def age() -> float:
    """Seconds since this process began, its imports included; 0 where the system does not tell."""
    try:
        fields = Path('/proc/self/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf('SC_CLK_TCK')
