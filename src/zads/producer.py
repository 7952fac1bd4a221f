"""From the spool to the origin topics: every packet once, whatever dies in between.

An exposure is published in transactions of at most CHUNK_PACKETS packets. Each transaction also writes one record to
the ledger (the compacted topic ``zads_ledger``), under the exposure's name: how many of its files have been read so
far, a SHA-256 over them, and the counts. So the packets and the knowledge that they were published become visible
together or not at all:

1. `init_transactions` ends whatever a predecessor of the same name left open, and fences it;
2. the ledger is read to its end: nothing can be added to it by others from now on;
3. an exposure's files are read in their order; those that the ledger covers are only compared with its digest;
4. each chunk is validated (while the one before it is on its way), then published with its ledger record in one
   transaction; an aborted one is tried again;
5. the receipt is written, then the exposure moves to done/: dying here repeats 3 (and publishes nothing) and 5.

A second delivery under the same name is therefore published never: with the same contents it gets its receipt
(``published_before``), with other contents it is refused as a whole, because two truths of one exposure are for people
to settle. So is a packet whose candid the exposure has already had.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from zads import kafka, metrics, principals, schemas, topics
from zads.errors import ZadsError
from zads.packet import Packet, PacketError
from zads.sources.files import Item, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from confluent_kafka import Message

    from zads.sources.spool import Exposure, Spool

# In a transaction at most. Nobody sees an alert before its transaction is committed: of a visit of 1,000 in one, the
# first would wait for the last. A quarter of that costs a few requests more.
CHUNK_PACKETS = 250
CHUNK_BYTES = 32_000_000
REJECTED_BYTES = 1_000_000  # of a refused file, so much goes to the topic of refused input
WATCH_SECONDS = 0.2
RETRY_SECONDS = 2.0
CALL_SECONDS = 5.0  # a call to Kafka returns to the loop (heartbeat, stop) after so long
SWEEP_SECONDS = 60.0
KEEP_SECONDS = 48 * 3600.0
_FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}

_log = structlog.get_logger("zads.producer")


class ProducerError(ZadsError):
    """The producer cannot go on."""


class _Stopped(Exception):
    """The process was asked to end."""


class _Again(Exception):
    """The transaction was aborted, or the client replaced: try the chunk again if the ledger does not have it."""


@dataclass
class Entry:
    """What the ledger says of an exposure.

    `read`: files of it that are settled; `digest`: SHA-256 (hex) over them; `published` per topic; `new_schemas`: how
    many of these by which new schema that was accepted (`Schema.mark`); `complete`: these are all its files.
    """

    read: int = 0
    digest: str = ""
    published: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    complete: bool = False
    new_schemas: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Entry:
        """Independent of this one."""
        return Entry(**asdict(self))

    def record(self) -> bytes:
        """The value of the ledger's record."""
        return json.dumps(asdict(self), sort_keys=True).encode()


@dataclass(frozen=True)
class _Record:
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class _Progress:
    """How far one exposure has come in this process."""

    def __init__(self, admission: schemas.Admission = schemas.REFUSE) -> None:
        self._admission = admission
        self._hash = hashlib.sha256()
        self._candids: set[int] = set()
        self.entry = Entry(digest=self.digest)
        self.refusals: list[dict[str, str]] = []

    def take(self, item: Item) -> None:
        """Count and digest one file."""
        for part in (item.name.encode("utf-8", "surrogateescape"), item.refused.encode(), item.data):
            self._hash.update(len(part).to_bytes(8, "big"))
            self._hash.update(part)
        self.entry.read += 1

    @property
    def digest(self) -> str:
        """Of the files taken so far."""
        return self._hash.hexdigest()

    def parse(self, item: Item, source: str) -> Packet:
        """The packet in a file. Raises PacketError if it is none, or one that the exposure has already had."""
        if item.refused:
            raise _refusal(item.refused)
        packet = Packet.parse(item.data, source=source, admission=self._admission)
        if packet.candid in self._candids:
            raise _refusal(f"candid {packet.candid} is already in this exposure", "candid")
        self._candids.add(packet.candid)
        return packet

    def remember(self, item: Item) -> None:
        """Note the candid of a file that was published earlier."""
        try:
            self.parse(item, item.name)
        except PacketError:
            return


