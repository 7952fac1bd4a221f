"""Reading to the end: neither silence nor a delay counts as the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from zads import kafka, reading
from zads.errors import ZadsError

CONF = {"bootstrap.servers": "nowhere:1"}
END = KafkaError._PARTITION_EOF


class Record:
    """A record of the topic "t", or an event of its partition when it has an error."""

    def __init__(self, offset: int, error: int | None = None, partition: int = 0) -> None:
        self.number, self.code, self._partition = offset, error, partition

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self.number

    def error(self) -> KafkaError | None:
        return None if self.code is None else KafkaError(self.code)


class Consumer:
    """Delivers batches, and then nothing."""

    def __init__(self, *batches: list[Record]) -> None:
        self.batches = list(batches)
        self.assigned: list[TopicPartition] = []
        self.closed = False

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = partitions

    def consume(self, _: int, __: float) -> list[Record]:
        return self.batches.pop(0) if self.batches else []

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def consuming(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Consumer]:
    def made(*batches: list[Record], ends: dict[int, int] | None = None) -> Consumer:
        consumer = Consumer(*batches)
        monkeypatch.setattr(kafka, "consumer", lambda *_, **__: consumer)
        found = [TopicPartition("t", number, end) for number, end in (ends or {}).items()]
        monkeypatch.setattr(kafka, "ends", lambda *_: found)
        return consumer

    return made


def offsets(records: Iterator[Any]) -> list[int]:
    return [record.number for record in records]


def test_records_are_read_to_the_end_of_the_start_and_not_beyond(consuming: Callable[..., Consumer]) -> None:
    consumer = consuming([Record(0), Record(1)], [Record(2), Record(3)])
    assert offsets(reading.read_to_end(CONF, {("t", 0): 3})) == [0, 1, 2]
    assert consumer.closed


def test_behind_the_last_record_the_end_of_the_partition_is_the_end(consuming: Callable[..., Consumer]) -> None:
    consuming([Record(0), Record(2, END)], [Record(5)])
    assert offsets(reading.read_to_end(CONF, {("t", 0): 2})) == [0]


def test_an_end_of_the_partition_before_the_end_is_waited_through(consuming: Callable[..., Consumer]) -> None:
    consuming([Record(0), Record(1, END)], [], [Record(1), Record(3, END)])
    assert offsets(reading.read_to_end(CONF, {("t", 0): 3})) == [0, 1]


def test_empty_partitions_are_not_waited_for(consuming: Callable[..., Consumer]) -> None:
    consumer = consuming([Record(0)])
    assert offsets(reading.read_to_end(CONF, {("t", 0): 1, ("t", 1): 0}, starts={("t", 0): 0})) == [0]
    assert [(one.partition, one.offset) for one in consumer.assigned] == [(0, 0)]
    assert offsets(reading.read_to_end(CONF, {("t", 1): 0})) == []


def test_silence_before_the_end_is_an_error(consuming: Callable[..., Consumer]) -> None:
    consumer = consuming([Record(0), Record(1, END)])
    records = reading.read_to_end(CONF, {("t", 0): 3}, stall_seconds=0.0)
    assert next(records)
    with pytest.raises(reading.StalledError, match="t partition 0 has delivered nothing"):
        list(records)
    assert consumer.closed


def test_an_error_of_the_cluster_ends_a_reading(consuming: Callable[..., Consumer]) -> None:
    consuming([Record(0, KafkaError._ALL_BROKERS_DOWN)])
    with pytest.raises(KafkaException):
        list(reading.read_to_end(CONF, {("t", 0): 1}))


def test_a_program_waits_for_its_own_records_however_long_others_hold_them_back(
    consuming: Callable[..., Consumer],
) -> None:
    down = Record(0, KafkaError._ALL_BROKERS_DOWN)
    consuming([down], [Record(0), Record(1, END)], *([[]] * 9), [Record(1), Record(4, END)], ends={0: 4})
    turns: list[None] = []
    assert offsets(reading.read_own(CONF, "group", "t", lambda: turns.append(None))) == [0, 1]
    assert len(turns) > 10


@pytest.mark.parametrize(
    ("code", "reason"),
    [(KafkaError.TOPIC_AUTHORIZATION_FAILED, "cannot read t"), (KafkaError.UNKNOWN_TOPIC_OR_PART, "there is no topic")],
)
def test_what_waiting_does_not_mend_is_an_error(consuming: Callable[..., Consumer], code: int, reason: str) -> None:
    consuming([Record(0), Record(0, code)], ends={0: 4})
    with pytest.raises(ZadsError, match=reason):
        list(reading.read_own(CONF, "group", "t", lambda: None))


def test_a_program_that_is_to_stop_stops_waiting(consuming: Callable[..., Consumer]) -> None:
    class StopError(Exception):
        pass

    def turn() -> None:
        raise StopError

    consuming(ends={0: 4})
    with pytest.raises(StopError):
        list(reading.read_own(CONF, "group", "t", turn))


def test_headers_may_be_texts_or_missing() -> None:
    message: Any = SimpleNamespace(headers=lambda: [("a", "x"), ("b", None), ("a", b"y")])
    assert reading.headers(message) == {"a": b"y", "b": b""}


class Offsets:
    """Administration clients. The first one keeps the former leaders, as librdkafka's client does."""

    made = 0
    error = KafkaError.FENCED_LEADER_EPOCH

    def __init__(self, _: dict[str, Any]) -> None:
        Offsets.made += 1
        self.old = Offsets.made == 1

    def poll(self, _: float) -> int:
        return 0

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: Any) -> dict[TopicPartition, Future[Any]]:
        answers: dict[TopicPartition, Future[Any]] = {where: Future() for where in asked}
        for answer in answers.values():
            if self.old:
                answer.set_exception(KafkaException(KafkaError(self.error)))
            else:
                answer.set_result(SimpleNamespace(offset=7))
        return answers


@pytest.mark.parametrize("error", [KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_TOPIC_OR_PART])
def test_ends_are_asked_anew_of_a_new_client(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """After a partition's leader has changed, and where the client denies a topic that was made under its eyes."""
    monkeypatch.setattr(kafka, "AdminClient", Offsets)
    monkeypatch.setattr(Offsets, "made", 0)
    monkeypatch.setattr(Offsets, "error", error)
    assert reading.committed_ends(CONF, [("topic", 0), ("topic", 1)]) == {("topic", 0): 7, ("topic", 1): 7}
    assert Offsets.made == 2
    kafka.forget_admin(CONF)


def test_a_topic_that_new_clients_deny_too_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Denying(Offsets):
        def __init__(self, conf: dict[str, Any]) -> None:
            super().__init__(conf)
            self.old = True

    monkeypatch.setattr(kafka, "AdminClient", Denying)
    monkeypatch.setattr(Offsets, "made", 0)
    monkeypatch.setattr(Offsets, "error", KafkaError.UNKNOWN_TOPIC_OR_PART)
    with pytest.raises(KafkaException):
        reading.committed_ends(CONF, [("topic", 0)])
    assert Offsets.made == 2
    kafka.forget_admin(CONF)
