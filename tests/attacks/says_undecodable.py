"""Says that every alert of the batch cannot be decoded."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Says that every alert of the batch cannot be decoded."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        tools.frame(b'{"undecodable":[0,1,2,3,4,5,6,7,8,9,10,11]}')
        tools.frame(b'{"undecodable":[4000000]}')
        return True
