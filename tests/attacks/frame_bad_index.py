"""Passes an alert that does not exist."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Passes an alert that does not exist."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        tools.result('{"filter":%d,"in_a_row":0,"seconds":0.0,"passed":[[100000,""]]}' % tools.number())
        return True
