"""Replaces the answer of every other filter that it can find."""

import gc

from zads.filters import Filter


class Attack(Filter):
    """Replaces the answer of every other filter that it can find."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        for one in gc.get_objects():
            if isinstance(one, Filter) and one is not self:
                type(one).accept = lambda *_: {"forged": True}
        return True
