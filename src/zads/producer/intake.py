"""Turns the files of one exposure into records: validates each file and compares it with what has been published."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import structlog

from zads import ledger, metrics, names, schemas
from zads.errors import ZadsError
from zads.ledger import Digest, LedgerEntry, Row
from zads.packet import Packet, PacketError
from zads.rejections import rejection
from zads.transactions import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zads.producer.publisher import Publisher
    from zads.producer.pulse import Pulse
    from zads.sources.files import Item

# The most packets in a transaction. Nobody sees an alert before its transaction is committed: if a visit of 1,000
# packets were one transaction, its first alert would wait for its last. Transactions of 250 cost a few more requests.
CHUNK_PACKETS = 250
CHUNK_BYTES = 32_000_000
REJECTED_BYTES = 1_000_000  # bytes of a refused file that go to the topic of refused input
_BEAT_FILES = 100  # seconds between two signs of life

_log = structlog.get_logger("zads.producer")


@dataclass(frozen=True)
class Rules:
    """Which packets are published: those of known or admitted schemas, from the first night to the last.

    `without`: nights between these whose packets are refused all the same.
    """

    admission: schemas.Admission = schemas.REFUSE
    nights: tuple[str, str] = (names.FIRST_NIGHT, names.LAST_NIGHT)
    without: frozenset[str] = frozenset()

    def parse(self, data: bytes, source: str = "") -> Packet:
        """The packet in a file. Raises PacketError."""
        return Packet.parse(data, source=source, admission=self.admission)

    def check_night(self, packet: Packet) -> None:
        """Check that the survey can have observed a packet. Raises PacketError."""
        try:
            names.check_survey(packet.night, *self.nights)
        except ZadsError as error:
            raise PacketError(error.message, field="candidate.jd") from error
        if packet.night in self.without:
            raise PacketError(f"the night {packet.night} is far in the future, and has no topics", field="candidate.jd")


class Chunk(NamedTuple):
    """The contents of one transaction: records, their rows in the ledger, and the exposure's new ledger entry."""

    records: list[Record]
    rows: list[Row]
    entry: LedgerEntry


