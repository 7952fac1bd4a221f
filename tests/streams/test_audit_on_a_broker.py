"""The audit, the canary and the demo's view of the filters, on a real broker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer, TopicPartition

from bench.broker import Broker
from zads import audit, canary, kafka, names, reading, replication, subscriber, warmup
from zads.filters import status

NIGHTS = iter(f"203001{day:02d}" for day in range(1, 29))
MJD = {f"203001{day:02d}": 62502 + day for day in range(1, 29)}  # 2030-01-01 is MJD 62502
PARTITIONS = 4


@pytest.fixture
def night(broker: Broker) -> Iterator[str]:
    """A separate night for each test, with the topics of programmes 1 and 2."""
    chosen = next(NIGHTS)
    broker.create(names.night_topic(chosen, 1), names.night_topic(chosen, 2), partitions=PARTITIONS)
    yield chosen


def headers(night: str, candid: int) -> list[tuple[str, bytes]]:
    visit = f"{MJD[night] - 1 + 0.25:.5f}"
    texts = {
        names.HEADER_CANDID: str(candid),
        names.HEADER_VISIT: visit,
        names.HEADER_SCHEMA: "3.2",
        names.HEADER_PRODUCED: "1700000000.000000",
    }
    return [(name, text.encode()) for name, text in texts.items()]


def put(client: Producer, topic: str, night: str, candids: range) -> None:
    for candid in candids:
        client.produce(topic, f"packet {candid}".encode(), f"ZTF18{candid}".encode(), headers=headers(night, candid))
    client.flush(30)


def transactional(broker: Broker, name: str) -> Producer:
    client = kafka.producer(broker.conf, **{"transactional.id": name})
    client.init_transactions(30)
    return client


def test_the_fixtures_visits_are_of_its_nights() -> None:
    for night in ("20300101", "20300128"):
        assert names.night_of_visit(dict(headers(night, 1))[names.HEADER_VISIT].decode()) == night


def test_what_was_committed_counts_and_what_was_aborted_does_not(broker: Broker, night: str) -> None:
    topic = names.night_topic(night, 1)
    client = transactional(broker, f"audit-{night}")
    client.begin_transaction()
    put(client, topic, night, range(100))
    client.commit_transaction(30)
    client.begin_transaction()
    put(client, topic, night, range(100, 120))
    client.abort_transaction(30)
    found = audit.read_site("origin", broker.conf, [night])
    assert found.topics[topic].records == found.topics[topic].candids == 100
    assert found.topics[topic].duplicates == 0
    assert found.topics[names.night_topic(night, 2)].records == 0


def test_an_audit_ends_at_an_open_transaction(broker: Broker, night: str) -> None:
    topic = names.night_topic(night, 1)
    client = transactional(broker, f"open-{night}")
    client.begin_transaction()
    put(client, topic, night, range(10))
    client.commit_transaction(30)
    client.begin_transaction()
    put(client, topic, night, range(10, 20))
    try:
        assert audit.read_site("origin", broker.conf, [night]).topics[topic].records == 10
    finally:
        client.abort_transaction(30)


def test_order_and_batches_do_not_change_a_digest(broker: Broker, night: str) -> None:
    other = next(NIGHTS)
    broker.create(names.night_topic(other, 1), partitions=1)
    client = kafka.producer(broker.conf)
    put(client, names.night_topic(night, 1), night, range(50))
    put(client, names.night_topic(other, 1), night, range(49, 24, -1))
    put(client, names.night_topic(other, 1), night, range(24, -1, -1))
    found = audit.read_site("origin", broker.conf, [night, other])
    assert found.topics[names.night_topic(night, 1)].digest == found.topics[names.night_topic(other, 1)].digest
    assert found.topics[names.night_topic(night, 1)].size == sum(len(f"packet {candid}") for candid in range(50))


def test_a_programme_at_a_site_that_may_not_have_it_is_found(broker: Broker, night: str) -> None:
    put(kafka.producer(broker.conf), names.night_topic(night, 1), night, range(3))
    both = audit.audit(broker.conf, broker.conf, [night], [1, 2])
    assert both.disagreements == ()
    [sentence] = audit.audit(broker.conf, broker.conf, [night], [1]).disagreements
    assert names.night_topic(night, 2) in sentence


def test_filters_are_audited_for_the_nights_asked_for(broker: Broker, night: str) -> None:
    name = names.filter_topic(f"audit_{night}")
    broker.create(name)
    client = kafka.producer(broker.conf)
    put(client, names.night_topic(night, 1), night, range(5))
    put(client, name, night, range(2))
    other = next(NIGHTS)
    put(client, name, other, range(3))
    found = audit.audit(broker.conf, broker.conf, [night], [1, 2])
    assert found.public.filters[name].records == 2
    assert [sentence for sentence in found.disagreements if name in sentence] == []
    put(client, name, night, range(77, 78))
    [sentence] = [text for text in audit.audit(broker.conf, broker.conf, [night], [1, 2]).disagreements if name in text]
    assert "candid 77" in sentence


def test_refused_input_is_counted_by_reason(broker: Broker, night: str) -> None:
    client = kafka.producer(broker.conf)
    for number in range(3):
        client.produce(
            names.REJECTED_TOPIC,
            b"bytes",
            headers=[
                (names.HEADER_REASON, f"because of {night}\nand more".encode()),
                (names.HEADER_FIELD, b"candid"),
                (names.HEADER_SOURCE, f"file {number}".encode()),
            ],
        )
    client.flush(30)
    found = audit.read_site("origin", broker.conf, [night])
    [mine] = [one for one in found.rejections if one.reason == f"because of {night}"]
    assert (mine.count, mine.field, mine.source) == (3, "candid", "file 0")


def test_replication_is_described(broker: Broker, night: str) -> None:
    states = replication.describe(broker.conf, names.night_topic(night, 1).__eq__)
    assert [vars(state) for state in states] == [
        {
            "topic": names.night_topic(night, 1),
            "partitions": PARTITIONS,
            "replication_factor": 1,
            "min_insync_replicas": 1,
            "under_replicated": 0,
            "leaderless": 0,
        }
    ]


def test_a_group_is_behind_by_records_and_not_by_transaction_markers(broker: Broker, night: str) -> None:
    topic = names.night_topic(night, 1)
    client = transactional(broker, f"lag-{night}")
    client.begin_transaction()
    put(client, topic, night, range(40))
    client.commit_transaction(30)
    held = audit.read_site("public", broker.conf, [night]).topics[topic]
    ends = {(topic, number): end for number, end in held.ends.items()}
    assert status.lag(broker.conf, f"group-{night}", ends) == 40
    consumer = kafka.consumer(broker.conf, f"group-{night}")
    consumer.commit(
        offsets=[TopicPartition(topic, number, end) for number, end in held.ends.items()], asynchronous=False
    )
    consumer.close()
    assert status.lag(broker.conf, f"group-{night}", ends) == 0


def test_the_newest_counts_of_every_worker_add_up_night_by_night(broker: Broker) -> None:
    if names.FILTER_COUNTS_TOPIC not in kafka.admin(broker.conf).list_topics(timeout=20).topics:
        broker.create(names.FILTER_COUNTS_TOPIC, cleanup_policy="compact")
    client = kafka.producer(broker.conf)
    for worker, seen in (("one", 5), ("one", 9), ("two", 4)):
        row = {"seen": seen, "passed": 1, "capped": 0, "failed": 0}
        value = {"filter": "audit_counts", **row, "nights": {"20300101": row, "20300102": {**row, "seen": 1}}}
        client.produce(names.FILTER_COUNTS_TOPIC, json.dumps(value).encode(), f"audit_counts/{worker}".encode())
    client.flush(30)
    counts = status.counts(broker.conf, ["20300101"])["audit_counts"]
    assert counts == {"seen": 13, "passed": 2, "capped": 0, "failed": 0}
    assert status.counts(broker.conf, ["20300101", "20300102"])["audit_counts"]["seen"] == 15
    assert status.counts(broker.conf, ["20300103"])["audit_counts"]["seen"] == 0


def test_a_canary_is_read_unchanged(broker: Broker) -> None:
    topic = names.night_topic(names.CANARY_NIGHT, 1)
    broker.create(topic, partitions=3)
    flight = canary.send(broker.conf, broker.conf)
    assert 0 < flight.acknowledged_seconds <= flight.read_seconds
    again = canary.send(broker.conf, broker.conf)
    assert again.topic == topic


def test_a_warm_up_ends_when_the_chain_is_quick_or_the_time_is_over(broker: Broker) -> None:
    topic = names.night_topic(names.CANARY_NIGHT, 2)
    broker.create(topic, partitions=3)
    lines: list[str] = []
    measured = warmup.warm(broker.conf, broker.conf, topic, until_seconds=5.0, rate=20.0, say=lines.append)
    assert measured.reached
    assert measured.packets == len(broker.read_all(topic)) == len(lines) * 80
    longer = warmup.warm(broker.conf, broker.conf, topic, at_least=5.0, until_seconds=5.0, rate=20.0, say=lines.append)
    assert longer.packets == 160
    hopeless = warmup.warm(broker.conf, broker.conf, topic, seconds=0.0, until_seconds=1e-6, say=lines.append)
    assert (hopeless.reached, hopeless.packets) == (False, 160)


def test_a_warm_up_without_the_topic_names_the_site(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "NEW_TOPIC_SECONDS", 0.5)
    with pytest.raises(canary.CanaryError, match="make deploy") as caught:
        warmup.warm(broker.conf, broker.conf, names.night_topic(names.CANARY_NIGHT, 3), say=print)
    assert caught.value.hop == "public"


def test_a_subscriber_counts_the_records_of_its_source_from_now_on(broker: Broker, night: str) -> None:
    topic = names.night_topic(night, 1)
    client = kafka.producer(broker.conf)

    def publish(source: bytes) -> None:
        headers = [(names.HEADER_SOURCE, source), (names.HEADER_PRODUCED, f"{time.time():.6f}")]
        client.produce(topic, b"value", b"key", headers=headers)
        assert client.flush(30) == 0

    publish(b"mine")
    subscribed = subscriber.Subscriber(broker.conf, [topic], b"mine")
    subscribed.start()
    publish(b"another's")
    publish(b"mine")
    assert subscribed.wait_for(1, 30)
    assert not subscribed.wait_for(2, 0.5)
    subscribed.close()
    assert 0 <= subscribed.latencies[0] < 30
    [((name, number), end)] = subscribed.ends.items()
    assert (name, end) == (topic, reading.committed_ends(broker.conf, [(topic, number)])[topic, number])


def test_a_canary_without_a_topic_says_how_to_make_it(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "NEW_TOPIC_SECONDS", 0.5)
    with pytest.raises(canary.CanaryError, match="make deploy") as caught:
        canary.send(broker.conf, broker.conf, names.night_topic("20000102", 1))
    assert caught.value.hop == "public"


def test_a_site_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replication, "ANSWER_SECONDS", 0.5)
    with pytest.raises(audit.AuditError, match=r"origin cannot be read: 127\.0\.0\.1:1 does not answer"):
        audit.read_site("origin", {"bootstrap.servers": "127.0.0.1:1", "log_level": "0"}, ["20181129"])
