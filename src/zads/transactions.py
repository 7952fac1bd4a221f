"""Writes records to Kafka in transactions: all of a transaction becomes visible to readers, or nothing.

`Transactions.open` ends what a predecessor of the same name left open, and fences it. `Transactions.write`:

1. begins a transaction;
2. hands its records to the client;
3. adds the offsets that a consumer has reached, if there are any;
4. commits it, which waits until the brokers have every record.

A call is resumed while Kafka says that it may be tried again. When it returns, the transaction is committed. Otherwise
it raises: either the transaction was aborted and can be written again (`TransactionAborted`), or the client is
unusable (`ClientLost`), because a successor has fenced it or because of another fatal error.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from zads import kafka, names
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from confluent_kafka import Consumer, Message, TopicPartition
    from confluent_kafka.admin import TopicMetadata  # type: ignore[attr-defined]  # a public name

FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
#: Errors for a topic that does not exist, or that this user may not write.
NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.TOPIC_AUTHORIZATION_FAILED}
TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE}

Header = tuple[str, bytes]


class Record(NamedTuple):
    """A record to be written."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header] = ()


class TransactionAborted(Exception):
    """A transaction was aborted: nothing of it has become visible, and the next one can begin.

    `reason` is the error that caused this; if a record could not be written, it is the record's, and `topic` is the
    record's topic. `demanded` is false if Kafka refused a call without demanding that the transaction be aborted.
    """

    def __init__(self, reason: KafkaError, topic: str, *, demanded: bool) -> None:
        super().__init__(reason.str())
        self.reason, self.topic, self.demanded = reason, topic, demanded


class ClientLost(Exception):
    """The client cannot write any more; it is unknown whether its transaction was committed.

    `fenced`: another client has taken over its name.
    """

    def __init__(self, reason: str, *, fenced: bool) -> None:
        super().__init__(reason)
        self.fenced = fenced


class TransactionError(ZadsError):
    """A transaction could be neither committed nor aborted."""


class Transactions:
    """Transactions of one transactional id, one after the other.

    `name` is the transactional id; `properties` win over those of `conf`. A call to Kafka returns after `call_seconds`
    and is resumed. Before that, and while the client's queue is full, `waiting` is called with the reason; an exception
    from it ends the writing. `stamp`: give each record the header ``produced``, the time at which the client gets it.
    Raises ZadsError if the client refuses its configuration.
    """

    def __init__(
        self,
        conf: Mapping[str, Any],
        name: str,
        *,
        call_seconds: float,
        waiting: Callable[[str], object],
        stamp: bool = False,
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        self._name, self._call_seconds, self._waiting, self._stamp = name, call_seconds, waiting, stamp
        self._conf = {**conf, **(properties or {}), "transactional.id": name}
        # Until then a coordinator has waited for this client.
        self._patience = int(self._conf.get("transaction.timeout.ms", kafka.TRANSACTION_TIMEOUT_MS)) / 1000
        self._began = time.monotonic()
        self._in_transaction = False
        self._cause: KafkaError | None = None
        self._topic = ""
        self._client: Any = kafka.producer(self._conf)

    def open(self, waiting: Callable[[str], object] | None = None) -> None:
        """End what a predecessor of this name left open, and fence it. `waiting` is used instead of the writer's.

        Raises confluent_kafka.KafkaException for an error that does not pass by waiting.
        """
        self._began = time.monotonic()
        self._resume(self._client.init_transactions, self._call_seconds, waiting=waiting or self._waiting)

    def replace(self) -> None:
        """Replace a lost client by a new one; call `open` next."""
        self._client.purge()
        self._client = kafka.producer(self._conf)
        self._in_transaction = False

    def describe(self, topic: str, seconds: float) -> TopicMetadata:
        """What the brokers know of a topic. Raises confluent_kafka.KafkaException when there is no answer."""
        found: TopicMetadata = self._client.list_topics(topic, seconds).topics[topic]
        return found

    def write(
        self, records: Iterable[Record], offsets: Sequence[TopicPartition] = (), consumer: Consumer | None = None
    ) -> None:
        """Write records, and the `offsets` of a `consumer`, in one transaction. It is committed when this returns.

        Raises TransactionAborted, ClientLost or TransactionError.
        """
        self._began = time.monotonic()
        self._cause, self._topic = None, ""
        self._client.poll(0)  # for what it has to log
        try:
            # Step 1.
            self._resume(self._client.begin_transaction)
            self._in_transaction = True
            # Step 2.
            for record in records:
                self._produce(record)
            # Step 3.
            if consumer is not None:
                group = consumer.consumer_group_metadata()
                self._resume(self._client.send_offsets_to_transaction, list(offsets), group, self._call_seconds)
            # Step 4.
            self._resume(self._client.commit_transaction, self._call_seconds)
        except KafkaException as error:
            self._fail(error.args[0])
        self._in_transaction = False

    def abandon(self) -> None:
        """Abort the transaction that an error has left open, if there is one. Raises ClientLost or TransactionError."""
        if self._in_transaction:
            self._abort("it was abandoned")

    def _produce(self, record: Record) -> None:
        headers = list(record.headers)
        if self._stamp:
            headers.append((names.HEADER_PRODUCED, f"{time.time():.6f}".encode()))
        while True:
            try:
                self._client.produce(
                    record.topic, record.value, record.key, headers=headers, on_delivery=self._remember_failure
                )
                self._client.poll(0)
                return
            except BufferError:
                self._client.poll(0.1)
                self._waiting("the client's queue is full")
            except KafkaException as error:
                self._blame(error.args[0], record.topic)
                raise

    def _remember_failure(self, error: KafkaError | None, message: Message) -> None:
        # The error of a record that was dropped because of another record's error is not the cause.
        if error is not None and error.code() != KafkaError._PURGE_QUEUE:
            self._blame(error, message.topic() or "")

    def _blame(self, error: KafkaError, topic: str) -> None:
        if self._cause is None:
            self._cause, self._topic = error, topic

    def _resume(
        self, call: Callable[..., Any], *arguments: Any, waiting: Callable[[str], object] | None = None
    ) -> None:
        """Make a transactional call, and repeat it while Kafka says that it may be tried again."""
        while True:
            try:
                call(*arguments)
                return
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if reason.fatal() or reason.txn_requires_abort() or not reason.retriable():
                    raise
                (waiting or self._waiting)(reason.str())

    def _fail(self, reason: KafkaError) -> None:
        """Abort the transaction that could not be written, and raise the exception for the outcome."""
        cause = self._cause or reason
        if reason.fatal() or cause.fatal():
            raise self._lost(reason, cause.str())
        self._abort(cause.str())
        raise TransactionAborted(cause, self._topic, demanded=reason.txn_requires_abort())

    def _abort(self, why: str) -> None:
        try:
            self._resume(self._client.abort_transaction, self._call_seconds)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.fatal():
                raise self._lost(reason, reason.str()) from error
            raise TransactionError(
                f"Kafka refuses a transaction of {self._name!r}: {why}; it cannot be aborted: {reason.str()}"
            ) from error
        self._in_transaction = False

    def _lost(self, reason: KafkaError, why: str) -> ClientLost:
        # A coordinator that has waited too long for this client fences it just as a successor does.
        fenced = reason.code() in FENCED and time.monotonic() - self._began < self._patience
        return ClientLost(why, fenced=fenced)
