"""Passes annotations that are not JSON, of many kinds."""

from zads.filters import Filter

COUNT = []
DEEP = []
for _ in range(900):
    DEEP = [DEEP]
STRANGE = [
    {"half": "\ud800"},
    {"deep": DEEP},
    {"number": float("nan")},
    {"number": 10**4000},
    {1: {2: 3}},
    {("a",): 1},
    {"bytes": b"x"},
    {"kind": type("Odd", (dict,), {"items": lambda _: [("a", 1)]})(b=2)},
]


class Attack(Filter):
    """Passes annotations that are not JSON, of many kinds."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        COUNT.append(1)
        return STRANGE[len(COUNT) % len(STRANGE)]