class Intake:
    """One exposure, `name`, as far as its files have been read.

    `indexed`: the exposure has rows in the ledger. `whole` is called at the end and returns whether the exposure is
    unchanged. `unfinished` returns whether a file may still be written. `keep_refused` keeps a copy of a file.
    `entry` is what the ledger will say. `refusals` lists the file, reason and field of each refused file.
    `visits` are those of its alerts. `versions` counts the alerts that were published before with other bytes,
    `postponed` the files that may still be written, and `sent` the records that were committed.
    """

    def __init__(
        self,
        name: str,
        rules: Rules,
        publisher: Publisher,
        pulse: Pulse,
        *,
        indexed: bool = True,
        whole: Callable[[], bool] = lambda: True,
        unfinished: Callable[[Item], bool] = lambda _: False,
        keep_refused: Callable[[Item], object] = lambda _: None,
    ) -> None:
        self.name = name
        self._rules, self._publisher, self._pulse = rules, publisher, pulse
        self._whole, self._unfinished, self._keep_refused = whole, unfinished, keep_refused
        self._digest = Digest(indexed=indexed)
        self._candids: set[int] = set()
        self.entry = LedgerEntry(digest=self._digest.hex, indexed=indexed)
        self.refusals: list[dict[str, str]] = []
        self.visits: set[str] = set()
        self.versions = self.postponed = self.sent = 0

    def skip(self, items: Iterator[Item], known: LedgerEntry) -> bool:
        """Pass over the files that the ledger covers. Returns whether they are those that it `known`."""
        for number, item in enumerate(islice(items, known.read), start=1):
            self._add(item)
            with contextlib.suppress(PacketError):
                self._parse(item, item.name)  # so that its candid counts as taken
            if number % _BEAT_FILES == 0:
                self._pulse.pause()
        return self._digest.hex == known.digest

    def chunks(self, items: Iterator[Item]) -> Iterator[Chunk]:
        """The contents of each transaction. An exposure without files has one transaction, too."""
        ahead = next(items, None)
        last = False
        while not last:
            found: list[tuple[Record, Row]] = []
            size = number = 0
            while ahead is not None and number < CHUNK_PACKETS and size < CHUNK_BYTES:
                if (record := self._record(ahead)) is not None:
                    found.append(record)
                size, number = size + len(ahead.data), number + 1
                ahead = next(items, None)
            last = ahead is None
            complete = last and not self.postponed and self._whole()
            self.entry.digest, self.entry.complete = self._digest.hex, complete
            yield Chunk([record for record, _ in found], [row for _, row in found], self.entry.copy())

    def _add(self, item: Item) -> bytes:
        """Count and digest one file. Returns the SHA-256 of its bytes."""
        self.entry.read += 1
        return self._digest.add(item)

    def _parse(self, item: Item, source: str) -> Packet:
        """The packet in a file. Raises PacketError if there is none, or if its candid is already in the exposure."""
        if item.refused:
            raise PacketError(item.refused)
        packet = self._rules.parse(item.data, source)
        if packet.candid in self._candids:
            raise PacketError(f"candid {packet.candid} is already in this exposure", field="candid")
        self._candids.add(packet.candid)
        return packet

    def _record(self, item: Item) -> tuple[Record, Row] | None:
        """A file's record (its packet or its refusal) and the record's row; None if nothing is to be published."""
        source = f"{self.name}/{item.name}"
        if item.passed:
            self._add(item)
            self.entry.passed += 1
            _log.info("passed over", source=source, reason=item.passed)
            return None
        try:
            packet = self._parse(item, source)
            self._rules.check_night(packet)
        except PacketError as error:
            return self._refusal(item, source, error)
        return self._alert(item, source, packet)

    def _refusal(self, item: Item, source: str, error: PacketError) -> tuple[Record, Row] | None:
        if self._unfinished(item):
            self.postponed += 1
            return None
        digest = self._add(item)
        self.entry.refused += 1
        self.refusals.append({"file": item.name, "reason": error.reason, "field": error.field})
        row = Row.of_refusal(self.name, item.name, error.reason, digest)
        if self._publisher.index.precedent(row).own:
            return None
        self._keep_refused(item)
        _log.warning("refused", source=source, **_named(item.data), reason=error.reason, field=error.field)
        key, data = ledger.key_bytes(self.name), item.data[:REJECTED_BYTES]
        return rejection(key, data, source=source, reason=error.reason, field=error.field), row

    def _alert(self, item: Item, source: str, packet: Packet) -> tuple[Record, Row] | None:
        topic, published, digest = packet.topic, self.entry.published, self._add(item)
        self.visits.add(packet.visit)
        row = Row.of_alert(self.name, packet.night, packet.candid, digest)
        before = self._publisher.index.precedent(row)
        if before.same and not before.own:
            self.entry.already += 1
            metrics.PRODUCER_ALREADY.inc()
            return None
        published[topic] = published.get(topic, 0) + 1
        if (new := packet.new_schema) is not None:
            self._count_new_schema(new, source)
        if before.same:
            return None
        headers = [
            (names.HEADER_CANDID, str(packet.candid).encode()),
            (names.HEADER_VISIT, packet.visit.encode()),
            (names.HEADER_SCHEMA, packet.schema_version.encode()),
            (names.HEADER_FORMAT, names.FORMAT_AVRO),
        ]
        if before.contents:
            self.versions += 1
            headers.append((names.HEADER_VERSION, str(before.contents + 1).encode()))
        return Record(topic, packet.key, item.data, headers), row

    def _count_new_schema(self, new: schemas.NewSchema, source: str) -> None:
        """Count a packet of a new schema that was accepted; the log has the first packet of each schema."""
        mark = new.schema.mark
        self.entry.new_schemas[mark] = self.entry.new_schemas.get(mark, 0) + 1
        self._pulse.warn_once(f"new schema accepted: {mark}", source=source, differs=str(new))


def _named(data: bytes) -> dict[str, str]:
    """The alert in a file that is refused, as far as it can be told."""
    with contextlib.suppress(PacketError):
        packet = Packet.trusted(data)
        return {"candid": str(packet.candid), "visit": packet.visit}
    return {}
