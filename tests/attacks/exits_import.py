"""Ends the process while it is loaded."""

import os

from zads.filters import Filter

os._exit(0)


class Attack(Filter):
    """Ends the process while it is loaded."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return True
