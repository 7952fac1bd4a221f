"""A site of three brokers in one container, for tests that move replicas, end brokers and start them again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bench.broker import Broker, await_true, running
from zads import kafka, names
from zads.site.cluster import Cluster
from zads.site.moving import BROKER_BOUNDS, TOPIC_BOUNDS, Mover

RACKS = {1: "a", 2: "b", 3: "c"}
FAST = 1 << 30
SLOW = 1 << 16  # bytes a second: a copy takes minutes, also on a machine that is busy
PARTITIONS = 6
# Every broker is a process of its own in the same container, with the first one's ensemble.
START = """
sed 's/broker.id=1/broker.id={0}/; s/:9092/:9{0}92/g; s#/data/kafka#/data/kafka-{0}#' /data/broker.properties \\
    > /data/{0}.properties
export KAFKA_LOG4J_OPTS=-Dlog4j.configuration=file:/opt/kafka/config/tools-log4j.properties
KAFKA_HEAP_OPTS=-Xmx256m exec /opt/kafka/bin/kafka-server-start.sh /data/{0}.properties
"""
PROCESS = """
for p in /proc/[0-9]*; do
    grep -qa '/data/[{0}].properties' $p/cmdline 2>/dev/null && kill -KILL ${{p#/proc/}}
done
"""


class Site:
    """A site of several brokers."""

    def __init__(self, first: Broker) -> None:
        self.first, self.conf = first, first.conf
        # A request that is under way at a broker that dies waits for that broker until its time is over: librdkafka
        # does not ask another. This client has only ever asked the first broker, which no test ends.
        self.asks_the_first = AdminClient(dict(first.conf))

    def start(self, number: int) -> None:
        """Start a further broker, and wait until it is registered."""
        container = self.first.container.get_wrapped_container()
        container.exec_run(["sh", "-c", START.format(number)], detach=True)
        await_true(lambda: number in self.brokers(), f"broker {number}", 60)

    def kill(self, number: int, *, wipe: bool = False) -> None:
        """End a broker as a power cut does, perhaps with its data."""
        container = self.first.container.get_wrapped_container()
        container.exec_run(["sh", "-c", PROCESS.format(number)])
        if wipe:
            container.exec_run(["sh", "-c", f"rm -rf /data/kafka-{number}"])

    def brokers(self) -> set[int]:
        """The brokers that are registered."""
        return set(self.asks_the_first.list_topics(timeout=30).brokers)

    def placement(self, topic: str) -> dict[int, tuple[int, ...]]:
        """The replicas of each partition."""
        found = Cluster(self.conf).metadata().topics[topic].partitions
        return {number: tuple(partition.replicas) for number, partition in found.items()}

    def bounded(self, topic: str) -> set[str]:
        """The bounds on copies that are set somewhere."""
        cluster = Cluster(self.conf)
        there = set(cluster.topics([topic])[topic].config) & set(TOPIC_BOUNDS)
        for number in self.brokers():
            there |= set(cluster.broker_settings(number)[0]) & set(BROKER_BOUNDS)
        return there


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Three brokers, and no topic of one replica: a broker that has the only one cannot be replaced or removed."""
    with running(settings={"offsets.topic.replication.factor": 2}) as first:
        site = Site(first)
        for number in (2, 3):
            site.start(number)
        Cluster(site.conf).delete_topics([names.REJECTED_TOPIC, names.LEDGER_TOPIC])
        yield site


@pytest.fixture
def topic(site: Site, request: pytest.FixtureRequest) -> Iterator[str]:
    """A topic on the first two brokers alone, with records."""
    name = f"zads_{request.node.name[:40].strip('_')}"
    placed = [[1, 2] if number % 2 else [2, 1] for number in range(PARTITIONS)]
    client = kafka.admin(site.conf)
    config = {"min.insync.replicas": "1"}
    client.create_topics([NewTopic(name, PARTITIONS, replica_assignment=placed, config=config)])[name].result(30)
    fill(site, name, 1)
    yield name
    client.delete_topics([name], operation_timeout=30)[name].result(30)


def fill(site: Site, topic: str, megabytes: int) -> None:
    """Write so many megabytes to every partition."""
    producer = kafka.producer(site.conf, **{"compression.codec": "none", "batch.size": 1 << 19})
    failed: list[Any] = []
    for number in range(PARTITIONS):
        for _ in range(megabytes << 2):
            producer.produce(
                topic, bytes(1 << 18), partition=number,
                on_delivery=lambda error, _: failed.append(error) if error else None,
            )  # fmt: skip
    assert producer.flush(60) == 0
    assert not failed


def asked(**changes: Any) -> dict[str, Any]:
    racks = {str(number): rack for number, rack in RACKS.items()}
    return {"state": "moved", "racks": racks, "rate": FAST, "wait": 80, **changes}


@contextmanager
def arriving(site: Site, topic: str) -> Iterator[list[int]]:
    """Write numbered records during the body. Yields the numbers that were acknowledged."""
    acknowledged: list[int] = []
    stop = threading.Event()
    producer = kafka.producer(site.conf, **{"linger.ms": 5})

    def note(number: int) -> Callable[[Any, Any], None]:
        def delivered(error: Any, _: Any) -> None:
            if error is None:
                acknowledged.append(number)

        return delivered

    def write() -> None:
        number = 0
        while not stop.wait(0.005):
            producer.produce(topic, str(number), on_delivery=note(number))
            producer.poll(0)
            number += 1
        assert producer.flush(60) == 0

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        thread.join()


@contextmanager
def watched(site: Site, topic: str) -> Iterator[Counter[int]]:
    """Count, during the body, how many replicas in sync the poorest partition had."""
    seen: Counter[int] = Counter()
    stop = threading.Event()

    def watch() -> None:
        client = kafka.consumer(site.conf, "observer")
        while not stop.wait(0.1):
            partitions = client.list_topics(topic, timeout=20).topics[topic].partitions.values()
            seen[min(len(one.isrs) for one in partitions)] += 1
        client.close()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def slowly(site: Site, topic: str) -> set[str]:
    """The partitions of a topic that are being copied."""
    moving = Mover(site.conf).view().cluster.reassignments
    return {one.partition for one in moving if one.partition.startswith(topic)}
