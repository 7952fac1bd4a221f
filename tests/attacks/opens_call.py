"""Opens files until there is no descriptor left."""

from zads.filters import Filter

KEPT = []


class Attack(Filter):
    """Opens files until there is no descriptor left."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        try:
            while True:
                KEPT.append(open(__file__))
        except OSError:
            return True
