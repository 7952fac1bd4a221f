"""Opens files until there is no descriptor left, while it is loaded."""

from zads.filters import Filter

KEPT = []
try:
    while True:
        KEPT.append(open(__file__))
except OSError:
    pass


class Attack(Filter):
    """Opens files until there is no descriptor left, while it is loaded."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return True
