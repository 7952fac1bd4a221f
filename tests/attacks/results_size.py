"""Claims results beyond the end of the shared memory."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Claims results beyond the end of the shared memory."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        tools.serving()["words"][2] = 0xFFFFFFFF
        return True