class Producer:
    """Publishes what comes into a spool, one exposure after the other, in the order of their names.

    `name` is the transactional id: of two producers with one name the older is fenced and ends. `heartbeat` is a file
    that is touched while the loop goes round; `stop` ends the run at the next opportunity; `admission` decides what
    becomes of packets of new schemas.
    """

    def __init__(
        self,
        conf: Mapping[str, Any],
        spool: Spool,
        *,
        name: str = "producer",
        heartbeat: Path | None = None,
        keep_seconds: float = KEEP_SECONDS,
        stop: threading.Event | None = None,
        admission: schemas.Admission | None = None,
    ) -> None:
        self.spool = spool
        self._admission = admission or schemas.Admission()
        self._told: set[str] = set()  # new schemas of which the journal has been told
        self.name = name
        self.ledger: dict[str, Entry] = {}
        self._conf = dict(conf)
        self._heartbeat = heartbeat
        self._keep_seconds = keep_seconds
        self._stop = stop or threading.Event()
        self._known_topics: set[str] = set()
        self._settled: set[tuple[str, str]] = set()
        self._began = 0.0
        self._swept = 0.0
        self._client = self._connect()

    # The loop

    def run(self, *, once: bool = False) -> int:
        """Publish until stopped, or until the spool is empty if `once`. Returns the number of exposures settled.

        Raises ProducerError if another producer of this name has taken over, or if the cluster refuses this one.
        """
        settled = 0
        try:
            self._open()
            while True:
                exposures = [one for one in self.spool.pending() if (one.name, one.state) not in self._settled]
                metrics.PRODUCER_PENDING.set(len(exposures))
                if not exposures and once:
                    return settled
                for exposure in exposures:
                    self._pause(0)
                    self._settle(exposure)
                    settled += 1
                if not exposures:
                    self._sweep()
                    self._pause(WATCH_SECONDS)
        except _Stopped:
            _log.info("stopped", exposures=settled)
            return settled

    def _pause(self, seconds: float) -> None:
        metrics.beat(self._heartbeat)
        self._client.poll(0)
        if self._stop.wait(seconds):
            raise _Stopped

    def _sweep(self) -> None:
        if time.monotonic() - self._swept > SWEEP_SECONDS:
            self._swept = time.monotonic()
            if removed := self.spool.sweep(self._keep_seconds):
                _log.info("removed originals that were published", exposures=removed)

    # One exposure

    def _settle(self, exposure: Exposure) -> None:
        started, state = time.monotonic(), exposure.state
        if state == "gone":
            return
        progress = _Progress(self._admission)
        known = self.ledger.get(exposure.name)
        before = bool(known and known.complete)
        try:
            items = exposure.items()
            if known:
                items = self._skip(exposure, items, known, progress)
            if not before:
                self._publish(exposure, items, progress)
        except SourceError as error:
            self._refuse(exposure, str(error), state)
            result = "refused"
        else:
            result = "duplicate" if before else "published"
            receipt = asdict(progress.entry) | {"exposure": exposure.name, "published_before": before}
            receipt |= {"refusals": progress.refusals, "finished": round(time.time(), 3)}
            self.spool.finish(exposure, receipt)
            _log.info(
                "exposure",
                name=exposure.name,
                result=result,
                read=progress.entry.read,
                published=sum(progress.entry.published.values()),
                refused=progress.entry.refused,
                seconds=round(time.monotonic() - started, 3),
            )
        if exposure.state != "gone":
            _log.warning(
                "settled, but cannot be moved away", path=str(exposure.path), remedy="chown -R it to this user"
            )
            state = exposure.state
        self._settled.add((exposure.name, state))
        metrics.PRODUCER_EXPOSURES.labels(result).inc()
        metrics.PRODUCER_SECONDS.observe(time.monotonic() - started)
        metrics.PRODUCER_LAST.set_to_current_time()

    def _skip(self, exposure: Exposure, items: Iterator[Item], known: Entry, progress: _Progress) -> Iterator[Item]:
        """Pass over the files that the ledger covers; the rest is returned.

        Raises SourceError if they are not the files that were published.
        """
        for number, item in enumerate(islice(items, known.read), start=1):
            progress.take(item)
            if not known.complete:
                progress.remember(item)
            if number % 100 == 0:
                self._pause(0)
        more = next(items, None)
        if progress.digest != known.digest or (known.complete and more is not None):
            raise SourceError(
                f"{exposure.name} was published before, with other contents",
                hint="compare it with the one in done/; deliver what is new under another name",
            )
        # Counts are the ledger's; a copy, for it must not change before the transaction that says so.
        progress.entry = known.copy()
        return items if more is None else chain([more], items)

    def _publish(self, exposure: Exposure, items: Iterator[Item], progress: _Progress) -> None:
        """Publish all that is left of an exposure, chunk by chunk; one without files makes a ledger record, too."""
        chunks = self._chunks(exposure, items, progress)
        # While a transaction waits for its brokers, the next chunk is validated: each leaves the other its processor.
        with ThreadPoolExecutor(1, "validation") as beside:
            ahead = beside.submit(next, chunks, None)
            while (chunk := ahead.result()) is not None:
                ahead = beside.submit(next, chunks, None)
                self._pause(0)
                self._commit(exposure.name, *chunk)

    def _chunks(
        self, exposure: Exposure, items: Iterator[Item], progress: _Progress
    ) -> Iterator[tuple[list[_Record], Entry]]:
        """What goes into each transaction: the records, and what the ledger will then say."""
        ahead = next(items, None)
        while not progress.entry.complete:
            chunk: list[_Record] = []
            size = taken = 0
            while ahead is not None and taken < CHUNK_PACKETS and size < CHUNK_BYTES:
                chunk.append(self._validated(exposure, ahead, progress))
                size, taken = size + len(ahead.data), taken + 1
                ahead = next(items, None)
            progress.entry.digest, progress.entry.complete = progress.digest, ahead is None
            yield chunk, progress.entry.copy()

    def _validated(self, exposure: Exposure, item: Item, progress: _Progress) -> _Record:
        """The record of one file: of its packet, or of its refusal."""
        source = f"{exposure.name}/{item.name}"
        progress.take(item)
        try:
            packet = progress.parse(item, source)
        except PacketError as error:
            progress.entry.refused += 1
            progress.refusals.append({"file": item.name, "reason": error.reason, "field": error.field})
            self.spool.keep_refused(exposure, item)
            _log.warning("refused", source=source, reason=error.reason, field=error.field)
            return _rejected(exposure.name, item.data, source, error.reason, error.field)
        topic, published = packet.topic, progress.entry.published
        published[topic] = published.get(topic, 0) + 1
        if (new := packet.new_schema) is not None:
            self._note_new(new, source, progress.entry)
        headers = [
            (topics.HEADER_CANDID, str(packet.candid).encode()),
            (topics.HEADER_VISIT, packet.visit.encode()),
            (topics.HEADER_SCHEMA, packet.schema_version.encode()),
            (topics.HEADER_FORMAT, topics.FORMAT),
        ]
        return _Record(topic, packet.key, item.data, headers)

    def _note_new(self, new: schemas.NewSchema, source: str, entry: Entry) -> None:
        """Count a packet of a new schema that was accepted; the first of each is told in the journal."""
        mark = new.schema.mark
        entry.new_schemas[mark] = entry.new_schemas.get(mark, 0) + 1
        if mark not in self._told:
            self._told.add(mark)
            _log.warning("new schema accepted", schema=mark, source=source, differs=str(new))

    def _refuse(self, exposure: Exposure, reason: str, state: str) -> None:
        """Refuse an exposure as a whole, once: what stays in the spool is not refused again after a restart."""
        key, entry = f"{exposure.name}/refused", Entry(digest=state, refused=1, complete=True)
        if self.ledger.get(key) != entry:
            _log.error("exposure refused", name=exposure.name, reason=reason)
            self._commit(key, [_rejected(exposure.name, b"", exposure.name, reason, "")], entry)
        receipt = {"exposure": exposure.name, "refused": reason, "finished": round(time.time(), 3)}
        self.spool.refuse(exposure, receipt)

    # Transactions

    def _commit(self, key: str, records: list[_Record], entry: Entry) -> None:
        """Publish records and ledger entry together, however often it takes."""
        record = _Record(topics.LEDGER, key.encode("utf-8", "surrogateescape"), entry.record(), [])
        while True:
            self._await_topics({one.topic for one in records} | {topics.LEDGER})
            try:
                self._attempt([*records, record])
                break
            except _Again:
                # After a lost answer the new client's ledger tells whether the transaction had been committed.
                if self.ledger.get(key) == entry:
                    break
        before = self.ledger.get(key, Entry())
        self.ledger[key] = entry
        self._count(records)
        for mark, number in entry.new_schemas.items():
            metrics.PRODUCER_NEW_SCHEMAS.labels(mark).inc(number - before.new_schemas.get(mark, 0))

    def _attempt(self, records: Iterable[_Record]) -> None:
        self._began = time.monotonic()
        self._call(self._client.begin_transaction)
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None and not failed:
                failed.append(error)

        for record in records:
            self._produce(record, delivered)
        self._call(self._client.commit_transaction, CALL_SECONDS, failed=failed)

    def _produce(self, record: _Record, delivered: Any) -> None:
        headers = [*record.headers, (topics.HEADER_PRODUCED, f"{time.time():.6f}".encode())]
        while True:
            try:
                self._client.produce(
                    record.topic, value=record.value, key=record.key, headers=headers, on_delivery=delivered
                )
                self._client.poll(0)
                return
            except BufferError:
                self._client.poll(0.1)
                self._pause(0)
            except KafkaException as error:
                self._recover(error.args[0])

    def _call(self, call: Any, *arguments: Any, failed: list[KafkaError] | None = None) -> None:
        """A transactional call, resumed until it has an outcome. Raises _Again when that is an abort."""
        while True:
            try:
                call(*arguments)
                return
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if reason.retriable() and not reason.fatal() and not reason.txn_requires_abort():
                    metrics.PRODUCER_BLOCKED.set(1)
                    self._pause(0.05)
                    continue
                self._recover(reason, failed[0] if failed else None)

    def _recover(self, reason: KafkaError, cause: KafkaError | None = None) -> None:
        """Bring the client to a state in which the chunk can be tried again, then raise _Again.

        Raises ProducerError if another producer has taken over, or if trying again cannot help.
        """
        metrics.PRODUCER_BLOCKED.set(1)
        why = (cause or reason).str()
        if reason.fatal():
            limit = int(self._conf.get("transaction.timeout.ms", kafka.TRANSACTION_TIMEOUT_MS)) / 1000
            # A coordinator that waited too long for us fences us just as a successor does.
            if reason.code() in _FENCED and time.monotonic() - self._began < limit:
                raise ProducerError(
                    f"another producer has taken over as {self.name!r}: {why}",
                    hint="run one producer of each name; what this one had not committed, the other publishes",
                )
            _log.warning("client replaced", reason=why)
            self._client.purge()
            self._client = self._connect()
            self._open()
            raise _Again
        if not reason.txn_requires_abort():
            raise ProducerError(f"Kafka refuses the transaction of producer {self.name!r}: {why}")
        metrics.PRODUCER_ABORTED.inc()
        _log.warning("transaction aborted, trying again", reason=why)
        self._known_topics.clear()
        self._call(self._client.abort_transaction, CALL_SECONDS)
        self._pause(0.2)
        raise _Again

    def _count(self, records: list[_Record]) -> None:
        metrics.PRODUCER_BLOCKED.set(0)
        by_topic = Counter(record.topic for record in records)
        metrics.PRODUCER_REFUSED.inc(by_topic.pop(topics.REJECTED, 0))
        for topic, number in by_topic.items():
            metrics.PRODUCER_PUBLISHED.labels(topic).inc(number)
        metrics.PRODUCER_BYTES.inc(sum(len(one.value) for one in records if one.topic != topics.REJECTED))

    # The cluster

    def _connect(self) -> Any:
        return kafka.producer(self._conf, **{"transactional.id": self.name})

    def _open(self) -> None:
        """Fence predecessors, then read the ledger: steps 1 and 2."""
        self._began = time.monotonic()
        said = False
        while True:
            try:
                self._client.init_transactions(CALL_SECONDS)
                break
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if reason.fatal() or not reason.retriable():
                    raise ProducerError(
                        f"the cluster does not accept the producer {self.name!r}: {reason.str()}",
                        hint="its user needs Write on the transactional id of its name",
                    ) from error
                if not said:
                    _log.warning("waiting for the brokers", reason=reason.str())
                said = True
                self._pause(RETRY_SECONDS / 10)
        self._known_topics.clear()
        self._await_topics({topics.LEDGER})
        self.ledger = self._read_ledger()
        self._count_new_schemas()
        _log.info("ready", producer=self.name, ledger=len(self.ledger))

    def _count_new_schemas(self) -> None:
        """What was published by schemas that were accepted as new, since the ledger began; not those known by now."""
        known = {schema.mark for schema in schemas.forms()}
        counts: Counter[str] = Counter()
        for entry in self.ledger.values():
            counts.update(entry.new_schemas)
        metrics.PRODUCER_NEW_SCHEMAS.clear()
        for mark in counts.keys() - known:
            metrics.PRODUCER_NEW_SCHEMAS.labels(mark).set(counts[mark])

    def _read_ledger(self) -> dict[str, Entry]:
        reader = kafka.consumer(
            self._conf, principals.LEDGER_GROUP, **{"enable.partition.eof": True, "fetch.wait.max.ms": 20}
        )
        ledger: dict[str, Entry] = {}
        try:
            partitions = self._client.list_topics(topics.LEDGER, CALL_SECONDS).topics[topics.LEDGER].partitions
            reader.assign([TopicPartition(topics.LEDGER, number, OFFSET_BEGINNING) for number in partitions])
            unread = set(partitions)
            while unread:
                self._pause(0)
                for message in reader.consume(500, 0.1):
                    problem = message.error()
                    if problem is None:
                        _note(message, ledger)
                    elif problem.code() == KafkaError._PARTITION_EOF:
                        unread.discard(message.partition())
                    elif not problem.retriable():
                        _log.warning("reading the ledger", reason=problem.str())
        finally:
            reader.close()
        return ledger

    def _await_topics(self, names: set[str]) -> None:
        """Wait until topics exist: nothing is refused for their sake, and nothing overtakes."""
        for name in sorted(names - self._known_topics):
            while (missing := self._missing(name)) is not None:
                metrics.PRODUCER_BLOCKED.set(1)
                _log.warning("waiting for a topic", topic=name, reason=missing, remedy=_remedy(name))
                self._pause(RETRY_SECONDS)
            self._known_topics.add(name)

    def _missing(self, name: str) -> str | None:
        """Why a topic cannot be written; None if it can."""
        try:
            answer = self._client.list_topics(name, CALL_SECONDS).topics[name]
        except KafkaException as error:
            return str(error.args[0].str())
        return None if answer.error is None else str(answer.error.str())


def _remedy(topic: str) -> str:
    night = topics.parse(topic)
    if night is None:
        return "make deploy ENV=..."
    return f"make night ENV=... NIGHT={night[0]}"


def _note(message: Message, ledger: dict[str, Entry]) -> None:
    key, value = message.key(), message.value()
    if isinstance(key, bytes) and isinstance(value, bytes):
        ledger[key.decode("utf-8", "surrogateescape")] = Entry(**json.loads(value))


def _rejected(exposure: str, data: bytes, source: str, reason: str, where: str) -> _Record:
    headers = [
        (topics.HEADER_REASON, reason.encode("utf-8", "replace")),
        (topics.HEADER_FIELD, where.encode("utf-8", "replace")),
        (topics.HEADER_SOURCE, source.encode("utf-8", "surrogateescape")),
    ]
    return _Record(topics.REJECTED, exposure.encode("utf-8", "surrogateescape"), data[:REJECTED_BYTES], headers)


def _refusal(reason: str, where: str = "") -> PacketError:
    return PacketError(reason, field=where)
