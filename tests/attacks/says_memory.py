"""Says that another filter has used up the memory, and goes on."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Says that another filter has used up the memory, and goes on."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        for number in range(6):
            tools.frame(b'{"filter":%d,"alert":0}' % number)
        return True
