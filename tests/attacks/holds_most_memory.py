"""Takes as much memory as it may have, and keeps it."""

from zads.filters import Filter

KEPT = []


class Attack(Filter):
    """Takes as much memory as it may have, and keeps it."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        if not KEPT:
            try:
                while True:
                    KEPT.append(bytearray(b"x") * 5_000_000)
            except MemoryError:
                KEPT.pop()
                KEPT.pop()
        return True
