"""Alarms ring for real faults of the local system, within their time, and are silent after them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from local_system import System, at_rest, await_that, drop, hosts_of, make_night, streaming, under_replicated
from watching import query, ringing
from zads.alarms.catalogue import every
from zads.sources import simulator

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not hosts_of("monitors"), reason="inventories/local has no monitor"),
]

NIGHT, QUIET_NIGHT, MISSING_NIGHT = "20300301", "20300302", "20300303"
#: Alarms without a drill: their faults take hours, or would destroy the machine that plays all hosts. promtool proves
#: them (tests/unit/test_alarms.py).
NOT_HERE = {
    "AlertsAreOftenLate": "takes six hours",
    "AlertsAreSometimesLate": "takes three days",
    "ArchiveIsLate": "takes a day",
    "AuditIsLate": "takes six hours",
    "BackupIsLate": "takes a day",
    "CanaryWasAltered": "nothing here alters bytes",
    "CertificateExpires": "certificates here last for years",
    "CertificateExpiresSoon": "certificates here last for years",
    "ClocksDiffer": "all hosts here share one clock",
    "DiskHasFailed": "drill_machines.py loses a disk; the alarm needs five minutes more than its replacement",
    "DiskIsFilling": "all hosts here share one disk",
    "DiskIsNearlyFull": "all hosts here share one disk",
    "ExporterHangs": "takes half an hour, and its watchdog ends it before",
    "FilterIsStopped": "tests/streams/test_worker.py opens a circuit",
    "NightDiffers": "drill_audit.py plants what an audit must find",
    "NightIsLate": "test_3_nights.py makes nights late; the alarm looks twelve hours ahead",
    "NightKeeperFails": "takes half an hour",
    "PartitionsHaveNoLeader": "all three brokers of a partition must die: then the site is away",
    "ReplicasAreMissing": "takes half an hour",
    "SiteHasNoController": "a site with an ensemble elects one within seconds",
    "SubscriberIsBehind": "takes an hour",
}


@dataclass(frozen=True)
class Fault:
    """What is done and undone, and the alarms that must ring, each within so many seconds."""

    begin: Callable[[System], object]
    end: Callable[[System], object]
    alarms: dict[str, float]
    clears: float = 300


def unit(action: str, name: str, *hosts: str) -> Callable[[System], None]:
    def act(system: System) -> None:
        for host in hosts:
            system.on(host, f"systemctl {action} {name}")

    return act


def alerts(system: System, night: str = NIGHT, count: int = 60, *, cut: bool = False) -> None:
    """An exposure with packets that no other has; `cut`: all of them end early."""
    ((_, packets),) = simulator.simulate(night, 1, count, seed=time.time_ns() % 2**31, programme_mix={1: 1.0})
    files = {Path(name).name: data[:-40] if cut else data for name, data in packets}
    drop(system, f"{night}-{time.time_ns()}", files)


def then(*steps: Callable[[System], object]) -> Callable[[System], None]:
    def act(system: System) -> None:
        for step in steps:
            step(system)

    return act


def nothing(_: System) -> None:
    """The fault passes by itself."""


def late(system: System) -> None:
    """Alerts wait for half a minute, and then arrive."""
    unit("stop", "zads-mirrormaker", "apps-1")(system)
    alerts(system, count=300)
    time.sleep(25)  # so long they are under way
    unit("start", "zads-mirrormaker", "apps-1")(system)


ORIGIN, PUBLIC = ("origin-1", "origin-2", "origin-3"), ("public-1", "public-2", "public-3")
FAULTS: dict[str, Fault] = {
    "the mirror stops": Fault(
        then(unit("stop", "zads-mirrormaker", "apps-1"), alerts), unit("start", "zads-mirrormaker", "apps-1"),
        {"MirrorIsSilent": 75, "CanariesDoNotArrive": 90, "MirrorIsBehind": 210},
    ),
    "alerts are late": Fault(late, nothing, {"AlertsAreLate": 300}, clears=900),
    "two brokers of the origin stop": Fault(
        then(unit("stop", "kafka", *ORIGIN[:2]), alerts), unit("start", "kafka", *ORIGIN[:2]),
        {"BrokersAreDown": 150, "PartitionsRefuseWrites": 150, "ProducerWaits": 240, "ExposuresWait": 480,
         "BrokerIsDown": 480},
        clears=600,
    ),
    "the public site is away": Fault(
        unit("stop", "kafka", *PUBLIC), unit("start", "kafka", *PUBLIC),
        {"SiteIsAway": 180, "ExporterIsBlind": 420}, clears=600,
    ),
    "packets are cut": Fault(
        lambda system: alerts(system, cut=True), nothing,
        {"AlertsAreRefused": 120, "MostAlertsAreRefused": 120}, clears=2100,
    ),
    "a night has no topic": Fault(
        lambda system: alerts(system, MISSING_NIGHT), lambda _: make_night(MISSING_NIGHT),
        {"ExposuresAreSetAside": 1080},
    ),
    "the filter workers stop": Fault(
        then(unit("stop", "'zads-filters-*'", "apps-1"), alerts), unit("start", "--all 'zads-filters-*'", "apps-1"),
        {"FiltersAreBehind": 300}, clears=420,
    ),
    "the exporter stops": Fault(
        unit("stop", "zads-site-exporter", "apps-1"), unit("start", "zads-site-exporter", "apps-1"),
        {"NobodyWatches": 510, "TargetIsDown": 420},
    ),
}  # fmt: skip


def test_every_alarm_has_a_drill_or_a_reason_why_not() -> None:
    drilled = [name for fault in FAULTS.values() for name in fault.alarms]
    assert sorted([*drilled, *NOT_HERE]) == sorted(alarm.name for alarm in every())


@pytest.fixture(scope="module")
def nights(system: System) -> None:
    make_night(NIGHT, QUIET_NIGHT)


@contextmanager
def undone(fault: Fault, system: System) -> Iterator[None]:
    """The fault is undone, also if the drill fails."""
    try:
        yield
    finally:
        fault.end(system)


def calm(system: System) -> None:
    await_that("every replica is in sync", lambda: not any(map(under_replicated, ("origin", "public"))), 300)
    await_that("no alarm rings", lambda: not ringing(system), 2400)


@pytest.mark.parametrize("name", FAULTS)
def test_alarms_ring_for_their_fault_and_are_silent_after_it(
    system: System, nights: None, name: str, record_property: Callable[[str, object], None]
) -> None:
    fault = FAULTS[name]
    calm(system)
    with undone(fault, system):
        began = time.monotonic()
        fault.begin(system)
        for alarm, seconds in sorted(fault.alarms.items(), key=lambda one: one[1]):
            left = seconds - (time.monotonic() - began)
            await_that(f"{alarm} rings", lambda alarm=alarm: alarm in ringing(system), max(left, 1))
            record_property(f"{alarm} rings after", f"{time.monotonic() - began:.0f} s")
    ended = time.monotonic()
    for alarm in fault.alarms:
        left = fault.clears - (time.monotonic() - ended)
        await_that(f"{alarm} is silent", lambda alarm=alarm: alarm not in ringing(system), max(left, 1))
        record_property(f"{alarm} is silent after", f"{time.monotonic() - ended:.0f} s")
    at_rest(system)


def test_no_alarm_rings_in_a_quiet_night(system: System, nights: None, tmp_path: Path) -> None:
    calm(system)
    began = time.time()
    with streaming(QUIET_NIGHT, tmp_path, visits=120, alerts=25, seconds=1500, speed=8):
        pass
    seconds = round(time.time() - began)
    rang = query(system, f'count_over_time(ALERTS{{alertstate="firing", alertname!="Watchdog"}}[{seconds}s])')
    assert {one["metric"]["alertname"] for one in rang} == set()
