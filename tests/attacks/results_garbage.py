"""Puts bytes that are no results where results lie."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Puts bytes that are no results where results lie."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        serve = tools.serving()
        serve["results"]._area[0:8] = b"]]}}\xff\xfe\x00,"
        serve["words"][2] = 8
        return True
