"""Kill any one machine or process while a night streams: the report's latency changes and nothing else."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, System, await_that, make_night, run

VISITS, ALERTS_A_VISIT = 12, 25


def kill(system: System, host: str, unit: str) -> None:
    """End a unit's processes at once, as a crash would; systemd brings it back."""
    system.on(host, f"systemctl kill --signal=SIGKILL {unit}")


def end(system: System, container: str) -> None:
    """End a program in its container at once, by its process, as a crash would."""
    system.on("apps-1", f"kill -KILL $(docker inspect --format '{{{{.State.Pid}}}}' {container})")


def lose(system: System, host: str) -> None:
    """Switch a machine off without warning, and on again some seconds later."""
    container = system.lab.container(host)
    container.kill(signal.SIGKILL)
    timer = threading.Timer(8, container.start)
    timer.start()


def visits_told(log: Path) -> int:
    """The newest visit that the demo has told of; it does not tell of each."""
    return max(map(int, re.findall(r"visit (\d+) of", log.read_text())), default=0)


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


@pytest.fixture
def settled(system: System) -> Iterator[None]:
    """Every machine and every in-sync set is whole again after a fault, before the next."""
    yield
    for container in system.lab.containers():
        await_that(f"{container.name} runs", lambda c=container: (c.reload(), c.status == "running")[1], 60)
    await_that("verify is content again", lambda: run("make", "verify", check=False).returncode == 0, 180)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_during_the_night_loses_and_doubles_nothing(
    system: System, settled: None, fault: str, tmp_path: Path
) -> None:
    night = f"2030010{1 + list(FAULTS).index(fault)}"
    make_night(night)
    log = (tmp_path / "demo.log").open("w")
    demo = subprocess.Popen(
        [".venv/bin/zads", "demo", "--env", "local", "--night", night, "--visits", str(VISITS),
         "--alerts-per-visit", str(ALERTS_A_VISIT), "--warm", "0", "--report", str(tmp_path / "report")],
        cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await_that("the night streams", lambda: visits_told(tmp_path / "demo.log") >= 3, 150)
        FAULTS[fault](system)
        status = demo.wait(300)
    finally:
        demo.kill()
    assert status == 0, (tmp_path / "demo.log").read_text()[-3000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["alerts"]["read"] == VISITS * ALERTS_A_VISIT
    assert report["alerts"]["origin"] == report["alerts"]["read"]
    assert report["digests_agree"] is True
    assert report["duplicates"] == 0
    for name, row in report["filters"].items():
        assert row["seen"] == report["alerts"]["public"], name
