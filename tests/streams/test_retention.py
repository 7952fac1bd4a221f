"""An acknowledged alert is kept for its retention time, whatever the producer's clock says."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, TopicPartition

from bench.broker import Broker, await_true, running
from zads import kafka
from zads.site.policy import SITES, Policy
from zads.site.topics import canary_topic, fixed_topics, night_topics

DAY_MS = 86_400_000
CHECK_MS = 500
POLICY = Policy.read(
    {
        "topics_night": {"partitions": 1, "replication_factor": 2, "min_insync_replicas": 1, "retention_days": 7},
        "programmes": {1: {"sites": ["origin", "public"]}},
        "users": [{"name": "alice", "site": "public", "programmes": [1]}],
        "filter_groups": {"transients": {"workers": 1}},
        "filters": [{"name": "young", "owner": "alice", "group": "transients", "state": "active"}],
    }
)
TOPICS = {
    topic.name: topic
    for site in SITES
    for topic in [*night_topics(POLICY, site, ["20181129"]), *fixed_topics(POLICY, site)]
    if topic.config["cleanup.policy"] == "delete" and topic.name != canary_topic(POLICY)
}


@pytest.fixture(scope="module")
def checking() -> Iterator[Broker]:
    """A broker that checks retention twice a second."""
    with running(settings={"log.retention.check.interval.ms": CHECK_MS}) as started:
        yield started


def publish(broker: Broker, topic: str, timestamp: int) -> None:
    """Sixteen acknowledged records in one batch, by a producer whose clock says `timestamp` (ms)."""
    failures: list[object] = []
    client = kafka.producer(broker.conf, **{"linger.ms": 200})
    for number in range(16):
        client.produce(
            topic, bytes([number]) * 20_000, timestamp=timestamp,
            on_delivery=lambda error, _: error and failures.append(error),
        )  # fmt: skip
    assert client.flush(30) == 0
    assert not failures


def await_check(broker: Broker) -> None:
    """Wait until the broker has checked every log: old records of a control topic are deleted twice."""
    name = "control"
    if name not in kafka.admin(broker.conf).list_topics(timeout=10).topics:
        broker.create(name, retention_ms=str(7 * DAY_MS), message_timestamp_type="CreateTime")
    reader = kafka.consumer(broker.conf, "control")
    try:
        for _ in range(2):
            publish(broker, name, now() - 8 * DAY_MS)
            await_true(
                lambda: (ends := reader.get_watermark_offsets(TopicPartition(name, 0), 10))[0] == ends[1] > 0,
                "the old records of the control topic to be deleted",
                60,
            )
    finally:
        reader.close()


def now() -> int:
    return int(time.time() * 1000)


def size(broker: Broker, topic: str) -> int:
    """Bytes of a topic's first segment."""
    answer = broker.container.exec(["stat", "-c", "%s", f"/data/kafka/{topic}-0/00000000000000000000.log"])
    return int(answer.output)


def test_what_is_acknowledged_stays_whatever_the_producers_clock_says(checking: Broker) -> None:
    began = now()
    published = []
    for name, wanted in sorted(TOPICS.items()):
        for days in (-8, 8):
            topic = f"{name}.{'slow' if days < 0 else 'fast'}"
            checking.create(topic, **{key.replace(".", "_"): value for key, value in wanted.config.items()})
            publish(checking, topic, began + days * DAY_MS)
            published.append(topic)
    await_check(checking)
    reader = kafka.consumer(checking.conf, "by-time")
    try:
        for topic in published:
            records = checking.read_all(topic)
            assert len(records) == 16, topic
            for record in records:
                kind, stamp = record.timestamp()
                assert kind == TIMESTAMP_LOG_APPEND_TIME
                assert began - 1000 <= stamp <= now() + 1000
            # A reader that seeks by time finds what has arrived since.
            assert reader.offsets_for_times([TopicPartition(topic, 0, began - 60_000)], 10)[0].offset == 0
            assert reader.offsets_for_times([TopicPartition(topic, 0, now() + 60_000)], 10)[0].offset == -1
    finally:
        reader.close()


def test_a_batch_is_not_compressed_again_for_its_timestamp(checking: Broker) -> None:
    """That would replace the producer's compression level by the broker's, and cost processor time."""
    stamp = now()
    for kind in ("CreateTime", "LogAppendTime"):
        checking.create(kind, message_timestamp_type=kind)
        publish(checking, kind, stamp)
    assert size(checking, "LogAppendTime") == size(checking, "CreateTime") > 0
