"""Every query of every panel has data on the live Prometheus."""

from __future__ import annotations

import pytest

from local_system import System, await_that, hosts_of
from watching import query
from zads.dashboards import DASHBOARDS

pytestmark = pytest.mark.skipif(not hosts_of("monitors"), reason="inventories/local has no monitor")

QUERIES = {
    (board.uid, panel.title, one.expr): panel.quiet
    for board in DASHBOARDS
    for panel in board.panels()
    for one in panel.queries
}


@pytest.mark.parametrize(("board", "panel", "expression"), QUERIES)
def test_a_query_of_a_panel_has_data(system: System, board: str, panel: str, expression: str) -> None:
    """A panel that says that it may be empty in a healthy system is only executed."""
    if QUERIES[board, panel, expression]:
        query(system, expression)
    else:
        await_that(f"{panel} has data", lambda: query(system, expression), 120)
