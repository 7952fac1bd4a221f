"""Takes memory until there is none."""

from zads.filters import Filter

KEPT = []


class Attack(Filter):
    """Takes memory until there is none."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        while True:
            KEPT.append(bytearray(10_000_000))
