"""The fence around the process in which an owner's filters run; the kernel keeps it.

1. limits: memory beyond what the process has now, descriptors, no files, no processes, no locked memory;
2. what it may look at (`zads.filters.landlock`), where the kernel has that;
3. the system calls that it may make (`zads.filters.seccomp`), the last, since the others need more than these.

In a deployment the process also is another user's than any other, in a container that has no network, no credentials
and nothing to write (`zads.filters.nursery`, role `filter_worker`).
"""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import signal
from collections.abc import Iterable
from pathlib import Path

from zads.filters import landlock, seccomp

MAX_DESCRIPTORS = 64
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_PAGE = resource.getpagesize()
_NOTHING = ("CORE", "FSIZE", "NPROC", "MEMLOCK", "MSGQUEUE", "SIGPENDING")


@functools.cache
def _sizes(process: int) -> int:
    """What tells a process's sizes, kept open: opening it before and after each filter costs more than most filters."""
    return os.open(f"/proc/{process}/statm", os.O_RDONLY | os.O_CLOEXEC)


def address_space() -> int:
    """Bytes of virtual memory that this process has."""
    return int(os.pread(_sizes(os.getpid()), 64, 0).split(maxsplit=1)[0]) * _PAGE


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def hide() -> None:
    """Keep processes of the same user from this one's memory."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def close(memory_bytes: int, directories: Iterable[Path]) -> None:
    """Close the fence around this process, which may have `memory_bytes` more and read the directories.

    Raises ZadsError where the kernel does not filter system calls.
    """
    # 1
    wall = address_space() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (wall, wall))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_DESCRIPTORS, MAX_DESCRIPTORS))
    for name in _NOTHING:
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (0, 0))
    # 2
    landlock.close(directories)
    # 3
    seccomp.close()
