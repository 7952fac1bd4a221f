"""What a broker answers about its disks, and what `zads disks` makes of it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer

from bench.broker import Broker, await_true
from zads import kafka, names
from zads.site import disks

TOPIC, OLD = "ztf_20300101_programid1", "ztf_20300102_programid1"
RECORD = b"x" * 50_000
RECORDS = 100
DAY_MS = 86_400_000


def publish(broker: Broker, topic: str, days_ago: float = 0.0, records: int = RECORDS) -> None:
    """Records without compression, so that their bytes on the disk are known."""
    producer: Producer = kafka.producer(broker.conf, **{"compression.codec": "none"})
    moment = round(time.time() * 1000 - days_ago * DAY_MS)
    for number in range(records):
        producer.produce(topic, RECORD, key=str(number), timestamp=moment)
    assert producer.flush(60) == 0


@pytest.fixture(scope="module")
def filled(broker: Broker) -> Broker:
    """A night of today; and one of which the records have their producer's time, two days ago."""
    broker.create(TOPIC, partitions=2, retention_ms=str(7 * DAY_MS))
    broker.create(OLD, partitions=2, retention_ms=str(7 * DAY_MS), message_timestamp_type="CreateTime")
    publish(broker, TOPIC)
    publish(broker, OLD, days_ago=2.5)
    return broker


def test_what_is_on_the_disk_is_what_was_written(filled: Broker) -> None:
    found = disks.look(filled.conf, {1: "here"})
    [broker] = found.brokers
    [disk] = broker.disks
    sizes = dict(found.topics)
    for topic in (TOPIC, OLD):
        assert RECORDS * len(RECORD) <= sizes[topic] < 1.05 * RECORDS * len(RECORD), sizes
    assert disk.path == "/data/kafka"
    assert disk.used == sum(sizes.values())
    assert 0 < disk.free < disk.total
    assert disk.total == pytest.approx(3 << 30, rel=0.01), "the size of the container's disk"
    assert disk.total - disk.free >= disk.used
    assert (broker.offline, found.problems()) == ((), [])


def test_the_forecast_knows_the_age_of_records(filled: Broker) -> None:
    records = disks._records(disks.Cluster(filled.conf), [(TOPIC, 0), (TOPIC, 1), (OLD, 0), (OLD, 1)])
    for number in (0, 1):
        assert records[TOPIC, number].retention == 7
        assert records[TOPIC, number].parts[0] == 1.0
        assert records[OLD, number].parts[:4] == (0.0, 0.0, 1.0, 0.0)
    # A night of 5 MB each day, kept for eight days, on a disk of 3 GB.
    assert disks.look(filled.conf, {1: "here"}).brokers[0].disks[0].days is None


def test_what_is_kept_for_ever_fills_the_disk_and_a_compacted_topic_does_not(filled: Broker) -> None:
    filled.create("kept", retention_ms="-1")
    publish(filled, "kept", records=1000)
    [broker] = disks.look(filled.conf, {1: "here"}).brokers
    [disk] = broker.disks
    expected = (disk.free - disk.total * 0.05) / (1000 * len(RECORD))
    assert disk.days is not None
    assert 0.7 * expected - 2 <= disk.days <= expected
    assert names.LEDGER_TOPIC not in disks._retention(disks.Cluster(filled.conf), ["kept", names.LEDGER_TOPIC])


def test_below_the_bound_of_the_gate_the_disk_is_full(filled: Broker) -> None:
    found = disks.look(filled.conf, {1: "here"}, free_percent=100)
    assert found.brokers[0].disks[0].days == 0
    [problem] = found.problems()
    assert problem.startswith("/data/kafka of broker 1 (here) is nearly full: ")


def test_a_broker_of_the_inventory_that_is_not_there_is_named_and_one_that_is_not_in_it_too(filled: Broker) -> None:
    found = disks.look(filled.conf, {7: "elsewhere"})
    assert [(broker.number, broker.host, broker.problem) for broker in found.brokers] == [
        (1, "not in the inventory", ""),
        (7, "elsewhere", "is not up"),
    ]


def test_a_topic_that_goes_meanwhile_does_no_harm(filled: Broker) -> None:
    filled.create("goes", partitions=8, retention_ms=str(DAY_MS))
    publish(filled, "goes")
    answers = kafka.admin(filled.conf).delete_topics(["goes"], operation_timeout=20)
    found = disks.look(filled.conf, {1: "here"})
    answers["goes"].result(30)
    assert found.problems() == []
    await_true(lambda: "goes" not in dict(disks.look(filled.conf, {1: "here"}).topics), "the bytes to go", 90)


def test_a_site_that_does_not_answer_is_an_error(monkeypatch: Any) -> None:
    monkeypatch.setattr("zads.site.cluster.ANSWER", 2)
    with pytest.raises(KafkaException):
        disks.look({"bootstrap.servers": "127.0.0.1:9"}, {1: "here"})
