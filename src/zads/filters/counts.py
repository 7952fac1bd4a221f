"""What became of the alerts that each filter was offered, kept in a compacted topic of Kafka beside the outputs.

A worker that starts reads its own counts to the end before it judges anything: caps that began anew would let a visit's
alerts pass twice.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from zads import kafka, topics
from zads.errors import ZadsError

REMEMBERED_VISITS = (
    50  # whose caps are kept: exposures are 30 s apart, an alert that is later by 25 minutes starts anew
)
REMEMBERED_NIGHTS = 8  # whose counts are kept: a night's topics last seven days
ANSWER_SECONDS = 20.0  # in which a broker says how a topic is
SAID_SECONDS = 15.0  # between two lines that say what is waited for

_log = structlog.get_logger()


@dataclass
class Counts:
    """What became of the alerts that one filter was offered by one worker, ever and night by night; and its caps."""

    seen: int = 0
    passed: int = 0
    capped: int = 0
    failed: int = 0
    skipped: int = 0  # its circuit was open
    visits: dict[str, int] = field(default_factory=dict)
    nights: dict[str, dict[str, int]] = field(default_factory=dict)

    def copy(self) -> Counts:
        """Independent of this one."""
        nights = {night: dict(row) for night, row in self.nights.items()}
        return Counts(self.seen, self.passed, self.capped, self.failed, self.skipped, dict(self.visits), nights)

    def add(self, what: Literal["seen", "passed", "capped", "failed"], night: str, number: int = 1) -> None:
        """Count alerts of a night, for ever and for it."""
        setattr(self, what, getattr(self, what) + number)
        row = self.nights.setdefault(night, {"seen": 0, "passed": 0, "capped": 0, "failed": 0})
        row[what] += number
        while len(self.nights) > REMEMBERED_NIGHTS:
            del self.nights[next(iter(self.nights))]

    def admit(self, visit: str, cap: int, night: str = "") -> bool:
        """Whether one more alert of a visit may pass; counts it as passed or capped."""
        number = self.visits.get(visit, 0)
        if number >= cap:
            self.add("capped", night)
            return False
        self.visits[visit] = number + 1
        while len(self.visits) > REMEMBERED_VISITS:
            del self.visits[next(iter(self.visits))]
        self.add("passed", night)
        return True

    def summary(self) -> dict[str, int]:
        """The numbers alone."""
        return {name: value for name, value in vars(self).items() if name not in ("visits", "nights")}


class Stopped(Exception):
    """The worker was told to stop before it had read its counts."""


def restore(
    conf: Mapping[str, str],
    group_id: str,
    name: str,
    *,
    stopped: Callable[[], bool] = lambda: False,
    beat: Callable[[], object] = lambda: None,
) -> dict[str, Counts]:
    """The counts that a worker has committed, by filter.

    All that was written before now is waited for, however long it takes: other workers' open transactions may hold back
    what is committed behind them, and brokers may be away. `beat` is called meanwhile.
    Raises Stopped when `stopped` says so, ZadsError if the topic cannot be read or has what no worker writes.
    """
    with contextlib.closing(kafka.consumer(conf, group_id, **{"enable.partition.eof": True})) as consumer:
        ends = _ends(conf, group_id, stopped, beat)
        consumer.assign([TopicPartition(topics.FILTER_COUNTS, number, 0) for number in ends])
        return _read(consumer, ends, name, stopped, beat)


def _ends(
    conf: Mapping[str, str], group_id: str, stopped: Callable[[], bool], beat: Callable[[], object]
) -> dict[int, int]:
    """The end offsets of partitions of the topic of counts, uncommitted records included."""
    over = {"isolation.level": "read_uncommitted"}
    with contextlib.closing(kafka.consumer(conf, group_id, **over)) as consumer:
        while not stopped():
            beat()
            try:
                known = consumer.list_topics(topics.FILTER_COUNTS, timeout=ANSWER_SECONDS).topics[topics.FILTER_COUNTS]
                if known.error is not None:
                    raise KafkaException(known.error)
                return {
                    number: kafka.end(consumer, topics.FILTER_COUNTS, number, ANSWER_SECONDS)
                    for number in sorted(known.partitions)
                }
            except KafkaException as error:
                _refuse(error.args[0])
                _log.warning("waiting for Kafka to say where the counts end", reason=error.args[0].str())
    raise Stopped


_REFUSALS = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError._AUTHENTICATION)


def _refuse(error: KafkaError) -> None:
    """Raise ZadsError for what waiting does not mend."""
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
        raise ZadsError(f"there is no topic {topics.FILTER_COUNTS}", hint="a deployment makes it")
    if error.fatal() or error.code() in _REFUSALS:
        raise ZadsError(f"cannot read {topics.FILTER_COUNTS}: {error.str()}")


def _read(
    consumer: Consumer,
    ends: Mapping[int, int],
    name: str,
    stopped: Callable[[], bool],
    beat: Callable[[], object],
) -> dict[str, Counts]:
    counts: dict[str, Counts] = {}
    waiting = {number for number, end in ends.items() if end > 0}
    said = time.monotonic()
    while waiting:
        beat()
        if stopped():
            raise Stopped
        if time.monotonic() - said > SAID_SECONDS:
            said = time.monotonic()
            _log.warning("waiting for the counts of before", topic=topics.FILTER_COUNTS, partitions=sorted(waiting))
        message = consumer.poll(0.2)
        if message is None:
            continue
        error = message.error()
        if error is None:
            counts.update(_of(message, name))
        elif error.code() != KafkaError._PARTITION_EOF:
            _refuse(error)
            _log.warning("waiting for the counts of before", reason=error.str())
        elif (message.offset() or 0) >= ends[message.partition() or 0]:
            waiting.discard(message.partition() or 0)
    return counts


def _of(message: Message, name: str) -> dict[str, Counts]:
    """What a record says, if it is of the worker `name`."""
    key = message.key() or b""
    if not (key if isinstance(key, bytes) else key.encode()).endswith(f"/{name}".encode()):
        return {}
    try:
        value = json.loads(message.value() or b"")
        numbers = {key: int(value.get(key, 0)) for key in Counts().summary()}
        return {value["filter"]: Counts(**numbers, visits=dict(value["visits"]), nights=value.get("nights", {}))}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        where = f"{message.topic()}/{message.partition()}/{message.offset()}"
        raise ZadsError(f"the record {where} holds no counts of a worker: {error!r:.200}") from error
