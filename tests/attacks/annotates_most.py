"""Passes everything with the longest annotations that there may be."""

from zads.filters import Filter


class Attack(Filter):
    """Passes everything with the longest annotations that there may be."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return {"most": "x" * 4_000}
