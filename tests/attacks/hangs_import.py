"""Hangs where Python cannot interrupt it, while it is loaded."""

from zads.filters import Filter

HANGS = sum(range(10**13))


class Attack(Filter):
    """Hangs where Python cannot interrupt it, while it is loaded."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return True
