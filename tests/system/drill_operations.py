"""Operations that restart daemons while a night streams: nothing is lost or doubled, and only one is down at a time.

Six daemons a site restart one after the other: that takes many minutes on two cores, so `make drill` runs it and
`make test` does not.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from local_system import STATE, System, playbook, read_topic, run, streaming

SITES = ("origin", "public")
PORTS = {"kafka": 9093, "zookeeper": 2182}
LOOK = 0.5  # seconds between two looks at every port: a restart takes several seconds
VISITS, SPEED = 60, 8  # a visit every five seconds, so that the night covers most of an operation
CERTIFICATE = "openssl x509 -noout -fingerprint -in /etc/kafka/tls/keystore.pem"


def listens(address: str, port: int) -> bool:
    """Whether a daemon accepts connections at a port."""
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


@dataclass
class Watch:
    """The daemons that were seen down, and how many of each kind were down at once."""

    went_down: set[tuple[str, str]] = field(default_factory=set)
    most_at_once: dict[tuple[str, str], int] = field(default_factory=dict)

    def look(self, system: System) -> None:
        for site in SITES:
            for daemon, port in PORTS.items():
                members = system.inventory.group(f"{site}_{daemon}")
                down = [host for host in members if not listens(system.inventory.address(host), port)]
                self.went_down.update((host, daemon) for host in down)
                self.most_at_once[site, daemon] = max(self.most_at_once.get((site, daemon), 0), len(down))


@contextmanager
def watched_night(system: System, night: str, directory: Path) -> Iterator[Watch]:
    """Stream a night and look at every port during the body; then account for every alert."""
    watch, stop = Watch(), threading.Event()

    def look_on() -> None:
        while not stop.wait(LOOK):
            watch.look(system)

    thread = threading.Thread(target=look_on)
    with streaming(night, directory, visits=VISITS, alerts=20, seconds=900, speed=SPEED):
        thread.start()
        try:
            yield watch
        finally:
            stop.set()
            thread.join()
    for (site, daemon), number in watch.most_at_once.items():
        assert number <= 1, f"{number} {daemon} of {site} were down at once"


def daemons(system: System, *hosts: str) -> set[tuple[str, str]]:
    """The daemons of some hosts, as pairs of host and daemon."""
    groups = {daemon: system.inventory.group(daemon) for daemon in PORTS}
    return {(host, daemon) for host in hosts for daemon, members in groups.items() if host in members}


def test_renewing_a_sites_certificates_interrupts_nobody(system: System, tmp_path: Path) -> None:
    """A missing certificate is made again, like one that expires soon, and its daemon is restarted in turn."""
    brokers = system.inventory.group("public_kafka")
    before = {host: system.on(host, CERTIFICATE) for host in brokers}
    for host in brokers:
        for daemon in PORTS:
            (STATE / "secrets" / "public" / host / f"{daemon}.crt").unlink()
    with watched_night(system, "20300201", tmp_path) as watch:
        playbook("deploy", "--tags", "certificates")
    assert watch.went_down == daemons(system, *brokers)
    assert not set(before.values()) & {system.on(host, CERTIFICATE) for host in brokers}
    counts = playbook("deploy", "--tags", "certificates")
    assert {name: count["changed"] for name, count in counts.items() if count["changed"]} == {}


def test_a_host_restarted_on_request_interrupts_nobody(system: System, tmp_path: Path) -> None:
    with watched_night(system, "20300202", tmp_path) as watch:
        run("make", "restart", "LIMIT=origin-2")
    assert watch.went_down == daemons(system, "origin-2")


def test_a_system_whose_secrets_are_gone_for_good_is_given_new_ones(system: System, tmp_path: Path) -> None:
    """As in the runbook for a lost control machine: what was published before can be read afterwards."""
    topic, authority = "ztf_20181129_programid1", STATE / "secrets" / "public" / "kafka-ca.crt"
    before, old = len(read_topic("admin-public", topic)), authority.read_bytes()
    shutil.rmtree(STATE / "secrets")
    for site in ("public", "origin"):
        run("make", "stop", f"SITE={site}")
    refused = run("make", "deploy", check=False)
    assert refused.returncode != 0
    assert not authority.exists()
    run("make", "deploy", "ARGS=-e preflight_replace_secrets=true")
    assert authority.read_bytes() != old
    assert len(read_topic("admin-public", topic)) == before
    run("make", "verify")
    counts = playbook("deploy")
    assert {name: count["changed"] for name, count in counts.items() if count["changed"]} == {}
    with streaming("20300203", tmp_path, visits=6, alerts=20, seconds=300):
        pass
