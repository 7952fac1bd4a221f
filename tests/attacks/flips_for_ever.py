"""Changes its marks of the running filter and alert without end."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Changes its marks of the running filter and alert without end."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        words = tools.serving()["words"]
        signal.setitimer(signal.ITIMER_REAL, 0)
        while True:
            words[1] = (words[1] + 1) % 10
            words[0] = (words[0] + 1) % 4
