"""Passes everything with annotations of a hundred megabytes."""

from zads.filters import Filter


class Attack(Filter):
    """Passes everything with annotations of a hundred megabytes."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return {"much": "x" * 100_000_000}
