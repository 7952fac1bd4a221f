"""Closes its ends of the pipes and goes on."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from zads.filters import Filter


class Attack(Filter):
    """Closes its ends of the pipes and goes on."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        for descriptor in range(3, 64):
            try:
                os.close(descriptor)
            except OSError:
                continue
        while True:
            pass
