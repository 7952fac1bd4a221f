"""After a night in which nothing was ill no alarm rings. The tests that follow make things ill."""

from __future__ import annotations

import pytest

from local_system import System, await_that, hosts_of
from watching import ask, query, ringing
from zads.alarms.catalogue import WATCHDOG, every

pytestmark = pytest.mark.skipif(not hosts_of("monitors"), reason="inventories/local has no monitor")


def test_every_alarm_is_there_and_only_the_dead_mans_switch_rings(system: System) -> None:
    groups = ask(system, "rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == {WATCHDOG, *(one.name for one in every())}
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    await_that("no alarm rings", lambda: not ringing(system), 180)
    assert query(system, f'ALERTS{{alertname="{WATCHDOG}", alertstate="firing"}}')
