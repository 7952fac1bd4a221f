"""Replicas move between real brokers while records arrive: bounded, followed, ended, and nothing lost or doubled."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka.cimpl import NewTopic

from bench.broker import Broker, await_true, running
from zads import kafka
from zads.site import look
from zads.site.cluster import Cluster
from zads.site.moving import BROKER_BOUNDS, TOPIC_BOUNDS, Mover

Run = Callable[..., dict[str, Any]]
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
        return set(Cluster(self.conf).metadata().brokers)

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
def broker() -> Iterator[Broker]:
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def site(broker: Broker) -> Site:
    site = Site(broker)
    for number in (2, 3):
        site.start(number)
    return site


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


def test_the_plan_is_shown_and_changes_nothing(run: Run, site: Site, topic: str) -> None:
    before = site.placement(topic)
    for options in ({"state": "planned"}, {}):
        answer = run("kafka_reassign", *(["--check"] if not options else []), **asked(**options))
        assert answer["moves"] > 0
        assert "replicas to copy" in answer["said"][0]
        assert len(answer["said"]) == answer["moves"] + 1
    assert site.placement(topic) == before


def test_a_third_broker_gets_its_share_while_records_arrive(run: Run, site: Site, topic: str) -> None:
    with arriving(site, topic) as acknowledged, watched(site, topic) as seen:
        time.sleep(1)
        answer = run("kafka_reassign", **asked(at_once=2))
        time.sleep(1)
    assert answer["changed"] is True, answer
    placed = site.placement(topic)
    assert Counter(broker for replicas in placed.values() for broker in replicas) == {1: 4, 2: 4, 3: 4}
    assert Counter(replicas[0] for replicas in placed.values()) == {1: 2, 2: 2, 3: 2}
    leaders = Cluster(site.conf).metadata().topics[topic].partitions
    assert {number: one.leader for number, one in leaders.items()} == {n: one[0] for n, one in placed.items()}
    assert site.bounded(topic) == set()
    assert min(seen) >= 2, "a partition lost a replica in sync"
    numbers = [
        int(message.value() or b"") for message in site.first.read_all(topic) if len(message.value() or b"") < 20
    ]
    assert sorted(numbers) == sorted(acknowledged)
    assert run("kafka_reassign", **asked())["changed"] is False


def test_an_interrupted_run_is_followed_and_continued(run: Run, site: Site, topic: str) -> None:
    fill(site, topic, 40)
    stopped = run("kafka_reassign", **asked(rate=SLOW, at_once=2, wait=25))
    assert "partitions moved" in stopped["msg"], stopped
    slow = slowly(site, topic)
    assert 0 < len(slow) <= 2
    refused = run("kafka_gate", state="may_stop", brokers=[2], expected=[1, 2, 3], wait=0)
    assert any(reason.startswith("a reassignment is running") for reason in refused["reasons"])
    follows = run("kafka_reassign", **asked(rate=SLOW, at_once=2, wait=2))
    assert "follows the copies that are under way" in follows["msg"], follows
    assert slowly(site, topic) == slow
    for number in RACKS:
        Cluster(site.conf).set_broker(number, dict.fromkeys(BROKER_BOUNDS, str(FAST)))
    assert run("kafka_reassign", **asked())["changed"] is True
    assert Counter(broker for one in site.placement(topic).values() for broker in one) == {1: 4, 2: 4, 3: 4}
    assert site.bounded(topic) == set()


def test_copies_that_are_ended_leave_every_partition_where_it_was(run: Run, site: Site, topic: str) -> None:
    fill(site, topic, 40)
    before = site.placement(topic)
    run("kafka_reassign", **asked(rate=SLOW, at_once=3, wait=25))
    ended = run("kafka_reassign", **asked(state="cancelled", wait=0))
    assert 0 < len([name for name in ended["cancelled"] if name.startswith(topic)]) <= 3
    assert {number: set(one) for number, one in site.placement(topic).items()} == {
        number: set(one) for number, one in before.items()
    }
    assert site.bounded(topic) == set()
    assert run("kafka_reassign", **asked(state="cancelled", wait=0))["cancelled"] == []


def test_an_impossible_plan_is_refused_at_once(run: Run, site: Site, topic: str) -> None:
    few = run("kafka_reassign", **asked(racks={"1": ""}, leaving=[2, 3]))
    assert "has 2 replicas, and 1 brokers would be left; add a broker first" in few["msg"]
    unknown = run("kafka_reassign", **asked(racks={"1": "", "3": ""}))
    assert "the inventory does not have broker 2" in unknown["msg"]


def test_a_broker_that_lost_its_data_starts_once_nobody_counts_on_it(run: Run, site: Site, topic: str) -> None:
    """It gets everything back from the others, while records arrive."""
    fill(site, topic, 5)
    gone = {"brokers": [2], "expected": [1, 2, 3], "wait": 0}
    only = run("kafka_gate", state="may_replace", **{**gone, "brokers": [1]})
    assert any(reason.startswith("no other replica is in sync: ") for reason in only["reasons"])
    assert run("kafka_gate", state="may_replace", **{**gone, "wait": 30})["holds"] >= PARTITIONS
    with arriving(site, topic) as acknowledged:
        site.kill(2, wipe=True)
        early = run("kafka_gate", state="may_start_empty", **gone)
        assert "still registered: broker 2" in early["reasons"]
        assert run("kafka_gate", state="may_start_empty", **{**gone, "wait": 60})["reasons"] == []
        site.start(2)
        assert "reasons" in run("kafka_gate", state="recovered", brokers=[2], wait=90)
    cluster, _ = look.describe(kafka.admin(site.conf))
    assert all(set(one.isr) == {1, 2} for one in cluster.partitions if one.topic == topic)
    numbers = [
        int(message.value() or b"") for message in site.first.read_all(topic) if len(message.value() or b"") < 20
    ]
    assert sorted(numbers) == sorted(acknowledged)


def test_a_broker_that_is_gone_for_good_is_removed(run: Run, site: Site, topic: str) -> None:
    site.kill(2)
    await_true(lambda: 2 not in site.brokers(), "the end of broker 2", 60)
    leave = asked(racks={"1": "", "3": ""}, leaving=[2], spread=False)
    answer = run("kafka_reassign", **leave)
    assert answer["changed"] is True, answer
    assert all(set(one) == {1, 3} for one in site.placement(topic).values())
    site.start(2)
