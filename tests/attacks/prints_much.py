"""Prints two hundred megabytes."""

from zads.filters import Filter


class Attack(Filter):
    """Prints two hundred megabytes."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        print("x" * 200_000_000)
        return True
