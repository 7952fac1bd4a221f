"""Reads topics to their present end: only committed records, each partition in its order.

No offset is committed. The end of a partition is an offset. Offsets also count transaction markers, which no consumer
ever sees. So a partition is finished when the record before its end arrives, or when librdkafka reports the end of the
partition (EOF) there. Silence is not the end: a reader then raises or waits on, but never returns only a part.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # its stubs forget to export this name

from zads import kafka, names
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from confluent_kafka import Consumer, Message

ANSWER_SECONDS = 20.0  # for metadata and offsets
CALL_SECONDS = 5.0  # a question that is repeated until it is answered returns to the loop after this
STALL_SECONDS = 60.0  # a cluster that delivers nothing for this long counts as not answering
LOG_SECONDS = 15.0  # between two lines in the log that say what the reader waits for
_POLL_SECONDS = 0.1
_BATCH = 200
_ARRIVED = 500  # records at a time of those that have arrived already
# A consumer that reads to the end waits for no further records: brokers answer at once. Small records take far more
# memory than their bytes, and a compressed answer holds many: by default two million of them would wait in the client.
_TO_END = {
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 20,
    "queued.min.messages": 1_000,
    "queued.max.messages.kbytes": 16_384,
    "fetch.max.bytes": kafka.MESSAGE_MAX_BYTES // 4,
    "max.partition.fetch.bytes": kafka.MESSAGE_MAX_BYTES // 4,
}
_NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}
_REFUSALS = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError._AUTHENTICATION}

Partition = tuple[str, int]
"""A topic's name and the number of a partition of it."""

_log = structlog.get_logger("zads.reading")


class StalledError(ZadsError):
    """Records stopped coming before the end of a partition."""


def headers(message: Message) -> dict[str, bytes]:
    """A record's headers by name; if a name occurs twice, the last one counts."""
    pairs: Any = message.headers() or ()
    return {name: value.encode() if isinstance(value, str) else bytes(value or b"") for name, value in pairs}


def arrived(consumer: Consumer) -> list[Message]:
    """What has arrived at a consumer that reads on, errors included; empty if nothing comes for a moment.

    `consume` with a time to wait would hold the first record back until that time is over.
    """
    first = consumer.poll(_POLL_SECONDS)
    return [] if first is None else [first, *consumer.consume(_ARRIVED, 0)]


def place(message: Message) -> Partition:
    """The topic and the partition that a record is in."""
    return message.topic() or "", message.partition() or 0


def existing(conf: Mapping[str, Any], topics: Iterable[str]) -> list[Partition]:
    """The partitions of those topics that exist. Raises confluent_kafka.KafkaException if there is no answer."""
    known = kafka.admin(conf).list_topics(timeout=ANSWER_SECONDS).topics
    return [
        (name, number)
        for name in topics
        if name in known and known[name].error is None
        for number in known[name].partitions
    ]


def committed_ends(conf: Mapping[str, Any], partitions: Iterable[Partition]) -> dict[Partition, int]:
    """The offset behind the last committed record (or transaction marker) of each partition.

    Raises confluent_kafka.KafkaException or TimeoutError if the cluster does not answer.
    """
    return _offsets(conf, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]


def since(conf: Mapping[str, Any], partitions: Iterable[Partition], seconds: float) -> dict[Partition, int]:
    """The offset of the first record of each partition that is not older than a moment (Unix seconds).

    Partitions without such a record are left out. Raises as `committed_ends` does.
    """
    spec = OffsetSpec.for_timestamp(round(1000 * seconds))
    return {where: offset for where, offset in _offsets(conf, partitions, spec).items() if offset >= 0}


def _offsets(conf: Mapping[str, Any], partitions: Iterable[Partition], spec: Any) -> dict[Partition, int]:
    wanted = {TopicPartition(*where): spec for where in partitions}
    if not wanted:
        return {}

    def ask() -> dict[Partition, int]:
        answers = kafka.admin(conf).list_offsets(
            wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ANSWER_SECONDS
        )
        # The request has a limit of its own, which comes first.
        return {
            (where.topic, where.partition): answer.result(2 * ANSWER_SECONDS).offset
            for where, answer in answers.items()
        }

    return _asked(conf, ask)


def _asked(conf: Mapping[str, Any], ask: Callable[[], dict[Partition, int]]) -> dict[Partition, int]:
    """What the leaders answer. A client that is kept may deny a topic that was made under its eyes, without end.

    So a new client is asked before a topic counts as missing.
    """

    def forget() -> None:
        kafka.forget_admin(conf)

    try:
        return kafka.when_led(ask, forget, ANSWER_SECONDS)
    except KafkaException as error:
        if error.args[0].code() not in _NO_TOPIC:
            raise
    forget()
    return kafka.when_led(ask, forget, ANSWER_SECONDS)


def starts_since(conf: Mapping[str, Any], ends: Mapping[Partition, int], moment: float) -> dict[Partition, int]:
    """The offset of the first record of each partition that arrived at a moment (Unix seconds) or later, or its end.

    The moment is by the brokers' clocks. Raises confluent_kafka.KafkaException if the cluster does not answer.
    """
    since: Any = OffsetSpec.for_timestamp(max(0, int(1000 * moment)))
    wanted = {TopicPartition(*where): since for where in ends}
    if not wanted:
        return {}

    def ask() -> dict[Partition, int]:
        answers = kafka.admin(conf).list_offsets(wanted, request_timeout=ANSWER_SECONDS)
        found = {where: answer.result(2 * ANSWER_SECONDS).offset for where, answer in answers.items()}
        # The offset is -1 if there is no such record.
        return {
            (where.topic, where.partition): offset if offset >= 0 else ends[where.topic, where.partition]
            for where, offset in found.items()
        }

    return _asked(conf, ask)


