"""Operations that restart every daemon of a site that is written to: nothing is lost, and one goes at a time.

Six daemons a site restart one after the other: that takes many minutes on two cores, so `make drill` runs it and
`make test` does not.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import NewTopic
from conftest import STATE, System, await_that, client, playbook, read_topic, run

from zads import kafka

SITES = ("origin", "public")
TOPIC = "zads_operations"
PORTS = {"kafka": 9093, "zookeeper": 2182}
LOOK = 0.5  # seconds between two looks at every port: a restart takes several, and each look costs a handshake
WRITE = 0.1  # seconds between two records
CERTIFICATE = "openssl x509 -noout -fingerprint -in /etc/kafka/tls/keystore.pem"


def listens(address: str, port: int) -> bool:
    """Whether a daemon takes connections there."""
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


@dataclass
class Watch:
    """Who was seen down, and how many of a group of daemons at once at most."""

    went_down: set[tuple[str, str]] = field(default_factory=set)
    most_at_once: dict[tuple[str, str], int] = field(default_factory=dict)

    def look(self, system: System) -> None:
        for site in SITES:
            for daemon, port in PORTS.items():
                members = system.inventory.group(f"{site}_{daemon}")
                down = [host for host in members if not listens(system.inventory.address(host), port)]
                self.went_down.update((host, daemon) for host in down)
                self.most_at_once[site, daemon] = max(self.most_at_once.get((site, daemon), 0), len(down))


@dataclass
class Writer:
    """An idempotent producer to one site; numbers in, the numbers that all in-sync replicas acknowledged out."""

    site: str
    acknowledged: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    written: int = 0

    def __post_init__(self) -> None:
        self.producer = Producer({**client(f"admin-{self.site}"), "acks": "all", "enable.idempotence": True})

    def write(self) -> None:
        def told(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self.acknowledged.append(int(message.value()))
            else:
                self.refused.append(str(error))

        self.producer.produce(TOPIC, str(self.written).encode(), on_delivery=told)
        self.written += 1
        self.producer.poll(0)


def in_background(stop: threading.Event, seconds: float, work: Any) -> threading.Thread:
    """Repeat a piece of work every so many seconds until told to stop."""

    def repeat() -> None:
        while not stop.wait(seconds):
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    return thread


@pytest.fixture
def topic(system: System) -> Iterator[None]:
    """A topic for the writers at both sites."""
    administrators = [kafka.admin(client(f"admin-{site}")) for site in SITES]
    for administrator in administrators:
        new = NewTopic(TOPIC, 6, 3, config={"min.insync.replicas": "2"})
        administrator.create_topics([new])[TOPIC].result(30)
        await_that("its partitions have leaders", lambda a=administrator: has_leaders(a), 30)
    yield
    for administrator in administrators:
        administrator.delete_topics([TOPIC])[TOPIC].result(30)


def has_leaders(administrator: Any) -> bool:
    partitions = administrator.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions.values()
    return len(partitions) == 6 and all(partition.leader >= 0 for partition in partitions)


@contextmanager
def written_to(system: System) -> Iterator[Watch]:
    """While it lasts both sites are written to and every port is looked at; then every record is accounted for."""
    watch, stop = Watch(), threading.Event()
    writers = [Writer(site) for site in SITES]
    threads = [in_background(stop, LOOK, lambda: watch.look(system))]
    threads += [in_background(stop, WRITE, writer.write) for writer in writers]
    try:
        yield watch
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for writer in writers:
        assert writer.producer.flush(120) == 0
        assert writer.refused == []
        assert sorted(writer.acknowledged) == list(range(writer.written)), writer.site
        values = [int(message.value()) for message in read_topic(f"admin-{writer.site}", TOPIC)]
        assert sorted(values) == list(range(writer.written)), f"{writer.site} lost or doubled records"
    for (site, daemon), number in watch.most_at_once.items():
        assert number <= 1, f"{number} {daemon} of {site} were down at once"


def daemons(system: System, *hosts: str) -> set[tuple[str, str]]:
    """Hosts with each daemon that they have."""
    groups = {daemon: system.inventory.group(daemon) for daemon in PORTS}
    return {(host, daemon) for host in hosts for daemon, members in groups.items() if host in members}


def test_renewing_a_sites_certificates_interrupts_nobody(system: System, topic: None) -> None:
    """A certificate that is not there is made again like one that expires soon, and its daemon restarted in turn."""
    brokers = system.inventory.group("public_kafka")
    before = {host: system.on(host, CERTIFICATE) for host in brokers}
    for host in brokers:
        for daemon in PORTS:
            (STATE / "secrets" / "public" / host / f"{daemon}.crt").unlink()
    with written_to(system) as watch:
        playbook("deploy", "--tags", "certificates")
    assert watch.went_down == daemons(system, *brokers)
    assert not set(before.values()) & {system.on(host, CERTIFICATE) for host in brokers}
    counts = playbook("deploy", "--tags", "certificates")
    assert {name: count["changed"] for name, count in counts.items() if count["changed"]} == {}


def test_a_host_restarted_on_request_interrupts_nobody(system: System, topic: None) -> None:
    with written_to(system) as watch:
        run("make", "restart", "LIMIT=origin-2")
    assert watch.went_down == daemons(system, "origin-2")
