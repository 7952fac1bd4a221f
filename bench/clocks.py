"""Processor time, which other work on the machine disturbs least, of this process and of those that it started."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

SHORTEST = 0.1  # seconds: what takes less is repeated, for a clock and an interruption are not that fine
SLICE = 10  # inputs that one way takes before it is the next one's turn

#: Something to be measured, and what it is called with, one after the other.
Way = tuple[Callable[[Any], object], Sequence[Any]]


def cost(work: Callable[[Any], object], inputs: Sequence[Any]) -> float:
    """Processor time of one call in microseconds, over as many passes through the inputs as make a fair measurement."""
    return together({"": (work, inputs)})[""]


def together(ways: Mapping[str, Way]) -> dict[str, float]:
    """Processor time of a call in microseconds, of several ways that take turns every few inputs.

    What slows the machine down for a moment (another's load on the caches, a lower clock) so meets all of them.
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
