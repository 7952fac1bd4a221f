"""Passes an alert in the name of another owner's filter."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Passes an alert in the name of another owner's filter."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        for number in range(5):
            if number != tools.number():
                tools.result('{"filter":%d,"in_a_row":0,"seconds":0.0,"passed":[[0,"{\\"forged\\":1}"]]}' % number)
        return True
