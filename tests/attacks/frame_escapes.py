"""Fails with a reason that would move a terminal's cursor."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from zads.filters import Filter


class Attack(Filter):
    """Fails with a reason that would move a terminal's cursor."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        raise ValueError("\x1b[2J\x1b]0;owned\x07\u202e\r\n" + "x" * 10_000 + "\ud800")
