"""A sample on a real broker: read by its readers, replaced, removed, and seen by nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.broker import Broker, await_true
from zads import kafka, names, reading, sample
from zads.errors import ZadsError
from zads.site.samples import Sample
from zads.sources import simulator

SPRING = Sample(name="spring", site="public", programmes=frozenset({1}))


def packets(count: int) -> Iterator[tuple[str, bytes]]:
    for _, found in simulator.simulate("20181129", 1, count, 1, programme_mix={1: 1.0}):
        yield from found


def values(broker: Broker) -> list[bytes]:
    found = []
    for message in reading.read_topics(broker.conf, [SPRING.topic]):
        assert {*names.ALERT_HEADERS, names.HEADER_FORMAT} <= reading.headers(message).keys()
        found.append(message.value() or b"")
    return found


def test_a_sample_is_published_added_to_replaced_and_removed(broker: Broker) -> None:
    many = list(packets(450))
    records = sample.judged(SPRING, many)
    assert sample.held(broker.conf, SPRING) is None
    with pytest.raises(ZadsError, match="a deployment makes it"):
        sample.publish(broker.conf, SPRING, records)
    broker.create(SPRING.topic)
    assert sample.held(broker.conf, SPRING) == 0
    sample.publish(broker.conf, SPRING, records)
    assert values(broker) == [data for _, data in many], "byte for byte, in order"
    assert sample.held(broker.conf, SPRING) == 450
    few = sample.judged(SPRING, many[:3])
    sample.publish(broker.conf, SPRING, few)
    assert sample.held(broker.conf, SPRING) == 453
    sample.publish(broker.conf, SPRING, few, replace=True)
    assert values(broker) == [data for _, data in many[:3]]
    assert sample.remove(broker.conf, "spring") is True
    await_true(lambda: SPRING.topic not in kafka.admin(broker.conf).list_topics(timeout=20).topics, "the removal")
    assert sample.remove(broker.conf, "spring") is False


def test_the_ledger_knows_nothing_of_a_sample(broker: Broker) -> None:
    other = Sample(name="autumn", site="public", programmes=frozenset({1}))
    broker.create(other.topic)
    sample.publish(broker.conf, other, sample.judged(other, packets(2)))
    assert sample.held(broker.conf, other) == 2
    assert broker.read_all(names.LEDGER_TOPIC) == []
