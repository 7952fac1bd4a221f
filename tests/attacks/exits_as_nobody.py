"""Ends its process while its mark says that no filter runs."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Ends its process while its mark says that no filter runs."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        words = tools.serving()["words"]
        words[0] = 0xFFFFFFFF
        os._exit(0)
