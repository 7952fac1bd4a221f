"""Marks each of the first filters as the one that runs, and hangs."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Marks each of the first filters as the one that runs, and hangs."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        words = tools.serving()["words"]
        signal.setitimer(signal.ITIMER_REAL, 0)
        words[0], words[1] = 0, 0
        while True:
            pass
