"""The machine that this process runs on; the standard library alone."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def keep_memory() -> bool:
    """Have glibc keep the memory of freed tensors for the next ones, in this process; returns whether it does.

    It hands large blocks back to the system, and a network's maps are: on a CPU, each layer would then wait for fresh
    pages, which can take longer than its arithmetic. What the environment says of it stays.
    """
    trim_threshold, mmap_threshold, most = -1, -3, 2**31 - 1  # of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another library than glibc, or another system
        return False
    if any(name.startswith('MALLOC_') for name in os.environ):
        return False
    return bool(mallopt(mmap_threshold, most) and mallopt(trim_threshold, most))


def age() -> float:
    """Seconds since this process began, its imports included; 0 where the system does not tell."""
    try:
        fields = Path('/proc/self/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf('SC_CLK_TCK')
