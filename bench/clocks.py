"""Processor time of this process and of those that it started. Other work on the machine disturbs it least."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

SHORTEST = 0.1  # seconds; work that takes less is repeated, as clocks and interruptions would distort it
SLICE = 10  # inputs that a way processes before the next way has its turn

#: A function to measure, and the inputs that it is called with, one after the other.
Way = tuple[Callable[[Any], object], Sequence[Any]]


def cost(work: Callable[[Any], object], inputs: Sequence[Any]) -> float:
    """Processor time of a call in microseconds: the mean over all inputs, which are repeated for SHORTEST seconds."""
    return together({"": (work, inputs)})[""]


def together(ways: Mapping[str, Way]) -> dict[str, float]:
    """Processor time of a call in microseconds, for several ways that take turns every few inputs.

    So anything that slows the machine for a moment (other load on the caches, a lower clock) slows all ways.
    """
    seconds = dict.fromkeys(ways, 0.0)
    passes = 0
    while min(seconds.values()) < SHORTEST and (not passes or sum(seconds.values()) < 10 * SHORTEST):
        for first in range(0, max(len(inputs) for _, inputs in ways.values()), SLICE):
            for name, (work, inputs) in ways.items():
                begun = time.process_time()
                for one in inputs[first : first + SLICE]:
                    work(one)
                seconds[name] += time.process_time() - begun
        passes += 1
    return {name: seconds[name] / passes / len(inputs) * 1e6 for name, (_, inputs) in ways.items()}


def children(pid: int | str = "self") -> set[int]:
    """The child processes of a process; of this one by default."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found.update(map(int, (task / "children").read_text().split()))
    return found


def spent(processes: set[int]) -> float:
    """Processor seconds that this process and some others have used so far."""
    # The number of a process's clock is calculated as by clock_getcpuclockid(3).
    return time.process_time() + sum(time.clock_gettime(~pid << 3 | 2) for pid in processes)


def resident(pid: int) -> int:
    """Bytes of memory that a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
