"""Says that all is done before anything is."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Says that all is done before anything is."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        tools.frame(b'{"done":true}')
        return True
