"""Writes bytes to the worker that are not a frame."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Writes bytes to the worker that are not a frame."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        tools.raw(b"\x00\x00\x00\x09nonsense!" * 3)
        return True
