"""Reports its filter and one alert twice."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Reports its filter and one alert twice."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        text = '{"filter":%d,"in_a_row":0,"seconds":0.0,"passed":[[0,""],[0,""]]}' % tools.number()
        tools.result(text)
        tools.result(text)
        return True
