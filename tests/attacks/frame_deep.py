"""Sends JSON that is nested without end."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Sends JSON that is nested without end."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        tools.frame(b"[" * 200_000)
        tools.frame(b'{"filter":' * 100_000)
        return True
