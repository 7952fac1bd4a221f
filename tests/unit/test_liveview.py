"""The view of a night while it streams."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from zads import liveview
from zads.liveview import Hop, LiveView, Meter, line, table

HOPS = [
    Hop("dropped", 60),
    Hop("origin", 50, 0, {"p50": 0.1, "p95": 0.2, "p99": 0.3, "max": 0.4}),
    Hop("public", 40, 10, {"p50": 0.5, "p95": 0.6, "p99": 0.7, "max": 0.8}),
]


def test_a_rate_covers_the_last_seconds_only() -> None:
    meter = Meter()
    assert meter.rate(0, 100.0) == 0.0
    assert meter.rate(50, 105.0) == 10.0
    # What came more than RATE_SECONDS ago no longer counts.
    for second in range(106, 130):
        rate = meter.rate(50, float(second))
    assert rate == 0.0


def test_a_line_has_the_count_rate_age_and_backlog_of_every_hop() -> None:
    text = line("visit 2 of 3", HOPS, [0.0, 12.4, 9.6])
    assert text == "visit 2 of 3: dropped 60; origin 50 (12/s) 0.10 s old; public 40 (10/s) 0.50 s old, 10 to come"


def test_the_table_has_a_row_for_each_hop() -> None:
    buffer = io.StringIO()
    Console(file=buffer, width=100).print(table("visit 2 of 3", HOPS, [0.0, 12.4, 9.6]))
    shown = buffer.getvalue()
    for words in ("visit 2 of 3", "dropped", "origin", "public", "12.4", "0.70 s"):
        assert words in shown


def test_without_a_terminal_a_line_is_printed_every_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 11.0, 12.5])
    monkeypatch.setattr(liveview.time, "monotonic", lambda: next(clock))
    buffer = io.StringIO()
    with LiveView(Console(file=buffer, width=200, force_terminal=False)) as view:
        for _ in range(3):
            view.update("visit 1 of 3", HOPS)
    assert buffer.getvalue().count("visit 1 of 3") == 2
