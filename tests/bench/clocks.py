"""Processor time, which other work on the machine disturbs least, of this process and of those that it started."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
SHORTEST = 0.1  # seconds: what takes less is repeated, for a clock and an interruption are not that fine


def cost(work: Callable[[T], object], inputs: Sequence[T]) -> float:
    """Processor time of one call in microseconds, over as many passes through the inputs as make a fair measurement."""
    passes, begun = 0, time.process_time()
    while (spent := time.process_time() - begun) < SHORTEST or not passes:
        for one in inputs:
            work(one)
        passes += 1
    return spent / passes / len(inputs) * 1e6


def children(pid: int | str = "self") -> set[int]:
    """The processes that a process (this one, if none is named) has started."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found.update(map(int, (task / "children").read_text().split()))
    return found


def spent(processes: set[int]) -> float:
    """Processor seconds that this process and some others have spent so far."""
    # A process's clock has the number that clock_getcpuclockid(3) makes of its id.
    return time.process_time() + sum(time.clock_gettime(~pid << 3 | 2) for pid in processes)


def resident(pid: int) -> int:
    """Bytes of memory that a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
