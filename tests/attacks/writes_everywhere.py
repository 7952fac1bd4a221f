"""Writes nonsense to every descriptor that it has."""

import os

from zads.filters import Filter


class Attack(Filter):
    """Writes nonsense to every descriptor that it has."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        for descriptor in range(64):
            try:
                os.write(descriptor, b"\xff" * 100_000)
            except OSError:
                continue
        return True
