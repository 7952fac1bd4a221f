"""Monitoring costs little, and the stream does not notice when the monitor is away for an hour."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from local_system import System, at_rest, await_that, hosts_of, make_night, streaming
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
#: The units of monitoring, by the hosts that run them.
MONITORS, EVERY = ("zads-prometheus", "zads-alertmanager"), ("zads-metrics-front", "zads-node-exporter")
#: What the kernel says of a unit's processes, from the state on (proc_pid_stat(5)); the lab's systemd counts no time.
PROCESSES = (
    "main=$(systemctl show -P MainPID {unit}); "
    "for pid in $main $(pgrep -P $main); do sed 's/.*) //' /proc/$pid/stat; done"
)


def silent(system: System) -> bool:
    """Whether a target has not answered, or Prometheus itself does not yet."""
    try:
        return bool(query(system, "up == 0"))
    except OSError:
        return True


def used(system: System) -> tuple[float, float]:
    """Processor time (s) since the start and memory (MB) now of the units of monitoring."""
    seconds = megabytes = 0.0
    monitors = system.inventory.group("monitors")
    for host in system.inventory.hosts:
        for unit in (MONITORS if host in monitors else ()) + EVERY:
            for line in system.on(host, PROCESSES.format(unit=unit)).splitlines():
                fields = line.split()
                seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                megabytes += int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return seconds, megabytes


def test_it_costs_less_than_a_twentieth_of_a_core_and_a_gigabyte(
    system: System, record_property: Callable[[str, object], None]
) -> None:
    """Without the agents in the brokers, whose share no unit shows: the page of metrics has it as measured alone."""
    await_that("every target is up", lambda: not silent(system), 120)
    at_rest(system)
    before, began = used(system)[0], time.monotonic()
    time.sleep(120)  # eight rounds
    after, megabytes = used(system)
    cores = (after - before) / (time.monotonic() - began)
    record_property("cores", f"{cores:.3f}")
    record_property("megabytes", f"{megabytes:.0f}")
    assert cores < 0.05
    assert megabytes < 1_000


def test_the_stream_does_not_notice_an_hour_without_the_monitor(
    system: System, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    (monitor,) = system.inventory.group("monitors")
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
