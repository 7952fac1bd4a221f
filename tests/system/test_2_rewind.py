"""A subscriber rewinds to any moment, and reads the same bytes again."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import pytest
from confluent_kafka import Message

from local_system import System, read_topic


def content(record: Message) -> tuple[object, ...]:
    """The place and the contents of a record, with a digest for its value."""
    digest = hashlib.sha256(record.value()).hexdigest()
    return record.partition(), record.offset(), record.timestamp(), record.key(), digest, record.headers()


def since(records: list[Message], moment: int) -> list[Message]:
    """The records of each partition, from the first that is not older than a moment (ms)."""
    partitions: dict[int, list[Message]] = defaultdict(list)
    for record in records:
        found = partitions[record.partition()]
        if found or record.timestamp()[1] >= moment:
            found.append(record)
    return [record for found in partitions.values() for record in found]


@pytest.fixture(scope="module")
def records(system: System, public_topic: str) -> list[Message]:
    """The whole night as a subscriber reads it first."""
    found = read_topic("reader", public_topic)
    assert len({record.timestamp()[1] for record in found}) >= 4, "the night arrived at several moments"
    return found


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_a_subscriber_rewinds_to_a_moment_and_reads_the_same_bytes(
    public_topic: str, records: list[Message], share: float
) -> None:
    moments = sorted({record.timestamp()[1] for record in records})
    moment = moments[int(share * len(moments))]
    wanted = since(records, moment)
    assert wanted
    assert len(wanted) < len(records) or share == 0.0, "a part of the night lies before this moment"
    again = read_topic("reader", public_topic, moment)
    assert sorted(map(content, again)) == sorted(map(content, wanted))


def test_a_moment_after_the_last_alert_is_the_end(public_topic: str, records: list[Message]) -> None:
    last = max(record.timestamp()[1] for record in records)
    assert read_topic("reader", public_topic, last + 1) == []
