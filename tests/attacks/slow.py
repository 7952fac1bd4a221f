"""Stays just below every limit, in every batch."""

import time

from zads.filters import Filter


class Attack(Filter):
    """Stays just below every limit, in every batch."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.5

    def accept(self, alert):
        time.sleep(0.4)
        return True
