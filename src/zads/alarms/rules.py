"""The alarms as Prometheus' rules."""

from __future__ import annotations

from typing import Any

from zads.alarms import service_level
from zads.alarms.alarm import Alarm
from zads.alarms.catalogue import ALARMS, WATCHDOG

#: Where the runbooks are, if the inventory does not say (`alarms_runbooks`).
RUNBOOKS = "docs/runbooks"
INTERVAL = "15s"


def rules(runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """A file of rules. ``runbooks``: an address or a path to which ``/NAME.md`` is added."""
    alarms = [
        {"name": title, "interval": INTERVAL, "rules": [_rule(alarm, runbooks) for alarm in alarms]}
        for title, alarms in ALARMS.items()
    ]
    switch = {
        "alert": WATCHDOG,
        "expr": "vector(1)",
        "labels": {"severity": "none"},
        "annotations": {"summary": "The monitoring works. It says so all the time."},
    }
    return {
        "groups": [
            # Before the alarms, which use what it records.
            {"name": "Service level", "interval": INTERVAL, "rules": service_level.recording()},
            *alarms,
            {"name": "Dead man's switch", "interval": INTERVAL, "rules": [switch]},
        ]
    }


def _rule(alarm: Alarm, runbooks: str) -> dict[str, Any]:
    return {
        "alert": alarm.name,
        "expr": alarm.expr,
        "for": alarm.after,
        "labels": {"severity": alarm.severity},
        "annotations": {"summary": alarm.says, "runbook": f"{runbooks.rstrip('/')}/{alarm.runbook}.md"},
    }
