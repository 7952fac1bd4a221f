"""Answers, and then keeps a processor busy for ever."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Answers, and then keeps a processor busy for ever."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        tools.spin_after_done()
        return True
