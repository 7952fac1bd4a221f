"""Gives reasons and annotations that would harm whoever prints or decodes them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Gives reasons and annotations that would harm whoever prints or decodes them."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        number = tools.number()
        for text in (
            r'"\ud800"',
            r'"\u0000"',
            r'"\u001b[2J"',
            '"x' + "y" * 100_000 + '"',
            '"[1]"',
            '"{"',
            '"{\\"a\\":NaN}"',
            '"null"',
        ):
            tools.result('{"filter":%d,"in_a_row":0,"seconds":0.0,"passed":[[0,%s]]}' % (number, text))
        return True
