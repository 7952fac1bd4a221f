"""Opens the memory of every process that it can see, to read it and to write into it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Opens the memory of every process that it can see, to read it and to write into it."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return {"done": [path for path in tools.processes("mem") if tools.opens(path, 2) or tools.opens(path, 0)]}
