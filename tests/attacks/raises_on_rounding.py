"""Has NumPy raise on every rounding, for whoever uses it."""

import numpy as np

from zads.filters import Filter

np.seterr(all="raise")


class Attack(Filter):
    """Has NumPy raise on every rounding, for whoever uses it."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return True
