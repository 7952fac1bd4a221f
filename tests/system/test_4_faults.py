"""If one machine or process is killed while a night streams, only the latency changes."""

from __future__ import annotations

import datetime
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_system import System, await_that, make_night, run, streaming, under_replicated


def kill(system: System, host: str, unit: str) -> None:
    """End a unit's processes at once, as a crash would. systemd restarts it."""
    system.on(host, f"systemctl kill --signal=SIGKILL {unit}")


def end(system: System, container: str) -> None:
    """End the process of a program's container at once, as a crash would."""
    system.on("apps-1", f"kill -KILL $(docker inspect --format '{{{{.State.Pid}}}}' {container})")


def lose(system: System, host: str) -> None:
    """Switch a machine off without warning, and on again some seconds later."""
    container = system.lab.container(host)
    container.kill(signal.SIGKILL)
    timer = threading.Timer(8, container.start)
    timer.start()


FAULTS: dict[str, Callable[[System], Any]] = {
    "an origin broker crashes": lambda system: kill(system, "origin-1", "kafka"),
    "a machine of the public site is lost": lambda system: lose(system, "public-2"),
    "a ZooKeeper member crashes": lambda system: kill(system, "origin-3", "zookeeper"),
    "MirrorMaker is killed": lambda system: end(system, "zads-mirrormaker"),
    "a filter worker is killed": lambda system: end(
        system, "$(docker ps --format '{{.Names}}' | grep zads-filters | head -1)"
    ),
    "the producer is killed": lambda system: end(system, "zads-producer"),
}

_FIRST_NIGHT = datetime.date(2030, 1, 1)
NIGHTS = {fault: f"{_FIRST_NIGHT + datetime.timedelta(days=number):%Y%m%d}" for number, fault in enumerate(FAULTS)}


@pytest.fixture(scope="module")
def nights(system: System) -> Iterator[None]:
    """Creates the topics of all faults' nights, which takes no longer than those of one.

    After the last fault `make verify` finds no fault.
    """
    make_night(*NIGHTS.values())
    yield
    run("make", "verify")


@pytest.fixture
def settled(system: System) -> Iterator[None]:
    """Waits after a fault until every machine runs and every replica is in sync."""
    yield
    for container in system.lab.containers():
        await_that(f"{container.name} runs", lambda c=container: (c.reload(), c.status == "running")[1], 60)
    for site in ("origin", "public"):
        await_that(f"every replica of {site} is in sync", lambda s=site: not under_replicated(s), 180)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_during_the_night_loses_and_doubles_nothing(
    system: System, nights: None, settled: None, fault: str, tmp_path: Path
) -> None:
    with streaming(NIGHTS[fault], tmp_path, visits=12, alerts=25, seconds=420):
        FAULTS[fault](system)
