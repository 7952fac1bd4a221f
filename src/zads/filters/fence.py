"""The fence around the process in which an owner's filters run. The kernel enforces it.

1. limits: of memory beyond what the process has now, and of descriptors; no files, processes or locked memory;
2. the files that it may read (`zads.filters.landlock`), where the kernel has Landlock;
3. the system calls that it may make (`zads.filters.seccomp`). This comes last, since the others need more of them.

In a deployment the process also has a user of its own, in a container without network, credentials or anything to write
(`zads.filters.nursery`, role `filter_worker`).
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
    """The file with a process's sizes. It stays open: opening it for each filter would cost more than most filters."""
    return os.open(f"/proc/{process}/statm", os.O_RDONLY | os.O_CLOEXEC)


def address_space() -> int:
    """Bytes of virtual memory of this process."""
    return int(os.pread(_sizes(os.getpid()), 64, 0).split(maxsplit=1)[0]) * _PAGE


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, for whatever reason."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def hide() -> None:
    """Keep other processes of the same user from reading this one's memory."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def close(memory_bytes: int, directories: Iterable[Path]) -> None:
    """Close the fence around this process. It may then take `memory_bytes` more, and read the directories.

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
