"""From the spool to the origin topics: every packet once, whatever dies in between.

An exposure is published in transactions of at most CHUNK_PACKETS packets. Each transaction also writes to the ledger
(the compacted topic ``zads_ledger``, see `zads.ledger`): how far the exposure has been read, and which alerts were
published. So the packets and the knowledge that they were published become visible together or not at all:

1. `init_transactions` ends whatever a predecessor of the same name left open, and fences it;
2. the ledger is read to its end, which open transactions of other producers may hold back for a while: nothing can be
   added to it under this name from now on;
3. an exposure is looked through: an archive is whole, an exposure with a marker is what that lists;
4. its files are read in their order; those that the ledger covers are only compared with its digest;
5. each chunk is validated (while the one before it is on its way), then published with its ledger records in one
   transaction; an aborted one is tried again. The last one says "complete" only if the exposure has not changed;
6. the exposure moves to done/, unless it has changed, and its receipt is written: dying here repeats 3 to 6 and
   publishes nothing.

Bytes that are on their night's topic are not published again, by whatever exposure they come. Other bytes under the
same candid are (the survey does process exposures anew), with the header ``version``. A second delivery under one name
is a continuation: what it adds is published. Within one exposure a candid is there once.

What cannot be settled is set aside, and the exposures behind it go on: deferred while a topic is missing (with all of
the same night behind it, so that an object's alerts keep their order), looked at again while it is unfinished, kept in
the spool with an error in the log when nothing else is known. A full or read-only disk is waited for.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from confluent_kafka import KafkaException

from zads import kafka, ledger, metrics, schemas, topics
from zads.errors import ZadsError
from zads.ledger import Digest, Entry, Ledger, Row
from zads.packet import Packet, PacketError
from zads.rejections import rejection
from zads.sources.delivery import Delivery, UnfinishedError
from zads.sources.files import SourceError
from zads.sources.spool import DISK_ERRORS
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
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from zads.sources.files import Item
    from zads.sources.spool import Exposure, Spool

_T = TypeVar("_T")

# In a transaction at most. Nobody sees an alert before its transaction is committed: of a visit of 1,000 in one, the
# first would wait for the last. A quarter of that costs a few requests more.
CHUNK_PACKETS = 250
CHUNK_BYTES = 32_000_000
REJECTED_BYTES = 1_000_000  # of a refused file, so much goes to the topic of refused input
WATCH_SECONDS = 0.2
RETRY_SECONDS = 2.0
CALL_SECONDS = 5.0  # a call to Kafka returns to the loop (heartbeat, stop) after so long
UNFINISHED_SECONDS = 1.0  # after which an unfinished exposure is looked at again
FAILED_SECONDS = 60.0  # and one that could not be settled: twice as late each time, at most an hour
SWEEP_SECONDS = 60.0
#: Nothing that the loop does takes so long: each call to Kafka ends in CALL_SECONDS, files are looked through in steps.
HUNG_SECONDS = 120.0
KEEP_SECONDS = 48 * 3600.0
BROKERS = "waiting for the brokers"  # what the log says of it, once
TOPIC, UNFINISHED, FAILED = "topic", "unfinished", "failed"  # why exposures are set aside

_log = structlog.get_logger("zads.producer")


class ProducerError(ZadsError):
    """The producer cannot go on."""


class _Stopped(Exception):
    """The process was asked to end."""


class _Unsendable(Exception):
    """A record that Kafka will not take, however often it is tried."""


class _Missing(Exception):
    """Topics that an exposure needs are not there (name -> why), or its nights wait behind another exposure."""

    def __init__(self, missing: dict[str, str]) -> None:
        super().__init__(", ".join(missing))
        self.missing = missing


@dataclass
class _Aside:
    """Why an exposure is set aside (a label of the metric), as what, and when it is looked at again (monotonic)."""

    reason: str
    state: str
    again: float
    missing: set[str] = field(default_factory=set)
    nights: set[str] = field(default_factory=set)
    times: int = 1


class _Progress:
    """How far one exposure has come in this process.

    `whole` says at its end whether it has not changed meanwhile, `unfinished` of a file whether it may be written yet.
    """

    def __init__(
        self,
        admission: schemas.Admission = schemas.REFUSE,
        *,
        indexed: bool = True,
        whole: Callable[[], bool] = lambda: True,
        unfinished: Callable[[Item], bool] = lambda _: False,
    ) -> None:
        self._admission = admission
        self._digest = Digest(indexed=indexed)
        self._candids: set[int] = set()
        self.entry = Entry(digest=self.digest, indexed=indexed)
        self.refusals: list[dict[str, str]] = []
        self.versions = 0
        self.postponed = 0
        self.sent = 0
        self.whole = whole
        self.unfinished = unfinished

    def take(self, item: Item) -> bytes:
        """Count and digest one file. Returns the SHA-256 of its bytes."""
        self.entry.read += 1
        return self._digest.take(item)

    @property
    def digest(self) -> str:
        """Of the files taken so far."""
        return self._digest.hex

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
    becomes of packets of new schemas. Alerts of nights before or after `nights` (YYYYMMDD) are refused. `watchdog` ends
    the process when the loop has not come round for so many seconds; 0 for none.
    """

    def __init__(
        self,
        conf: Mapping[str, Any],
        spool: Spool,
        *,
        name: str = "producer",
        heartbeat: Path | None = None,
        keep_seconds: float = KEEP_SECONDS,
        nights: tuple[str, str] = (topics.FIRST_NIGHT, topics.LAST_NIGHT),
        watchdog: float = 0,
        stop: threading.Event | None = None,
        admission: schemas.Admission | None = None,
    ) -> None:
        self.spool = spool
        self._admission = admission or schemas.Admission()
        self.name = name
        self.ledger: dict[str, Entry] = {}
        self.published = ledger.Published()
        self._conf = dict(conf)
        self._heartbeat = heartbeat
        self._keep_seconds = keep_seconds
        self._nights = nights
        self._stop = stop or threading.Event()
        self._known_topics: set[str] = set()
        self._settled: set[tuple[str, str]] = set()
        self._aside: dict[str, _Aside] = {}
        self._held: set[str] = set()
        self._told: set[str] = set()  # what the journal has been told, once
        self._swept = 0.0
        self._beaten = time.monotonic()
        self._watchdog = watchdog
        self._transactions = Transactions(
            conf, name, call_seconds=CALL_SECONDS, waiting=self._wait_for_kafka, stamp=True
        )

    # The loop

    def run(self, *, once: bool = False) -> int:
        """Publish until stopped, or until the spool is empty if `once`. Returns the number of exposures settled.

        Raises ProducerError if another producer of this name has taken over, if the cluster refuses this one, or if
        `once` has to leave exposures that could not be settled; ZadsError if the spool cannot be used.
        """
        settled = 0
        if self._watchdog:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        try:
            self._on_disk("the spool cannot be used", self.spool.open)
            self._open()
            while True:
                found, left = self._round()
                settled += found
                if once and not found and all(aside.reason == FAILED for aside in left):
                    if left:
                        raise ProducerError(
                            f"{len(left)} exposures could not be settled", hint="the log above says why of each"
                        )
                    return settled
                if not found:
                    self._sweep()
                    self._pause(WATCH_SECONDS)
        except _Stopped:
            _log.info("stopped", exposures=settled)
            return settled

    def _round(self) -> tuple[int, list[_Aside]]:
        """Look once at all that waits. Returns how many exposures were settled, and why others are set aside."""
        self._on_disk("an exposure cannot be given its name", self.spool.admit)
        self._on_disk("what has changed cannot be put back", self.spool.recheck)
        pending = [one for one in self.spool.pending() if (one.path.name, one.state) not in self._settled]
        self._aside = {one.path.name: self._aside[one.path.name] for one in pending if one.path.name in self._aside}
        metrics.PRODUCER_PENDING.set(len(pending))
        self._held = set()
        settled = 0
        for exposure in pending:
            self._pause(0)
            aside = self._aside.get(exposure.path.name)
            if aside is not None and self._waits(aside, exposure):
                self._held |= aside.nights
                continue
            if self._try(exposure):
                self._aside.pop(exposure.path.name, None)
                settled += 1
        left = list(self._aside.values())
        for reason in (TOPIC, UNFINISHED, FAILED):
            metrics.PRODUCER_DEFERRED.labels(reason).set(sum(aside.reason == reason for aside in left))
        if not settled and any(aside.reason == TOPIC for aside in left):
            metrics.PRODUCER_BLOCKED.set(1)
        return settled, left

    def _waits(self, aside: _Aside, exposure: Exposure) -> bool:
        """Whether an exposure that is set aside stays so for now."""
        if aside.reason == TOPIC and not aside.missing:
            return bool(aside.nights & self._held)
        changed = aside.state != exposure.state
        if time.monotonic() < aside.again:
            return aside.reason != FAILED or not changed
        if aside.reason != TOPIC or changed:
            return False
        aside.again = time.monotonic() + RETRY_SECONDS
        return any(self._missing(name) is not None for name in aside.missing)

    def _try(self, exposure: Exposure) -> bool:
        """Settle an exposure if that can be done now; else set it aside. Returns whether it is settled."""
        before, started = self._aside.get(exposure.path.name), time.monotonic()
        try:
            self._settle(exposure)
            return True
        except (_Stopped, ProducerError):
            raise
        except _Missing as error:
            nights = self._nights_of(exposure)
            remedies = {_remedy(name) for name in error.missing}
            aside = _Aside(TOPIC, exposure.state, time.monotonic() + RETRY_SECONDS, set(error.missing), nights)
            self._held |= nights
            _log.warning(
                "deferred: waiting for a topic" if error.missing else "deferred: behind an exposure of the same night",
                exposure=exposure.path.name,
                nights=sorted(nights),
                **({"topics": error.missing, "remedy": "; ".join(sorted(remedies))} if error.missing else {}),
            )
        except UnfinishedError as error:
            # What takes long to look through is looked at more rarely.
            pause = max(UNFINISHED_SECONDS, 2 * (time.monotonic() - started))
            aside = _Aside(UNFINISHED, exposure.state, time.monotonic() + pause)
            if before is None or before.reason != UNFINISHED:
                _log.warning("unfinished: looked at again", exposure=exposure.path.name, reason=error.message)
        except Exception as error:  # one exposure's trouble, whatever it is, is not the others'
            times = before.times + 1 if before is not None and before.reason == FAILED else 1
            pause = min(FAILED_SECONDS * 2 ** min(times - 1, 10), 3600.0)
            aside = _Aside(FAILED, exposure.state, time.monotonic() + pause, times=times)
            _log.exception(
                "set aside: it could not be settled", exposure=exposure.path.name, reason=repr(error), again_in=pause
            )
            self._abandon()
        self._aside[exposure.path.name] = aside
        return False

    def _pause(self, seconds: float) -> None:
        """Wait; say meanwhile that the loop goes round. Raises _Stopped."""
        self._beat()
        if self._stop.wait(seconds):
            raise _Stopped

    def _beat(self) -> None:
        self._beaten = time.monotonic()
        try:
            metrics.beat(self._heartbeat)
        except OSError as error:
            self._say_once("the heartbeat cannot be written", reason=error.strerror)

    def _say_once(self, what: str, **facts: Any) -> None:
        if what not in self._told:
            self._told.add(what)
            _log.warning(what, **facts)

    def _watch(self) -> None:
        """End the process when the loop hangs, in Kafka's client or in the kernel: the service manager restarts it."""
        while True:
            time.sleep(min(1.0, self._watchdog / 4))
            if time.monotonic() - self._beaten > self._watchdog:
                faulthandler.dump_traceback(sys.stderr)
                sys.stderr.write(f"zads: the producer hung for {self._watchdog:g} s; ending to be started again\n")
                sys.stderr.flush()
                os._exit(1)

    def _on_disk(self, what: str, call: Callable[..., _T], *arguments: Any) -> _T:
        """Write to the spool; wait while its disk is full or read-only."""
        while True:
            try:
                result = call(*arguments)
                self._told.discard(what)
                return result
            except OSError as error:
                if error.errno not in DISK_ERRORS:
                    raise
                metrics.PRODUCER_BLOCKED.set(1)
                self._say_once(
                    what, reason=error.strerror, path=str(self.spool.root), remedy="free or repair its disk; it goes on"
                )
                self._pause(RETRY_SECONDS)

    def _sweep(self) -> None:
        if time.monotonic() - self._swept > SWEEP_SECONDS:
            self._swept = time.monotonic()
            self.spool.put_back()
            if removed := self._on_disk("cannot remove what was published", self.spool.sweep, self._keep_seconds):
                _log.info("removed originals that were published", exposures=removed)
            self._expire()

    def _expire(self) -> None:
        """Forget the alerts that no topic has any more."""
        keys = self.published.expired()[:1000]
        # If the transaction is aborted there is a next time.
        if keys and self._write([Record(topics.LEDGER, _bytes(key), None) for key in keys]):
            self.published.forget(keys)

    # One exposure

    def _settle(self, exposure: Exposure) -> None:
        """Raises UnfinishedError, _Missing, and whatever an exposure can be the cause of."""
        started, state = time.monotonic(), exposure.state
        if state == "gone":
            return
        delivery = Delivery(exposure, lambda: self._pause(0))
        try:
            delivery.check()
            progress, result = self._deliver(delivery)
        except SourceError as error:
            if delivery.changed():
                raise UnfinishedError(error.message) from error
            self._refuse(exposure, str(error), state, delivery.listing)
            result = "refused"
        else:
            before = result == "duplicate"
            receipt = asdict(progress.entry) | {"exposure": exposure.name, "published_before": before}
            receipt |= {"refusals": progress.refusals, "versions": progress.versions}
            receipt |= {"finished": round(time.time(), 3)}
            self._on_disk("no receipt can be written", self.spool.finish, exposure, receipt, delivery.listing)
            _log.info(
                "exposure",
                name=exposure.name,
                result=result,
                read=progress.entry.read,
                published=sum(progress.entry.published.values()),
                refused=progress.entry.refused,
                already=progress.entry.already,
                passed=progress.entry.passed,
                versions=progress.versions,
                seconds=round(time.monotonic() - started, 3),
            )
        if exposure.state != "gone":
            self._settled.add((exposure.path.name, exposure.state))
        metrics.PRODUCER_EXPOSURES.labels(result).inc()
        metrics.PRODUCER_SECONDS.observe(time.monotonic() - started)
        metrics.PRODUCER_LAST.set_to_current_time()

    def _deliver(self, delivery: Delivery) -> tuple[_Progress, str]:
        """Publish what the ledger does not have of an exposure. Returns what became of it, and the result in a word.

        Raises SourceError, UnfinishedError, _Missing.
        """
        exposure = delivery.exposure
        known = self.ledger.get(exposure.name)
        progress = _Progress(
            self._admission,
            indexed=known is None or known.indexed,
            whole=lambda: not delivery.changed(),
            unfinished=delivery.unfinished,
        )
        items = exposure.items()
        if known:
            more, same = self._skip(items, known, progress)
            if same and more is None and known.complete:
                progress.entry = known.copy()
                return progress, "duplicate"
            if same:
                # Counts are the ledger's; a copy, for it must not change before the transaction that says so.
                progress.entry = known.copy()
                progress.entry.complete = False
                items = items if more is None else chain([more], items)
            elif known.indexed:
                if known.complete:
                    _log.warning("its contents are not those of before: what is new is published", name=exposure.name)
                progress = _Progress(self._admission, whole=progress.whole, unfinished=progress.unfinished)
                items = exposure.items()
            else:
                raise SourceError(
                    f"{exposure.name} was published before by an older release, with other contents",
                    hint="compare it with the one in done/; deliver what is new under another name",
                )
        self._publish(exposure, items, progress)
        return progress, "duplicate" if known and known.complete and not progress.sent else "published"

    def _skip(self, items: Iterator[Item], known: Entry, progress: _Progress) -> tuple[Item | None, bool]:
        """Pass over the files that the ledger covers. Returns the one after them, and whether they are those files."""
        for number, item in enumerate(islice(items, known.read), start=1):
            progress.take(item)
            progress.remember(item)
            if number % 100 == 0:
                self._pause(0)
        return next(items, None), progress.digest == known.digest

    def _publish(self, exposure: Exposure, items: Iterator[Item], progress: _Progress) -> None:
        """Publish all that is left of an exposure, chunk by chunk; one without files makes a ledger record, too.

        Raises UnfinishedError when that is done, if the exposure has changed meanwhile.
        """
        chunks = self._chunks(exposure, items, progress)
        # While a transaction waits for its brokers, the next chunk is validated: each leaves the other its processor.
        with ThreadPoolExecutor(1, "validation") as beside:
            ahead = beside.submit(next, chunks, None)
            while (chunk := ahead.result()) is not None:
                ahead = beside.submit(next, chunks, None)
                self._pause(0)
                records, rows, entry = chunk
                if records or self.ledger.get(exposure.name) != entry:
                    self._commit(exposure.name, records, rows, entry)
                    progress.sent += len(records)
        if not progress.entry.complete:
            raise UnfinishedError(
                f"{progress.postponed} files may still be written" if progress.postponed else "it changes while read"
            )

    def _chunks(
        self, exposure: Exposure, items: Iterator[Item], progress: _Progress
    ) -> Iterator[tuple[list[Record], list[Row], Entry]]:
        """What goes into each transaction: the records, their rows, and what the ledger will then say."""
        ahead = next(items, None)
        last = False
        while not last:
            chunk: list[tuple[Record, Row]] = []
            size = taken = 0
            while ahead is not None and taken < CHUNK_PACKETS and size < CHUNK_BYTES:
                if (record := self._validated(exposure, ahead, progress)) is not None:
                    chunk.append(record)
                size, taken = size + len(ahead.data), taken + 1
                ahead = next(items, None)
            last = ahead is None
            complete = last and not progress.postponed and progress.whole()
            progress.entry.digest, progress.entry.complete = progress.digest, complete
            yield [record for record, _ in chunk], [row for _, row in chunk], progress.entry.copy()

    def _validated(self, exposure: Exposure, item: Item, progress: _Progress) -> tuple[Record, Row] | None:
        """The record of one file, of its packet or of its refusal, and its row; None if there is nothing to publish."""
        source, entry = f"{exposure.name}/{item.name}", progress.entry
        if item.passed:
            progress.take(item)
            entry.passed += 1
            _log.info("passed over", source=source, reason=item.passed)
            return None
        try:
            packet = progress.parse(item, source)
            self._check_night(packet)
        except PacketError as error:
            if progress.unfinished(item):
                progress.postponed += 1
                return None
            digest = progress.take(item)
            entry.refused += 1
            progress.refusals.append({"file": item.name, "reason": error.reason, "field": error.field})
            row = Row.of_refusal(exposure.name, item.name, error.reason, digest)
            if self.published.before(row).own:
                return None
            self._on_disk("no copy of a refused file can be kept", self.spool.keep_refused, exposure, item)
            _log.warning("refused", source=source, reason=error.reason, field=error.field)
            key, data = _bytes(exposure.name), item.data[:REJECTED_BYTES]
            return rejection(key, data, source=source, reason=error.reason, field=error.field), row
        topic, published, digest = packet.topic, entry.published, progress.take(item)
        row = Row.of_alert(exposure.name, packet.night, packet.candid, digest)
        before = self.published.before(row)
        if before.same and not before.own:
            entry.already += 1
            metrics.PRODUCER_ALREADY.inc()
            return None
        published[topic] = published.get(topic, 0) + 1
        if (new := packet.new_schema) is not None:
            self._note_new(new, source, entry)
        if before.same:
            return None
        headers = [
            (topics.HEADER_CANDID, str(packet.candid).encode()),
            (topics.HEADER_VISIT, packet.visit.encode()),
            (topics.HEADER_SCHEMA, packet.schema_version.encode()),
            (topics.HEADER_FORMAT, topics.FORMAT),
        ]
        if before.contents:
            progress.versions += 1
            headers.append((topics.HEADER_VERSION, str(before.contents + 1).encode()))
        return Record(topic, packet.key, item.data, headers), row

    def _note_new(self, new: schemas.NewSchema, source: str, entry: Entry) -> None:
        """Count a packet of a new schema that was accepted; the first of each is told in the journal."""
        mark = new.schema.mark
        entry.new_schemas[mark] = entry.new_schemas.get(mark, 0) + 1
        self._say_once(f"new schema accepted: {mark}", source=source, differs=str(new))

    def _check_night(self, packet: Packet) -> None:
        try:
            topics.check_survey(packet.night, *self._nights)
        except ZadsError as error:
            raise _refusal(error.message, "candidate.jd") from error

    def _nights_of(self, exposure: Exposure) -> set[str]:
        """The nights of an exposure's packets."""
        nights = set()
        with contextlib.suppress(SourceError):
            for number, item in enumerate(exposure.items()):
                with contextlib.suppress(PacketError):
                    packet = Packet.parse(item.data, admission=self._admission)
                    self._check_night(packet)
                    nights.add(packet.night)
                if number % 100 == 0:
                    self._pause(0)
        return nights

    def _refuse(self, exposure: Exposure, reason: str, state: str, seen: str) -> None:
        """Refuse an exposure as a whole, once: what stays in the spool is not refused again after a restart."""
        key, entry = f"{exposure.name}/refused", Entry(digest=state, refused=1, complete=True)
        if self.ledger.get(key) != entry:
            _log.error("exposure refused", name=exposure.path.name, reason=reason)
            refused = rejection(_bytes(exposure.name), b"", source=exposure.path.name, reason=reason)
            self._commit(key, [refused], [], entry)
        receipt = {"exposure": exposure.name, "refused": reason, "finished": round(time.time(), 3)}
        self._on_disk("no receipt can be written", self.spool.refuse, exposure, receipt, seen)

    # Transactions

    def _commit(self, key: str, records: list[Record], rows: list[Row], entry: Entry) -> None:
        """Publish records and their records in the ledger together, however often it takes. Raises _Missing."""
        together = [*records, Record(topics.LEDGER, _bytes(key), entry.record())]
        if rows:
            rows_key, packed, value = ledger.rows_record(key, rows)
            together.append(Record(topics.LEDGER, _bytes(rows_key), value))
        before = Entry()
        while True:
            self._await_topics({topics.LEDGER, topics.REJECTED} & {one.topic for one in together})
            self._need_topics({one.topic for one in records} - {topics.REJECTED})
            if self._write(together):
                before = self.ledger.get(key, before)
                self.ledger[key] = entry
                if rows:
                    self.published.add([(rows_key, packed, time.time())])
                break
            # After a lost answer the new client's ledger tells whether the transaction had been committed.
            if self.ledger.get(key) == entry:
                before = entry
                break
        self._count(records)
        for mark, number in entry.new_schemas.items():
            metrics.PRODUCER_NEW_SCHEMAS.labels(mark).inc(number - before.new_schemas.get(mark, 0))

    def _write(self, records: list[Record]) -> bool:
        """Whether records have been committed in one transaction; if not they can be tried again.

        Raises _Missing or _Unsendable if trying again cannot help now, ProducerError if it never can.
        """
        try:
            self._transactions.write(records)
            self._told.discard(BROKERS)
            return True
        except ClientLost as error:
            self._replace_client(error)
        except TransactionError as error:
            raise ProducerError(error.message) from error
        except TransactionAborted as error:
            self._check_aborted(error)
            self._pause(0.2)
        return False

    def _check_aborted(self, error: TransactionAborted) -> None:
        """See that a transaction that was aborted can be tried again."""
        metrics.PRODUCER_BLOCKED.set(1)
        metrics.PRODUCER_ABORTED.inc()
        why = error.reason.str()
        _log.warning("transaction aborted", reason=why, topic=error.topic)
        self._known_topics.clear()
        if error.reason.code() in TOO_LARGE:
            raise _Unsendable(f"{error.topic}: {why}")
        if not error.demanded:
            raise ProducerError(f"Kafka refuses the transaction of producer {self.name!r}: {why}")
        if error.reason.code() in NO_TOPIC and topics.parse(error.topic):
            raise _Missing({error.topic: why})

    def _replace_client(self, error: ClientLost) -> None:
        """Go on with a new client, and with the ledger as that finds it. Raises ProducerError if it was fenced."""
        metrics.PRODUCER_BLOCKED.set(1)
        if error.fenced:
            raise ProducerError(
                f"another producer has taken over as {self.name!r}: {error}",
                hint="run one producer of each name; what this one had not committed, the other publishes",
            ) from error
        _log.warning("client replaced", reason=str(error))
        self._transactions.replace()
        self._open()

    def _abandon(self) -> None:
        """Leave no transaction open behind an error."""
        try:
            self._transactions.abandon()
        except ClientLost as error:
            self._replace_client(error)
        except TransactionError as error:
            raise ProducerError(error.message) from error

    def _wait_for_kafka(self, reason: str, seconds: float = 0.05) -> None:
        """Wait before a call to Kafka is resumed."""
        metrics.PRODUCER_BLOCKED.set(1)
        self._say_once(BROKERS, reason=reason)
        self._pause(seconds)

    def _count(self, records: list[Record]) -> None:
        metrics.PRODUCER_BLOCKED.set(0)
        by_topic = Counter(record.topic for record in records)
        metrics.PRODUCER_REFUSED.inc(by_topic.pop(topics.REJECTED, 0))
        for topic, number in by_topic.items():
            metrics.PRODUCER_PUBLISHED.labels(topic).inc(number)
        metrics.PRODUCER_BYTES.inc(sum(len(one.value or b"") for one in records if one.topic != topics.REJECTED))

    # The cluster

    def _open(self) -> None:
        """Fence predecessors, then read the ledger: steps 1 and 2."""
        try:
            self._transactions.open()
        except KafkaException as error:
            raise ProducerError(
                f"the cluster does not accept the producer {self.name!r}: {error.args[0].str()}",
                hint="its user needs Write on the transactional id of its name",
            ) from error
        self._told.discard(BROKERS)
        self._known_topics.clear()
        self._await_topics({topics.LEDGER})
        found = self._read_ledger()
        self.ledger, self.published = found.entries, found.published
        self._count_new_schemas()
        _log.info("ready", producer=self.name, ledger=len(self.ledger), alerts=len(self.published))

    def _count_new_schemas(self) -> None:
        """What was published by schemas that were accepted as new, since the ledger began; not those known by now."""
        known = {schema.mark for schema in schemas.forms()}
        counts: Counter[str] = Counter()
        for entry in self.ledger.values():
            counts.update(entry.new_schemas)
        metrics.PRODUCER_NEW_SCHEMAS.clear()
        for mark in counts.keys() - known:
            metrics.PRODUCER_NEW_SCHEMAS.labels(mark).set(counts[mark])

    def _read_ledger(self) -> Ledger:
        try:
            return ledger.read(self._conf, lambda: self._pause(0))
        except ZadsError as error:
            raise ProducerError(f"the producer {self.name!r} cannot go on: {error.message}", hint=error.hint) from error

    def _await_topics(self, names: set[str]) -> None:
        """Wait until our own topics exist: without them nothing can be settled."""
        for name in sorted(names - self._known_topics):
            while (missing := self._missing(name)) is not None:
                metrics.PRODUCER_BLOCKED.set(1)
                _log.warning("waiting for a topic", topic=name, reason=missing, remedy=_remedy(name))
                self._pause(RETRY_SECONDS)
            self._known_topics.add(name)

    def _need_topics(self, names: set[str]) -> None:
        """See that topics of nights can be written. Raises _Missing if not, or if their nights wait."""
        missing = {}
        for name in sorted(names - self._known_topics):
            if (why := self._missing(name)) is None:
                self._known_topics.add(name)
            else:
                missing[name] = why
        if missing or any(night[0] in self._held for name in names if (night := topics.parse(name))):
            raise _Missing(missing)

    def _missing(self, name: str) -> str | None:
        """Why a topic cannot be written; None if it can. Waits while no broker answers."""
        while True:
            try:
                answer = self._transactions.describe(name, CALL_SECONDS)
            except KafkaException as error:
                self._wait_for_kafka(error.args[0].str(), RETRY_SECONDS / 10)
                continue
            self._told.discard(BROKERS)
            if answer.error is not None and answer.error.code() in kafka.MOVED:
                self._pause(RETRY_SECONDS / 10)
                continue
            return None if answer.error is None else str(answer.error.str())


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _remedy(topic: str) -> str:
    night = topics.parse(topic)
    if night is None:
        return "make deploy ENV=..."
    return f"make night ENV=... NIGHT={night[0]}"


def _refusal(reason: str, where: str = "") -> PacketError:
    return PacketError(reason, field=where)
