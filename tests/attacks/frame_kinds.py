"""Sends frames of every wrong kind: of other filters and alerts, twice, with numbers that are none."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter

ONE = b'{"filter":%d,"in_a_row":0,"seconds":0.0,"passed":[[%s,""]]}'
WRONG = [
    ONE % (1, b"0"),
    ONE % (2, b"0"),
    ONE % (999_999, b"0"),
    ONE % (0, b"4000000000"),
    ONE % (0, b"-1"),
    ONE % (0, b"0.5"),
    b'{"filter":1e400,"in_a_row":0,"seconds":0.0}',
    b'{"filter":0,"in_a_row":0,"seconds":NaN}',
    b'{"filter":0,"in_a_row":0,"seconds":-1.0}',
    b'{"filter":0,"in_a_row":' + b"9" * 5000 + b',"seconds":0.0}',
    b"null",
    b"[]",
    b"1",
    b'"done"',
    b'{"done":1,"filter":1}',
    b'{"filter":1,"error":"no"}',
    b'{"filter":1,"alert":0}',
    b'{"undecodable":{"0":"no"}}',
    b'{"ready":true}',
]


class Attack(Filter):
    """Sends frames of every wrong kind: of other filters and alerts, twice, with numbers that are none."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        for text in WRONG:
            tools.frame(text)
        return True
