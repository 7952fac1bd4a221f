"""The order of a transaction's calls, and what becomes of it when one of them fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from zads import kafka, names, transactions
from zads.rejections import SOURCE_BYTES, rejection
from zads.transactions import ClientLost, Record, TransactionAborted, TransactionError, Transactions

RECORDS = [Record("t", b"a", b"1"), Record("t", b"b", b"2", [("h", b"x")])]


def kafka_error(code: int, *, retriable: bool = False, fatal: bool = False, abort: bool = False) -> KafkaException:
    return KafkaException(KafkaError(code, "why", fatal, retriable, abort))


RETRIABLE = kafka_error(KafkaError._TIMED_OUT, retriable=True)
ABORT = kafka_error(KafkaError.INVALID_TXN_STATE, abort=True)
REFUSAL = kafka_error(KafkaError._STATE)
FENCING = kafka_error(KafkaError._FENCED, fatal=True)
FATAL = kafka_error(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True)


class Client:
    """A client that records its calls, and fails as asked: `failures` has the failures of each call in turn."""

    def __init__(self, failures: Mapping[str, list[Exception]], undelivered: int | None = None) -> None:
        self.calls: list[str] = []
        self.records: list[tuple[Any, ...]] = []
        self._failures = {name: list(found) for name, found in failures.items()}
        self._undelivered = undelivered

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self._failures.get(name):
            raise self._failures[name].pop(0)

    def init_transactions(self, _: float) -> None:
        self._call("init")

    def begin_transaction(self) -> None:
        self._call("begin")

    def produce(self, topic: str, value: bytes, key: bytes, *, headers: Any, on_delivery: Callable[..., None]) -> None:
        self._call("produce")
        self.records.append((topic, key, value, headers))
        if self._undelivered is not None:
            on_delivery(KafkaError(KafkaError._PURGE_QUEUE), Message("purged"))
            on_delivery(KafkaError(self._undelivered), Message(topic))

    def poll(self, _: float) -> None:
        pass

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], group: str, _: float) -> None:
        self._call(f"offsets {[one.offset for one in offsets]} {group}")

    def commit_transaction(self, _: float) -> None:
        self._call("commit")

    def abort_transaction(self, _: float) -> None:
        self._call("abort")

    def purge(self) -> None:
        self._call("purge")


class Message:
    def __init__(self, topic: str) -> None:
        self._topic = topic

    def topic(self) -> str:
        return self._topic


class Consumer:
    def consumer_group_metadata(self) -> str:
        return "group"


Made = Callable[..., tuple[Transactions, Client]]


@pytest.fixture
def waits() -> list[str]:
    return []


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, waits: list[str]) -> Made:
    def make(undelivered: int | None = None, stamp: bool = False, **failures: list[Exception]) -> Any:
        client = Client(failures, undelivered)
        monkeypatch.setattr(kafka, "producer", lambda _: client)
        return Transactions({}, "name", call_seconds=1.0, waiting=waits.append, stamp=stamp), client

    return make


def test_a_transaction_begins_takes_records_then_offsets_and_is_committed(made: Made) -> None:
    writer, client = made()
    writer.open()
    writer.write(RECORDS, [TopicPartition("in", 0, 7)], Consumer())  # type: ignore[arg-type]
    assert client.calls == ["init", "begin", "produce", "produce", "offsets [7] group", "commit"]
    assert client.records == [("t", b"a", b"1", []), ("t", b"b", b"2", [("h", b"x")])]
    writer.abandon()
    assert client.calls[-1] == "commit", "nothing is open"


def test_calls_that_may_be_tried_again_are_resumed(made: Made, waits: list[str]) -> None:
    writer, client = made(init=[RETRIABLE], begin=[RETRIABLE], commit=[RETRIABLE, RETRIABLE])
    writer.open()
    writer.write(RECORDS)
    assert client.calls == ["init", "init", "begin", "begin", "produce", "produce", "commit", "commit", "commit"]
    assert len(waits) == 4


def test_who_waits_may_end_the_waiting(made: Made) -> None:
    class Stop(Exception):
        pass

    def stop(_: str) -> None:
        raise Stop

    writer, client = made(init=[RETRIABLE], commit=[RETRIABLE])
    with pytest.raises(Stop):
        writer.open(stop)
    writer._waiting = stop
    with pytest.raises(Stop):
        writer.write(RECORDS)
    assert "abort" not in client.calls, "whether it was committed is unknown: the next one of this name finds out"


def test_a_full_queue_is_waited_for_and_no_record_goes_twice(made: Made, waits: list[str]) -> None:
    writer, client = made(produce=[BufferError()])
    writer.write(RECORDS)
    assert len(client.records) == 2
    assert len(waits) == 1


@pytest.mark.parametrize("call", ["begin", "commit"])
@pytest.mark.parametrize(("error", "demanded"), [(ABORT, True), (REFUSAL, False)])
def test_what_fails_is_aborted_and_the_next_one_can_begin(
    made: Made, call: str, error: Exception, demanded: bool
) -> None:
    writer, client = made(**{call: [error]}, abort=[RETRIABLE])
    with pytest.raises(TransactionAborted) as caught:
        writer.write(RECORDS)
    assert caught.value.demanded == demanded
    assert client.calls[-2:] == ["abort", "abort"]
    writer.abandon()
    writer.write(RECORDS)
    assert client.calls[-1] == "commit"


def test_the_record_that_could_not_be_written_is_the_reason(made: Made) -> None:
    writer, _ = made(undelivered=KafkaError.TOPIC_AUTHORIZATION_FAILED, commit=[ABORT])
    with pytest.raises(TransactionAborted) as caught:
        writer.write(RECORDS)
    assert (caught.value.reason.code(), caught.value.topic) == (KafkaError.TOPIC_AUTHORIZATION_FAILED, "t")
    assert caught.value.reason.code() in transactions.NO_TOPIC


def test_a_record_that_the_client_does_not_take_is_the_reason_too(made: Made) -> None:
    writer, client = made(produce=[kafka_error(KafkaError.MSG_SIZE_TOO_LARGE)])
    with pytest.raises(TransactionAborted) as caught:
        writer.write(RECORDS)
    assert caught.value.reason.code() in transactions.TOO_LARGE
    assert (caught.value.topic, caught.value.demanded) == ("t", False)
    assert client.calls == ["begin", "produce", "abort"]


@pytest.mark.parametrize("call", ["begin", "produce", "commit"])
def test_who_is_fenced_writes_nothing_more(made: Made, call: str) -> None:
    writer, client = made(**{call: [FENCING]})
    with pytest.raises(ClientLost) as caught:
        writer.write(RECORDS)
    assert caught.value.fenced
    assert "abort" not in client.calls


def test_an_own_delay_is_not_taken_for_a_successor(made: Made) -> None:
    writer, _ = made(commit=[FENCING])
    writer._patience = 0.0  # the coordinator has waited too long
    with pytest.raises(ClientLost) as caught:
        writer.write(RECORDS)
    assert not caught.value.fenced


def test_a_client_that_is_lost_can_be_replaced(made: Made) -> None:
    writer, client = made(commit=[FATAL])
    with pytest.raises(ClientLost) as caught:
        writer.write(RECORDS)
    assert not caught.value.fenced
    writer.replace()
    writer.open()
    writer.write(RECORDS)
    assert client.calls[-6:] == ["purge", "init", "begin", "produce", "produce", "commit"]


@pytest.mark.parametrize(("error", "kind"), [(REFUSAL, TransactionError), (FATAL, ClientLost)])
def test_what_cannot_be_aborted_is_an_error(made: Made, error: Exception, kind: type[Exception]) -> None:
    writer, _ = made(commit=[ABORT], abort=[error])
    with pytest.raises(kind):
        writer.write(RECORDS)


def test_a_transaction_that_an_error_leaves_open_is_abandoned(made: Made) -> None:
    writer, client = made(produce=[ValueError("no record")])
    with pytest.raises(ValueError, match="no record"):
        writer.write(RECORDS)
    writer.abandon()
    assert client.calls == ["begin", "produce", "abort"]


def test_records_are_stamped_when_the_client_gets_them(made: Made) -> None:
    writer, client = made(stamp=True)
    writer.write(RECORDS)
    for _, _, _, headers in client.records:
        assert headers[-1][0] == names.HEADER_PRODUCED
        assert float(headers[-1][1]) > 1e9
    assert RECORDS[1].headers == [("h", b"x")]


def test_a_rejection_says_what_why_and_where_whatever_these_are_made_of() -> None:
    found = rejection(
        b"k", b"v", source="\udcff" + "s" * 5000, reason="\ud800", field="candid", headers=[("candid", b"1")]
    )
    headers = dict(found.headers)
    assert (found.topic, found.key, found.value) == (names.REJECTED_TOPIC, b"k", b"v")
    assert (headers["candid"], headers[names.HEADER_REASON], headers[names.HEADER_FIELD]) == (b"1", b"?", b"candid")
    assert headers[names.HEADER_SOURCE] == b"\xff" + b"s" * (SOURCE_BYTES - 1)
