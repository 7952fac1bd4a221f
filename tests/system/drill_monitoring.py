"""The monitor is away for an hour: the stream does not notice, and no line of the hour's journals is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from local_system import System, await_that, hosts_of, make_night, streaming
from watching import query, ringing

pytestmark = [
    pytest.mark.timeout(6000),
    pytest.mark.skipif(not hosts_of("monitors"), reason="inventories/local has no monitor"),
]
NIGHT = "20300313"
#: What runs on the monitor alone; in `local` it shares its machine with the programs.
AWAY = ("zads-prometheus", "zads-alertmanager", "zads-journal-front", "zads-journal-collector")
HOUR = 3600
#: Visits at the telescope's own pace, one every 40 seconds, for longer than the hour.
VISITS = 95


def silent(system: System) -> bool:
    """Whether a target has not answered, or Prometheus itself does not yet."""
    try:
        return bool(query(system, "up == 0"))
    except OSError:
        return True


def test_the_stream_does_not_notice_an_hour_without_the_monitor(
    system: System, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    (monitor,) = hosts_of("monitors")
    make_night(NIGHT)
    (before,) = query(system, "sum(zads_producer_published_total)")
    since = system.on(monitor, "date +%s").strip()
    with streaming(NIGHT, tmp_path, visits=VISITS, alerts=20, seconds=900, speed=1):
        system.on(monitor, f"systemctl stop {' '.join(AWAY)}")
        try:
            marks = [f"marked-{time.time_ns()}-{number}" for number in range(6)]
            for mark in marks:
                system.on("origin-1", f"logger -t zads-test {mark}")
                time.sleep(HOUR / len(marks))  # the hour is what is tested
        finally:
            system.on(monitor, f"systemctl start {' '.join(reversed(AWAY))}")
        returned = time.monotonic()
        await_that("every target is up", lambda: not silent(system), 180)
        await_that("no alarm rings", lambda: not ringing(system), 600)
        record_property("seconds until no alarm rang", round(time.monotonic() - returned))
    latency = json.loads((tmp_path / "report.json").read_text())["latency_seconds"]
    record_property("p99 and slowest alert (s)", f"{latency['p99']:.2f}, {latency['max']:.2f}")
    assert latency["max"] < 10
    for unit in ("zads-producer", "zads-night-keeper", "zads-mirrormaker", "zads-site-exporter"):
        log = system.on(monitor, f"journalctl -u {unit} -o cat --since @{since}", check=False)
        assert "Traceback" not in log, unit
    (after,) = query(system, "sum(zads_producer_published_total)")
    assert float(after["value"][1]) - float(before["value"][1]) >= VISITS * 20, "counters went on"
    read = "journalctl --directory=/var/log/journal/remote --no-pager -o cat -t zads-test"
    await_that("the journals of the hour", lambda: set(marks) <= set(system.on(monitor, read).split()), 180)
