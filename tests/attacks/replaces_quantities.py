"""Replaces what all filters compute with."""

from zads.filters import Filter, alert, quantities

for name in dir(quantities):
    if callable(getattr(quantities, name)) and not name.startswith("_"):
        setattr(quantities, name, lambda *_, **__: 0.0)
alert.Record.get = lambda *_: None


class Attack(Filter):
    """Replaces what all filters compute with."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return True
