"""The night keeper of the local system: what it is given, what it has done and what it says."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from local_system import STATE, System, await_that, client
from zads import names
from zads.site import nights
from zads.site.cluster import Cluster
from zads.site.nights import Timetable
from zads.site.policy import SITES, Site

UNIT = "zads-night-keeper"


def own(site: Site) -> dict[str, str]:
    """Client properties of the night keeper's account at a site."""
    like = {"origin": "partner", "public": "reader"}[site]
    passwords: dict[str, str] = yaml.safe_load((STATE / "secrets/passwords.yml").read_text())
    return {**client(like), "sasl.username": names.NIGHT_KEEPER, "sasl.password": passwords[names.NIGHT_KEEPER]}


def nights_at(site: Site) -> set[str]:
    """The nights that a site has."""
    found = Cluster(client(f"admin-{site}")).metadata().topics
    return {night for name in found if (night := nights.night_of(name))}


def expected(system: System) -> set[str]:
    """The nights that the deployed keeper keeps now."""
    days = (system.inventory.common(f"night_keeper_{which}") for which in ("ahead", "past"))
    table = Timetable(7, *days)
    return set(table.wanted(time.time()))


def ready(system: System) -> bool:
    """Whether both sites have the nights of now."""
    return all(expected(system) <= nights_at(site) for site in SITES)


def metric(system: System, name: str) -> dict[str, float]:
    """A metric of the keeper, by its site."""
    return {site: float(value) for site, value in re.findall(rf'^{name}{{site="(\w+)"}} (\S+)$', metrics(system), re.M)}


def metrics(system: System) -> str:
    """All metrics of the keeper; empty while it is off."""
    read = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9405/metrics', timeout=5).read().decode())"
    return system.on("apps-1", f'python3 -c "{read}"', check=False)


@contextmanager
def stopped(system: System) -> Iterator[None]:
    """The deployed keeper is off during the body."""
    system.on("apps-1", f"systemctl stop {UNIT}")
    try:
        yield
    finally:
        system.on("apps-1", f"systemctl start {UNIT}")
    await_that("the deployed keeper has done a round", lambda: len(metric(system, "zads_nights_late")) == 2, 120)
