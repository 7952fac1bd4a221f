"""Runs a group of filters on the public site's stream, each alert exactly once.

A turn of the loop:

1. read a batch of committed alerts;
2. run the group's filters over it, in processes of their own (`zads.filters.sandbox`);
3. write in one transaction the alerts that passed (original bytes, headers), those that failed (to the topic of refused
   input, and to the owner's), each filter's counts with the visits that its cap still has to remember, and the
   consumer's offsets;
4. take over the counts only when the transaction is committed.

Even if a process dies, either all results of a batch become visible or none, and a restarted worker continues from
offsets, counts and caps that belong together. The cap is exact for one worker. Each of N workers of a group has a cap
of its own: in a visit at most N times the cap pass.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from zads import kafka, metrics, names
from zads.errors import ZadsError
from zads.filters import fence, measuring, news, records
from zads.filters.counts import Counts, RestoreInterrupted, restore
from zads.filters.outcome import Outcomes
from zads.filters.records import AlertRecord
from zads.filters.running_filters import RunningFilters
from zads.packet import PacketError
from zads.transactions import NO_TOPIC, ClientLost, Record, TransactionAborted, Transactions
from zads.watchdog import Watchdog

TRANSACTION_MS = 10_000
# A client that hangs for this long does not come back: librdkafka issues 5456, 5511.
STUCK_SECONDS = 2 * TRANSACTION_MS / 1000
# For one turn of the loop, whatever the filters do: the worker waits for them in small steps.
TURN_SECONDS = 90.0
BATCH_ALERTS = 500
BATCH_BYTES = 40_000_000
# How long the first alert of a batch waits for more. Even with few alerts, a turn of a hundred filters costs 10 ms, and
# its transaction about thirty appends that every replica fetches.
GATHER_SECONDS = 1.0

# Errors that end a consumer: another process has taken its name, or it has no right to read.
_END = (
    KafkaError._FATAL,
    KafkaError._FENCED,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
)

_log = structlog.get_logger()


class Worker:
    """One worker of a group; `run` returns after `stop`.

    `name` distinguishes this worker from the group's others, and must stay the same over restarts. `nursery` is the
    socket of the process that runs the filters; without it they run as this user. Raises ZadsError.
    """

    def __init__(
        self,
        path: Path,
        conf: Mapping[str, str],
        name: str,
        *,
        heartbeat: Path | None = None,
        nursery: Path | None = None,
    ) -> None:
        self._path, self._conf, self._name = path, dict(conf), name
        self._nursery = nursery
        self._watchdog = Watchdog("worker", TURN_SECONDS, call_seconds=STUCK_SECONDS, heartbeat=heartbeat)
        self._filters = RunningFilters(path, nursery, self._watchdog.beat)
        self._group_id = names.filters_principal(self._filters.config.group)
        self._counts: dict[str, Counts] = {}
        self._outcomes = Outcomes(name)
        self._stop = self._reload = False
        self._batch: list[AlertRecord] = []
        self._states: dict[str, str] = {}
        self._news = news.News(name)

    def stop(self, *_: object) -> None:
        """End after the current batch."""
        self._stop = True

    def reload(self, *_: object) -> None:
        """Read configuration and filters again before the next batch."""
        self._reload = True

    def run(self) -> None:
        """Work until `stop`. Raises ZadsError if the worker cannot go on: then its service starts it again."""
        self._transactions = Transactions(
            self._conf,
            f"{self._group_id}.{self._name}",
            call_seconds=STUCK_SECONDS,
            waiting=lambda _: None,  # the watchdog bounds it
            properties={"transaction.timeout.ms": TRANSACTION_MS, "linger.ms": 5},
        )
        self._open()
        try:
            self._counts = restore(
                self._conf, self._group_id, self._name, asked_to_stop=lambda: self._stop, beat=self._watchdog.beat
            )
        except RestoreInterrupted:
            self._filters.sandbox.close()
            return
        self._consumer = kafka.consumer(
            self._conf,
            self._group_id,
            **{
                "group.instance.id": self._name, "session.timeout.ms": 10_000, "heartbeat.interval.ms": 2_000,
                "topic.metadata.refresh.interval.ms": 5_000, "queued.max.messages.kbytes": 65_536,
                # The worker gathers batches anyway: fewer and larger answers save work here and in the broker.
                "fetch.min.bytes": 2_000_000, "fetch.wait.max.ms": 500,
                "max.poll.interval.ms": 600_000, "partition.assignment.strategy": "range",
            },
        )  # fmt: skip
        self._subscribe()
        _log.info("worker started", group=self._group_id, worker=self._name, filters=sorted(self._filters.entries))
        try:
            while not self._stop:
                self._turn()
        finally:
            self._filters.sandbox.close()
            self._watchdog.rest()
            with self._watchdog.limits():
                self._consumer.close()
        _log.info("worker stopped", group=self._group_id, worker=self._name)

    def _open(self) -> None:
        """End what a predecessor left open, and fence it; wait for a coordinator that is not there yet."""
        self._watchdog.beat()
        try:
            self._transactions.open(self._wait_to_open)
        except KafkaException as error:
            raise ZadsError(f"Kafka does not let the worker {self._name} begin: {error.args[0]}") from error

    def _wait_to_open(self, reason: str) -> None:
        self._watchdog.beat()
        if self._stop:
            raise ZadsError(f"Kafka does not let the worker {self._name} begin: {reason}")
        _log.warning("waiting for Kafka", reason=reason)

    def _subscribe(self) -> None:
        programmes = sorted(self._filters.config.programmes)
        nights = names.topic_pattern(programmes)
        self._consumer.subscribe([nights], on_revoke=self._drop_batch, on_lost=self._drop_batch)

    def _drop_batch(self, *_: object) -> None:
        """Drop the batch that is being gathered: partitions change hands, and their next owners read it again.

        Kafka would not refuse the batch. It checks a transaction's offsets against the group's generation, which is the
        new one by then, and not against the owners of the partitions.
        """
        self._batch.clear()

    def _turn(self) -> None:
        """Read a batch, run the filters over it, and write the results: steps 1 to 4."""
        self._watchdog.beat()
        if self._reload:
            self._reload = False
            self._load_filters()
        # Step 1.
        with self._watchdog.limits():
            batch = self._gather()
        if not batch:
            self._report()
            self._write_news()
            return
        # Step 2.
        outputs, counts = self._outcomes.of(self._filters, batch, self._counts)
        # Step 3.
        self._watchdog.beat()
        try:
            with self._watchdog.limits():
                self._publish(batch, outputs)
        except TransactionAborted as reason:
            _log.warning("transaction aborted, reading the batch again", reason=str(reason))
            with self._watchdog.limits():
                self._rewind(batch)
            return
        # Step 4.
        self._count(batch, counts)
        self._write_news()

    def _load_filters(self) -> None:
        """Use a changed configuration from the next batch on, or keep the old one if the new one cannot be used."""
        try:
            filters = RunningFilters(self._path, self._nursery, self._watchdog.beat)
            if filters.config.group != self._filters.config.group:
                filters.sandbox.close()
                raise ZadsError("a running worker cannot change its group", hint="restart it")
        except ZadsError as error:
            _log.error("reload refused, going on as before", reason=str(error))
            return
        old, self._filters = self._filters, filters
        old.sandbox.close()
        if set(old.config.programmes) != set(filters.config.programmes):
            self._subscribe()
        self._outcomes.forget()
        _log.info("reloaded", filters=sorted(filters.entries))
        self._report()

    def _gather(self) -> list[AlertRecord]:
        """A batch: waits a second for its first alert, and GATHER_SECONDS for more."""
        batch = self._batch = []
        messages = [message] if (message := self._consumer.poll(1.0)) is not None else []
        until = time.monotonic() + GATHER_SECONDS
        while messages:
            for message in messages:
                if self._usable(message):
                    batch.append(AlertRecord.of(message))
            left = until - time.monotonic()
            room = min(BATCH_ALERTS - len(batch), 50)
            if left <= 0 or room <= 0 or sum(len(alert.data) for alert in batch) >= BATCH_BYTES:
                break
            messages = self._consumer.consume(room, left)
        return batch

    def _usable(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.fatal() or error.code() in _END:
            raise ZadsError(f"the worker {self._name} cannot go on reading: {error.str()}")
        _log.warning("consumer", reason=error.str())
        return False

    def _write_news(self) -> None:
        """Write the news of what has been committed; what cannot be written now is written later."""
        if due := self._news.due(self._filters, self._counts):
            with contextlib.suppress(TransactionAborted), self._watchdog.limits():
                self._publish((), due)
                self._news.sent(due)

    def _publish(self, batch: Sequence[AlertRecord], outputs: Sequence[Record]) -> None:
        """Write `outputs` and the batch's offsets. Raises TransactionAborted, or ZadsError if the worker must end."""
        try:
            self._transactions.write(outputs, records.next_offsets(batch), self._consumer)
        except ClientLost as error:
            raise ZadsError(
                f"the worker {self._name} cannot go on: {error}", hint="its service starts it again"
            ) from error
        except TransactionAborted as error:
            if error.reason.code() in NO_TOPIC:
                raise ZadsError(
                    f"the worker {self._name} cannot write: {error}",
                    hint="a deployment makes the topics and the grants of every filter in the inventory",
                ) from error
            raise

    def _rewind(self, batch: Sequence[AlertRecord]) -> None:
        """Read the batch again from the partitions that this worker still owns."""
        assigned = {(one.topic, one.partition) for one in self._consumer.assignment()}
        for first in records.first_offsets(batch):
            if (first.topic, first.partition) in assigned:
                self._consumer.seek(first)

    def _count(self, batch: Sequence[AlertRecord], counts: Mapping[str, Counts]) -> None:
        """Take over the counts of a batch that has been committed."""
        measuring.committed(batch, self._counts, counts)
        self._counts.update(counts)
        self._report()

    def _report(self) -> None:
        """Report circuits to Prometheus, and to the log when they change."""
        for name, circuit in self._filters.sandbox.circuits.items():
            metrics.WORKER_OPEN.labels(name).set(circuit.state == "open")
            if self._states.get(name, "closed") != circuit.state:
                _log.warning("circuit", filter=name, state=circuit.state, reason=circuit.why)
            self._states[name] = circuit.state


def main(
    path: Path,
    properties: Path,
    name: str,
    *,
    heartbeat: Path | None,
    port: int,
    nursery: Path | None = None,
) -> None:
    """Run a worker as a service: SIGTERM stops it, SIGHUP makes it read its filters again. Raises ZadsError."""
    fence.hide()
    metrics.serve(port, "worker")
    conf = kafka.read_properties(properties)
    worker = Worker(path, conf, name, heartbeat=heartbeat, nursery=nursery)
    signal.signal(signal.SIGTERM, worker.stop)
    signal.signal(signal.SIGINT, worker.stop)
    signal.signal(signal.SIGHUP, worker.reload)
    try:
        worker.run()
    except KafkaException as error:
        raise ZadsError(f"the worker {name} cannot go on: {error.args[0].str()}") from error
    except PacketError as error:
        raise ZadsError(f"the worker {name} met a record that no packet can be: {error}") from error