def read_to_end(
    conf: Mapping[str, Any],
    ends: Mapping[Partition, int],
    *,
    group: str = names.AUDIT_GROUP,
    starts: Mapping[Partition, int] | None = None,
    stall_seconds: float = STALL_SECONDS,
    turn: Callable[[], object] = lambda: None,
) -> Iterator[Message]:
    """The committed records of partitions before their `ends` (offsets), from `starts` or else from the beginning.

    `group`: the consumer group of a client whose properties do not name one. `turn` is called between batches; an
    exception from it ends the reading.
    Raises StalledError when nothing arrives for `stall_seconds`, confluent_kafka.KafkaException for an error of the
    cluster.
    """
    starts = starts or {}
    ends = {where: end for where, end in ends.items() if end > starts.get(where, 0)}
    if not ends:
        return

    def check(silent_seconds: float, pending: Mapping[Partition, int]) -> None:
        turn()
        if silent_seconds > stall_seconds:
            topic, number = min(pending)
            raise StalledError(
                f"{topic} partition {number} has delivered nothing for {stall_seconds:.0f} s",
                hint="an open transaction or a partition without leader stops readers: look at its replication",
            )

    def refuse(error: KafkaError) -> None:
        raise KafkaException(error)

    with contextlib.closing(kafka.consumer(conf, kafka.own_group(conf, group), **_TO_END)) as consumer:
        yield from _read(consumer, ends, starts, check, refuse)


def read_topics(
    conf: Mapping[str, Any],
    topics: Iterable[str],
    *,
    group: str = names.AUDIT_GROUP,
    since: float | None = None,
    turn: Callable[[], object] = lambda: None,
) -> Iterator[Message]:
    """The committed records of those topics that exist, to their present end.

    They begin with the first that arrived at the moment `since` (Unix seconds) or later, or with the first of all.
    Raises what `committed_ends`, `starts_since` and `read_to_end` raise.
    """
    ends = committed_ends(conf, existing(conf, topics))
    starts = {} if since is None else starts_since(conf, ends, since)
    return read_to_end(conf, ends, group=group, starts=starts, turn=turn)


def read_own(conf: Mapping[str, Any], group: str, topic: str, turn: Callable[[], object]) -> Iterator[Message]:
    """The committed records of a program's own topic: all that were written before this call, even if that takes long.

    Open transactions of other producers hold back the records that are committed after them, and brokers may be away.
    The reader waits for both; the log says so every LOG_SECONDS. `turn` is called repeatedly; an exception from it ends
    the reading.
    Raises ZadsError if the topic is missing or may not be read.
    """

    logged = time.monotonic()

    def log(_: float, pending: Mapping[Partition, int]) -> None:
        nonlocal logged
        turn()
        if time.monotonic() - logged > LOG_SECONDS:
            logged = time.monotonic()
            _log.warning("waiting for committed records", topic=topic, partitions=sorted(n for _, n in pending))

    def tolerate(error: KafkaError) -> None:
        _refuse(topic, error)
        _log.warning("waiting for committed records", topic=topic, reason=error.str())

    ends = _written_ends(conf, group, topic, turn)
    with contextlib.closing(kafka.consumer(conf, group, **_TO_END)) as consumer:
        yield from _read(consumer, ends, {}, log, tolerate)


def _written_ends(conf: Mapping[str, Any], group: str, topic: str, turn: Callable[[], object]) -> dict[Partition, int]:
    """The ends of a topic's partitions, including the records of open transactions."""
    over = {"isolation.level": "read_uncommitted"}
    with contextlib.closing(kafka.consumer(conf, group, **over)) as consumer:
        while True:
            turn()
            try:
                found = kafka.ends(consumer, topic, CALL_SECONDS)
            except KafkaException as error:
                _refuse(topic, error.args[0])
                _log.warning("waiting for a topic's end offsets", topic=topic, reason=error.args[0].str())
            else:
                return {(end.topic, end.partition): end.offset for end in found}


def _refuse(topic: str, error: KafkaError) -> None:
    """Raise ZadsError for an error that does not pass by waiting."""
    if error.code() in _NO_TOPIC:
        raise ZadsError(f"there is no topic {topic}", hint="a deployment makes it")
    if error.fatal() or error.code() in _REFUSALS:
        raise ZadsError(f"cannot read {topic}: {error.str()}")


def _read(
    consumer: Consumer,
    ends: Mapping[Partition, int],
    starts: Mapping[Partition, int],
    check: Callable[[float, Mapping[Partition, int]], None],
    refuse: Callable[[KafkaError], None],
) -> Iterator[Message]:
    """Records to the ends. `check` gets the seconds of silence and what is unfinished, `refuse` each error."""
    pending = {where: end for where, end in ends.items() if end > 0}
    consumer.assign([TopicPartition(*where, starts.get(where, OFFSET_BEGINNING)) for where in pending])
    last = time.monotonic()
    while pending:
        messages = consumer.consume(_BATCH, _POLL_SECONDS)
        for message in messages:
            where, offset, error = place(message), message.offset() or 0, message.error()
            if error is None:
                if offset < pending.get(where, 0):
                    yield message
                offset += 1
            elif error.code() != KafkaError._PARTITION_EOF:
                refuse(error)
                continue
            if where in pending and offset >= pending[where]:
                del pending[where]
        if messages:
            last = time.monotonic()  # not earlier: the time that the caller took for them is no silence
        check(time.monotonic() - last, pending)
