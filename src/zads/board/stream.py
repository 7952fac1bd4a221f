"""The board's only reader of the stream: follows nights, filters' topics and counts of the public site in one thread.

It reads committed records and commits no offset. It begins a little before the end of each partition, so that a restart
is quick however long the night is. It waits for brokers that are away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from zads import kafka, metrics, names, reading
from zads.board.alerts import Alerts, alert_of, passed_of
from zads.board.counted import Counted
from zads.board.night import Nights
from zads.errors import ZadsError
from zads.reading import Partition

#: Records before the end of a partition at which the reader begins: of a programme's newest night that has any, of
#: those before, and of a filter's topic.
BACK_NEWEST, BACK_BEFORE, BACK_FILTER = 500, 10, 100
#: Nights that are followed: late alerts may come for any that a site keeps, and a night of long ago may be played.
NIGHTS = 12
#: Seconds between looks for new topics, and before the reader tries again after an error.
LOOK_SECONDS = 10.0
_AGAIN_SECONDS = 2.0
#: No step between two beats may take this long.
HUNG_SECONDS = 300.0

_log = structlog.get_logger("zads.board")


def group(conf: Mapping[str, Any]) -> str:
    """The consumer group of a board: it commits no offset, but a site asks for the right to name one."""
    return names.BOARD if conf.get("sasl.username") == names.BOARD else kafka.own_group(conf, names.BOARD)


def nights_of(topics: Iterable[str], programmes: Collection[int]) -> list[str]:
    """The topics of the newest NIGHTS nights of each of some programmes, without the canaries'."""
    found: dict[int, list[tuple[str, str]]] = {}
    for name in topics:
        parsed = names.parse_topic(name)
        if parsed and parsed[1] in programmes and parsed[0] != names.CANARY_NIGHT:
            found.setdefault(parsed[1], []).append((parsed[0], name))
    return sorted(name for nights in found.values() for _, name in sorted(nights)[-NIGHTS:])


def newest_nights(topics: Iterable[str]) -> set[str]:
    """The topic of the newest night of each programme."""
    found: dict[int, tuple[str, str]] = {}
    for name in topics:
        if parsed := names.parse_topic(name):
            found[parsed[1]] = max(found.get(parsed[1], ("", "")), (parsed[0], name))
    return {name for _, name in found.values()}


