"""Reads and writes the memory of other processes by the calls that are made for it."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter

CALLS = (
    ("ptrace attach", tools.CALL["ptrace"], 0, 0),
    ("ptrace seize", tools.CALL["ptrace"], 0x4206, 0),
    ("readv", tools.CALL["process_vm_readv"], 0, 0, 0, 0, 0),
    ("writev", tools.CALL["process_vm_writev"], 0, 0, 0, 0, 0),
    ("pidfd", tools.CALL["pidfd_open"], 0),
    ("madvise", tools.CALL["process_madvise"], 0, 0, 0, 0),
)


class Attack(Filter):
    """Reads and writes the memory of other processes by the calls that are made for it."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return tools.attempt(
            *(
                (f"{name} {process}", number, process, *rest)
                for process in (os.getppid(),)
                for name, number, *rest in CALLS
            )
        )
