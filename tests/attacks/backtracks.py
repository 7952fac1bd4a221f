"""Asks for a regular expression that takes years."""

import re

from zads.filters import Filter


class Attack(Filter):
    """Asks for a regular expression that takes years."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return re.match(r"(a+)+$", "a" * 60 + "b") is None
