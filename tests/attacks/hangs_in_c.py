"""Hangs where Python cannot interrupt it."""

from zads.filters import Filter


class Attack(Filter):
    """Hangs where Python cannot interrupt it."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return sum(range(10**13)) > 0
