"""Every query of every panel has data on the live Prometheus, and the alarms are there."""

from __future__ import annotations

import pytest

from local_system import System, await_that, hosts_of
from watching import ask, query, ringing
from zads.alarms.catalogue import WATCHDOG, every
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


def test_every_alarm_is_there_and_only_the_dead_mans_switch_rings(system: System) -> None:
    groups = ask(system, "rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == {WATCHDOG, *(one.name for one in every())}
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    await_that("no alarm rings", lambda: not ringing(system), 600)
    assert query(system, f'ALERTS{{alertname="{WATCHDOG}", alertstate="firing"}}')