class Stream(threading.Thread):
    """Feeds what the board remembers from the public site until `close`.

    ``conf``: properties of a client; ``programmes`` returns those that it may read now. ``beat`` is called in each
    turn. ``ends`` has the offset behind the last record that was read of each partition of a night.
    """

    def __init__(
        self,
        conf: Mapping[str, str],
        programmes: Callable[[], Collection[int]],
        beat: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(name="stream", daemon=True)
        self.alerts, self.nights, self.counted = Alerts(), Nights(), Counted()
        self.ends: dict[Partition, int] = {}
        #: Why nothing comes at present, in words; "" if all is well.
        self.trouble = "the board has just started"
        #: The filters whose topics this client sees.
        self.filters: frozenset[str] = frozenset()
        self._conf, self._programmes, self._beat = conf, programmes, beat
        self._stopping = threading.Event()
        self._assigned: set[Partition] = set()

    def run(self) -> None:
        """Read until `close`; after an error of the client begin with a new one."""
        while not self._stopping.is_set():
            try:
                consumer = kafka.consumer(self._conf, group(self._conf))
                try:
                    self._follow(consumer)
                finally:
                    consumer.close()
            except (KafkaException, ZadsError) as error:
                self._say(str(error))
            self._assigned.clear()
            self._rest(_AGAIN_SECONDS)

    def close(self) -> None:
        """End the reading."""
        self._stopping.set()
        if self.ident is not None:
            self.join()

    def _rest(self, seconds: float) -> None:
        self._beat()
        self._stopping.wait(seconds)

    def _follow(self, consumer: Consumer) -> None:
        """Read, and look for new topics now and then. Raises KafkaException for an error that does not pass."""
        look_at = 0.0
        while not self._stopping.is_set():
            self._beat()
            if time.monotonic() >= look_at:
                self._look(consumer)
                look_at = time.monotonic() + LOOK_SECONDS
            for message in reading.arrived(consumer):
                if (error := message.error()) is not None:
                    self._tolerate(error)
                else:
                    self._take(message)

    def _look(self, consumer: Consumer) -> None:
        """Follow the topics that are wanted now, and no others."""
        try:
            topics = consumer.list_topics(timeout=reading.CALL_SECONDS).topics
            there = {name: len(about.partitions) for name, about in topics.items() if about.error is None}
            nights = nights_of(there, self._programmes())
            filters = {name for name in there if names.filter_name(name) is not None}
            self.filters = frozenset(name for one in filters if (name := names.filter_name(one)))
            others = {names.FILTER_COUNTS_TOPIC} & there.keys()
            wanted = {(name, n) for name in (*nights, *filters, *others) for n in range(there[name])}
            if gone := self._assigned - wanted:
                consumer.incremental_unassign([TopicPartition(*where) for where in sorted(gone)])
                self._assigned -= gone
                for where in gone:
                    self.ends.pop(where, None)
            new = sorted(wanted - self._assigned)
            bounds = {where: self._bounds(consumer, where) for where in new}
            newest = newest_nights(topic for (topic, _), (low, high) in bounds.items() if high > low)
            for where in new:
                consumer.incremental_assign([TopicPartition(*where, self._begin(where, *bounds[where], newest))])
                self._assigned.add(where)
        except KafkaException as error:
            self._say(error.args[0].str())
        else:
            self._say("" if nights else "there is no topic of a night that the board may read")

    def _bounds(self, consumer: Consumer, where: Partition) -> tuple[int, int]:
        """The first offset of a partition, and the one behind its last. Raises KafkaException without an answer."""
        self._beat()
        low, high = kafka.when_led(
            lambda: consumer.get_watermark_offsets(TopicPartition(*where), timeout=reading.CALL_SECONDS),
            lambda: consumer.list_topics(where[0], timeout=reading.CALL_SECONDS),
            reading.CALL_SECONDS,
        )
        return int(low), int(high)

    def _begin(self, where: Partition, low: int, high: int, newest: Collection[str]) -> int:
        """The offset at which to begin. ``newest``: the topics of the newest night of each programme."""
        topic, parsed = where[0], names.parse_topic(where[0])
        if topic == names.FILTER_COUNTS_TOPIC:
            return low
        back = BACK_FILTER if parsed is None else BACK_NEWEST if topic in newest else BACK_BEFORE
        read = self.ends.get(where, 0)  # after an error of the client: nothing is counted twice
        begin = max(low, high - back, read)
        if parsed and begin > read:
            self.nights.begins_late(*parsed)
        return begin

    def _take(self, message: Message) -> None:
        topic = message.topic() or ""
        try:
            if topic == names.FILTER_COUNTS_TOPIC:
                self.counted.add(message)
            elif names.filter_name(topic) is not None:
                self.alerts.add_passed(passed_of(message))
            else:
                self.ends[reading.place(message)] = (message.offset() or 0) + 1
                alert = alert_of(message)
                self.alerts.add(alert)
                self.nights.add(alert)
        except ZadsError as error:
            metrics.BOARD_UNREADABLE.inc()
            _log.warning(
                "a record is left out", place=f"{topic}/{message.partition()}/{message.offset()}", why=str(error)
            )

    def _tolerate(self, error: KafkaError) -> None:
        """Go on after an error that passes, or that concerns a topic which is not there any more."""
        if error.fatal():
            raise KafkaException(error)
        if error.code() not in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            self._say(error.str())

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble and trouble:
            _log.warning("the public site cannot be followed", why=trouble)
        self.trouble = trouble


def one_record(conf: Mapping[str, Any], topic: str, partition: int, offset: int, seconds: float) -> bytes | None:
    """The value of one record, or None if it has expired or does not come within some seconds.

    Raises confluent_kafka.KafkaException if the site does not answer.
    """
    consumer = kafka.consumer(conf, group(conf), **{"enable.partition.eof": True, "auto.offset.reset": "error"})
    try:
        consumer.assign([TopicPartition(topic, partition, offset)])
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error() is not None:
                return None
            return message.value() if message.offset() == offset else None
        return None
    finally:
        consumer.close()
