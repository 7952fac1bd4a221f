"""Swallows every interruption and goes on."""

from zads.filters import Filter


class Attack(Filter):
    """Swallows every interruption and goes on."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        while True:
            try:
                while True:
                    pass
            except BaseException:
                continue
