"""The machine that this process runs on; the standard library alone."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


class SignalStack(ctypes.Structure):
    """`stack_t` of Linux's signal.h: where a thread's handlers of signals run."""

    _fields_ = [('pointer', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t)]


@contextmanager
def own_signal_stack() -> Iterator[None]:
    """Give this thread's stack for signals back to it afterwards.

    OpenVINO puts one of its own there for each of its cores, and where these end in another order than they began
    leaves one that is no longer mapped: the next signal of a data worker or a subprocess then ends the process.
    """
    try:
        change = ctypes.CDLL(None).sigaltstack
    except (AttributeError, OSError, TypeError):  # another system
        yield
        return
    before = SignalStack()
    known = sys.platform == 'linux' and change(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            change(ctypes.byref(before), None)


def age() -> float:
    """Seconds since this process began, its imports included; 0 where the system does not tell."""
    try:
        fields = Path('/proc/self/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf('SC_CLK_TCK')
