"""Ends its process between two batches."""

import os
import signal

from zads.filters import Filter


class Attack(Filter):
    """Ends its process between two batches."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        signal.signal(signal.SIGALRM, lambda *_: os._exit(3))
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        return True
