"""Makes NumPy raise on every rounding, for all filters of the process."""

import numpy as np

from zads.filters import Filter

np.seterr(all="raise")


class Attack(Filter):
    """Makes NumPy raise on every rounding, for all filters of the process."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return True
