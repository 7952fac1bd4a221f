"""Claims a frame of four gigabytes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Claims a frame of four gigabytes."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        tools.raw(b"\xff\xff\xff\xff")
        return True
