"""The whole of ``inventories/local``, brought up once for all tests here by the commands that people type.

The files run in the order of their names: ``test_1`` needs a system that has just played its night, ``test_2`` reads
and writes, ``test_3`` changes hosts, ``test_4`` breaks them, ``test_5`` operates them, ``test_z`` ends the system.
``make drill`` runs the files ``drill_*``, which pytest does not collect by itself.

``ZADS_ALERTS`` names a directory of real packets (below it, ``20181129`` is the night that is played); without it the
night is simulated. ``ZADS_KEEP=1`` leaves the system up at the end, ``ZADS_REUSE=1`` uses the one that is up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import drills
import keeping
from local_system import NIGHT, ROOT, System, run


def pytest_configure(config: pytest.Config) -> None:
    """Have the drills' results written into a page, if ``ZADS_DRILLS`` names one."""
    if page := os.environ.get("ZADS_DRILLS"):
        config.pluginmanager.register(drills.DrillPage(ROOT / page, ROOT))


@pytest.fixture(scope="session")
def alerts() -> Path | None:
    """The directory of the real night that is played; None when it is simulated."""
    given = os.environ.get("ZADS_ALERTS")
    directory = Path(given) / NIGHT if given else None
    return directory if directory and directory.is_dir() else None


@pytest.fixture(scope="session")
def system(alerts: Path | None) -> Iterator[System]:
    """The local system with one night in it. What an earlier, interrupted run left is taken down first."""
    if os.environ.get("ZADS_REUSE") != "1":
        run("make", "down")
    run("make", "demo", *([f"ALERTS={alerts}"] if alerts else []), timeout=1500)
    system = System()
    yield system
    if os.environ.get("ZADS_KEEP") != "1":
        run("make", "down")


@pytest.fixture
def keeper_off(system: System) -> Iterator[None]:
    """The deployed night keeper is off."""
    with keeping.stopped(system):
        yield


@pytest.fixture(scope="session")
def public_topic(system: System) -> str:
    """The topic of the played night that everybody may read."""
    nights = {row["topic"] for row in system.report["topics"] if row["topic"].endswith("_programid1")}
    return sorted(nights)[0]
