"""Machines and disks are lost and replaced while a night streams: no alert is lost or doubled, and nobody can tell.

Each takes minutes on two cores, so `make drill` runs them and `make test` does not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException

from local_system import STATE, System, await_that, client, read_topic, run, streaming
from zads import kafka, names
from zads.site import look

SITES = ("origin", "public")
MINIMUM = 2  # topics_night.min_insync_replicas of inventories/local
LOOK = 0.5  # seconds between two looks at every partition
VISITS, SPEED = 90, 8
MEMBER = "echo srvr | openssl s_client -quiet -connect {0}:2182 -CAfile /etc/zookeeper/tls/ca.pem -cert "
MEMBER += "/etc/zookeeper/tls/keystore.pem -key /etc/zookeeper/tls/keystore.pem 2>/dev/null | grep Mode"


class Observer:
    """Looks at both sites with a client of its own, and notes every partition below its minimum of replicas in sync."""

    def __init__(self) -> None:
        self.looks = 0
        self.short: set[str] = set()

    def look(self) -> None:
        for site in SITES:
            try:
                cluster, _ = look.describe(kafka.admin(client(f"admin-{site}")))
            except KafkaException:  # a broker that is being stopped was asked; the next look asks another
                continue
            self.looks += 1
            self.short |= {f"{site} {one}" for one in cluster.partitions if len(one.isr) < MINIMUM}


@contextmanager
def observed_night(night: str, directory: Path) -> Iterator[Observer]:
    """Stream a night and look at every partition during the body; then account for every alert."""
    observer, stop = Observer(), threading.Event()

    def look_on() -> None:
        while not stop.wait(LOOK):
            observer.look()

    thread = threading.Thread(target=look_on)
    with streaming(night, directory, visits=VISITS, alerts=20, seconds=1200, speed=SPEED):
        thread.start()
        try:
            yield observer
        finally:
            stop.set()
            thread.join()
    assert observer.looks > 10
    assert observer.short == set(), "below the minimum of replicas in sync"
    sites = [option for site in SITES for option in (f"--{site}", str(STATE / "clients" / f"admin-{site}.properties"))]
    run(".venv/bin/zads", "audit", *sites, "--night", night)


def active(system: System, host: str) -> str:
    return system.on(host, "systemctl is-active kafka", check=False).strip()


def in_sync(number: int) -> bool:
    cluster, _ = look.describe(kafka.admin(client("admin-public")))
    return all(number in one.isr for one in cluster.holds(number)) and bool(cluster.holds(number))


def test_a_lost_disk_is_replaced_while_a_night_streams(system: System, tmp_path: Path) -> None:
    """The broker does not start with an empty disk by itself; the operator's command starts it when that is safe."""
    topic = names.night_topic("20181129", 1)
    before = len(read_topic("admin-public", topic))
    with observed_night("20300301", tmp_path):
        system.on("public-2", "systemctl kill --signal=KILL kafka; rm -rf /var/lib/kafka/data")
        await_that(
            "the broker refuses to start",
            lambda: (
                "has no data, and this broker has had data there"
                in system.on("public-2", "journalctl -u kafka --since -60s --output cat")
            ),
        )
        assert active(system, "public-2") != "active"
        refused = run("make", "deploy", "TAGS=kafka", check=False)
        assert refused.returncode != 0
        assert "make replace ENV=local HOST=public-2" in refused.stdout
        run("make", "replace", "HOST=public-2", "YES=1")
        assert in_sync(2)
    assert len(read_topic("admin-public", topic)) == before
    run("make", "verify")


def test_a_lost_machine_is_replaced_while_a_night_streams(system: System, tmp_path: Path) -> None:
    """The machine of a broker and of an ensemble's member: the new one has nothing but its operating system."""
    topic = names.night_topic("20181129", 1)
    before = len(read_topic("admin-public", topic))
    with observed_night("20300302", tmp_path):
        system.lab.container("public-1").remove(force=True, v=True)
        run("scripts/with-engine", ".venv/bin/zads", "lab", "up", "local")
        run("make", "replace", "HOST=public-1", "YES=1", timeout=1500)
        assert in_sync(1)
        assert "Mode: " in system.on("public-1", MEMBER.format(system.inventory.address("public-1")))
    assert len(read_topic("admin-public", topic)) == before
    run("make", "verify")


def test_a_second_lost_disk_is_not_touched(system: System) -> None:
    """Kafka has one whole copy left: nothing is replaced before the other broker is back."""
    system.on("public-3", "systemctl stop kafka")
    try:
        found = run("make", "replace", "HOST=public-2", "YES=1", "ARGS=-e kafka_gate_wait=4", check=False)
        assert found.returncode != 0
        assert "broker 2 may not be replaced" in found.stdout
        assert "already away: broker 3" in found.stdout
        assert active(system, "public-2") == "active"
    finally:
        system.on("public-3", "systemctl start kafka")
    await_that("the broker is back in sync", lambda: in_sync(3), 240)


def test_a_site_cannot_be_left_with_fewer_brokers_than_replicas(system: System) -> None:
    found = run("make", "remove", "HOST=public-3", "YES=1", check=False)
    assert found.returncode != 0
    assert "public-3 cannot leave" in found.stdout
    assert active(system, "public-3") == "active"
