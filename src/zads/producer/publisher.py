"""Publishes records together with their records in the ledger: steps 1, 2 and 5 of `zads.producer`."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import KafkaException

from zads import kafka, ledger, metrics, names, rejections, schemas
from zads.errors import ZadsError
from zads.ledger import AlertIndex, LedgerEntry
from zads.transactions import (
    NO_TOPIC,
    TOO_LARGE,
    ClientLost,
    Record,
    TransactionAborted,
    TransactionError,
    Transactions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zads.ledger import Row
    from zads.producer.pulse import Pulse

CALL_SECONDS = 5.0  # a call to Kafka returns after this, so that the loop can show that it is alive, and can be stopped
RETRY_SECONDS = 2.0  # seconds between two looks for a topic
_WAITING = "waiting for the brokers"
_EXPIRED_AT_ONCE = 1000  # ledger records that are deleted in one transaction

_log = structlog.get_logger("zads.producer")


class ProducerError(ZadsError):
    """The producer cannot go on."""


class Unsendable(Exception):
    """A record that Kafka refuses at every attempt."""


class TopicsMissing(Exception):
    """Topics that an exposure needs are missing (name -> why), or its nights wait behind another exposure."""

    def __init__(self, missing: dict[str, str]) -> None:
        super().__init__(", ".join(missing))
        self.missing = missing


class Publisher:
    """Knows what has been published, and alone adds to it.

    `entries`: what the ledger says of each exposure; `index`: the published alerts. Both are as of the last commit.
    `held`: nights (YYYYMMDD) that wait for a topic; none of their alerts is published. `name` is the transactional id:
    if a second publisher starts with the same name, the first is fenced and ends.
    """

    def __init__(self, conf: Mapping[str, Any], name: str, pulse: Pulse) -> None:
        self.name = name
        self.entries: dict[str, LedgerEntry] = {}
        self.index = AlertIndex()
        self.held: set[str] = set()
        self._conf, self._pulse = dict(conf), pulse
        self._known_topics: set[str] = set()
        self._transactions = Transactions(
            conf, name, call_seconds=CALL_SECONDS, waiting=self._wait_for_kafka, stamp=True
        )

    def open(self) -> None:
        """Fence predecessors, then read the ledger: steps 1 and 2. Raises ProducerError."""
        # Step 1.
        try:
            self._transactions.open()
        except KafkaException as error:
            raise ProducerError(
                f"the cluster does not accept the producer {self.name!r}: {error.args[0].str()}",
                hint="its user needs Write on the transactional id of its name",
            ) from error
        self._pulse.forget(_WAITING)
        self._known_topics.clear()
        self._await_topics({names.LEDGER_TOPIC})
        # Step 2.
        try:
            found = ledger.read(self._conf, self._pulse.pause)
        except ZadsError as error:
            raise ProducerError(f"the producer {self.name!r} cannot go on: {error.message}", hint=error.hint) from error
        self.entries, self.index = found.entries, found.index
        self._count_new_schemas()
        _log.info("ready", producer=self.name, ledger=len(self.entries), alerts=len(self.index))

    def commit(self, key: str, records: list[Record], rows: list[Row], entry: LedgerEntry) -> None:
        """Publish records together with their `rows` and, under `key`, their `entry` in the ledger; retry until done.

        Raises TopicsMissing or Unsendable if trying again cannot help now, ProducerError if it never can.
        """
        together = [*records, Record(names.LEDGER_TOPIC, ledger.key_bytes(key), entry.record())]
        if rows:
            rows_key, packed, value = ledger.rows_record(key, rows)
            together.append(Record(names.LEDGER_TOPIC, ledger.key_bytes(rows_key), value))
        before = LedgerEntry()
        while True:
            self._await_topics({names.LEDGER_TOPIC, names.REJECTED_TOPIC} & {one.topic for one in together})
            self._need_topics({one.topic for one in records} - {names.REJECTED_TOPIC})
            if self._write(together):
                before = self.entries.get(key, before)
                self.entries[key] = entry
                if rows:
                    self.index.add([(rows_key, packed, time.time())])
                break
            # If the answer was lost, the ledger that the new client read shows whether the transaction was committed.
            if self.entries.get(key) == entry:
                before = entry
                break
        self._count(records)
        for mark, number in entry.new_schemas.items():
            metrics.PRODUCER_NEW_SCHEMAS.labels(mark).inc(number - before.new_schemas.get(mark, 0))

    def expire(self) -> None:
        """Forget the alerts that no topic has any more. If the transaction is aborted, the next call does it."""
        keys = self.index.expired()[:_EXPIRED_AT_ONCE]
        if keys and self._write([Record(names.LEDGER_TOPIC, ledger.key_bytes(key), None) for key in keys]):
            self.index.forget(keys)

    def abandon(self) -> None:
        """Abort the transaction that an error left open. Raises ProducerError."""
        try:
            self._transactions.abandon()
        except ClientLost as error:
            self._replace_client(error)
        except TransactionError as error:
            raise ProducerError(error.message) from error

    def missing(self, name: str) -> str | None:
        """Why a topic cannot be written; None if it can. Waits while no broker answers."""
        while True:
            try:
                answer = self._transactions.describe(name, CALL_SECONDS)
            except KafkaException as error:
                self._wait_for_kafka(error.args[0].str(), RETRY_SECONDS / 10)
                continue
            self._pulse.forget(_WAITING)
            if answer.error is not None and answer.error.code() in kafka.LEADER_MOVED:
                self._pulse.pause(RETRY_SECONDS / 10)
                continue
            return None if answer.error is None else str(answer.error.str())

    def _write(self, records: list[Record]) -> bool:
        """Commit records in one transaction. Returns whether that succeeded; if not, they can be tried again.

        Raises TopicsMissing or Unsendable if trying again cannot help now, ProducerError if it never can.
        """
        began = time.monotonic()
        try:
            self._transactions.write(records)
            metrics.PRODUCER_COMMIT.observe(time.monotonic() - began)
            self._pulse.forget(_WAITING)
            return True
        except ClientLost as error:
            self._replace_client(error)
        except TransactionError as error:
            raise ProducerError(error.message) from error
        except TransactionAborted as error:
            self._check_aborted(error)
            self._pulse.pause(0.2)
        return False

    def _check_aborted(self, error: TransactionAborted) -> None:
        """Check that an aborted transaction can be tried again. Raises the error that says why not."""
        metrics.PRODUCER_BLOCKED.set(1)
        metrics.PRODUCER_ABORTED.inc()
        why = error.reason.str()
        _log.warning("transaction aborted", reason=why, topic=error.topic)
        self._known_topics.clear()
        if error.reason.code() in TOO_LARGE:
            raise Unsendable(f"{error.topic}: {why}")
        if not error.demanded:
            raise ProducerError(f"Kafka refuses the transaction of producer {self.name!r}: {why}")
        if error.reason.code() in NO_TOPIC and names.parse_topic(error.topic):
            raise TopicsMissing({error.topic: why})

    def _replace_client(self, error: ClientLost) -> None:
        """Replace the client and read the ledger again with the new one. Raises ProducerError if it was fenced."""
        metrics.PRODUCER_BLOCKED.set(1)
        if error.fenced:
            raise ProducerError(
                f"another producer has taken over as {self.name!r}: {error}",
                hint="run one producer of each name; the other one publishes what this one had not committed",
            ) from error
        _log.warning("client replaced", reason=str(error))
        self._transactions.replace()
        self.open()

    def _wait_for_kafka(self, reason: str, seconds: float = 0.05) -> None:
        """Wait before a call to Kafka is resumed."""
        metrics.PRODUCER_BLOCKED.set(1)
        self._pulse.warn_once(_WAITING, reason=reason)
        self._pulse.pause(seconds)

    def _await_topics(self, topics: set[str]) -> None:
        """Wait until our own topics exist: without them nothing can be settled."""
        for name in sorted(topics - self._known_topics):
            while (reason := self.missing(name)) is not None:
                metrics.PRODUCER_BLOCKED.set(1)
                _log.warning("waiting for a topic", topic=name, reason=reason, remedy=remedy(name))
                self._pulse.pause(RETRY_SECONDS)
            self._known_topics.add(name)

    def _need_topics(self, topics: set[str]) -> None:
        """Check that topics of nights can be written. Raises TopicsMissing if not, or if their nights wait."""
        missing = {}
        for name in sorted(topics - self._known_topics):
            if (why := self.missing(name)) is None:
                self._known_topics.add(name)
            else:
                missing[name] = why
        if missing or any(night[0] in self.held for name in topics if (night := names.parse_topic(name))):
            raise TopicsMissing(missing)

    def _count(self, records: list[Record]) -> None:
        """Count records that have just been committed."""
        metrics.PRODUCER_BLOCKED.set(0)
        now = time.time()
        for record in records:
            if (topic := names.parse_topic(record.topic)) is None:
                metrics.PRODUCER_REFUSED.labels(rejections.kind(record)).inc()
                continue
            metrics.PRODUCER_PUBLISHED.labels(topic[1]).inc()
            metrics.PRODUCER_BYTES.inc(len(record.value or b""))
            visit = dict(record.headers).get(names.HEADER_VISIT, b"").decode()
            if (start := names.start_of_visit(visit)) is not None:
                metrics.PRODUCER_CANDIDATE.observe(max(0.0, now - start))

    def _count_new_schemas(self) -> None:
        """Alerts since the ledger began, by schema: of schemas that were accepted as new and are not known yet."""
        known = {schema.mark for schema in schemas.forms()}
        counts: Counter[str] = Counter()
        for entry in self.entries.values():
            counts.update(entry.new_schemas)
        metrics.PRODUCER_NEW_SCHEMAS.clear()
        for mark in counts.keys() - known:
            metrics.PRODUCER_NEW_SCHEMAS.labels(mark).set(counts[mark])


def remedy(topic: str) -> str:
    """What to do about a topic that is missing."""
    night = names.parse_topic(topic)
    return "make deploy ENV=..." if night is None else f"make night ENV=... NIGHT={night[0]}"
