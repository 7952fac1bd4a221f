"""Looks at what /proc, /sys and its environment say of the machine and of other processes."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter

PRIVATE = ("kafka.properties", "SECRET", "PASSWORD", "sasl.")
PLACES = [Path("/proc/self") / name for name in ("environ", "mountinfo", "net/tcp", "net/unix", "cgroup", "fdinfo")]


class Attack(Filter):
    """Looks at what /proc, /sys and its environment say of the machine and of other processes."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        found = tools.reading(PLACES) + repr(dict(os.environ))
        return {"found": found[:2000], "done": [name for name in PRIVATE if name in found]}
