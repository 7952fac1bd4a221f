"""What the ledger of a new origin must say, so that nothing is doubled when it is delivered again, and nothing lost.

A backup's ledger says what had been published at the origin that is lost. Some of these alerts are still on the public
site; some are on no site any more, because their programme may not leave the origin, or because the mirror had not
copied them yet. And the public site may have alerts that were published after the backup. So the rule is:

- An alert that a site holds is in the ledger: it is not published again.
- An alert that no site holds is not in the ledger: when the pipeline delivers it again, it is published.
- But where an alert was published so long ago that its retention has ended, it stays in the ledger: it has expired, and
  was not lost.
- An exposure's entry stays if all of the exposure's rows do. Otherwise it is read again, file by file. This is also so
  where files were refused, since their refusals were on a topic of the origin.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException

from zads import kafka, ledger, names, reading
from zads.backup.records import LedgerRecord
from zads.errors import ZadsError
from zads.ledger import AlertIndex, Row

#: Rows that no record of the backup has get this exposure. A spool's exposure of that name does no harm: what the
#: topics hold is not published again, whichever exposure it comes in.
RESTORED = "restored"
_ROWS_OF_A_RECORD = 4000


class Held:
    """The alerts that sites hold. `add` them, then ask whether one is `in` it."""

    def __init__(self) -> None:
        self._index = AlertIndex()
        self._rows: list[Row] = []

    def add(self, rows: Iterable[Row]) -> None:
        """Add alerts; one that two sites hold counts once."""
        new = []
        seen = set[tuple[int, int, int]]()
        for row in rows:
            identity = (row.night, row.candid, row.content >> 16)
            if row not in self and identity not in seen:
                seen.add(identity)
                new.append(row)
        if new:
            _, packed, _ = ledger.rows_record(RESTORED, new)
            self._index.add([("", packed, 0.0)])
            self._rows += new

    def __contains__(self, row: Row) -> bool:
        return self._index.precedent(row).same

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def held_at(sites: Mapping[Any, Mapping[str, str]], topics: Mapping[Any, Collection[str]]) -> Held:
    """The alerts on the topics of sites (each by its client's properties). Raises ZadsError."""
    found = Held()
    for name, conf in sites.items():
        held(conf, sorted(topics[name]), found)
    return found


def held(conf: Mapping[str, str], topics: Collection[str], into: Held) -> None:
    """Add the alerts on a site's topics of nights. Reads every record, since only its bytes say which alert it is.

    Raises ZadsError.
    """
    batch: list[Row] = []
    try:
        for message in reading.read_topics(conf, topics):
            if (row := _row(message)) is not None:
                batch.append(row)
            if len(batch) >= _ROWS_OF_A_RECORD:
                into.add(batch)
                batch = []
    except KafkaException as error:
        raise kafka.failure(conf, error.args[0]) from error
    into.add(batch)


def _row(message: Any) -> Row | None:
    """The ledger's row of a record on a night's topic; None for a record that is no alert."""
    parts = names.parse_topic(message.topic() or "")
    candid = reading.headers(message).get(names.HEADER_CANDID, b"")
    if parts is None or not candid.isdigit():
        return None
    return Row.of_alert(RESTORED, parts[0], int(candid), hashlib.sha256(message.value() or b"").digest())


@dataclass
class Settled:
    """The records that the new ledger must have, with `kept` alerts; `lost`: alerts that no site holds, by exposure."""

    records: list[LedgerRecord] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)
    kept: int = 0


def settle(before: Collection[LedgerRecord], there: Held, *, retention: float, now: float) -> Settled:
    """Apply the rule to a backup's records. `retention`: seconds for which the sites keep alerts; `now`: Unix seconds.

    Raises ZadsError for a record that cannot be read.
    """
    found = Settled()
    known = Held()
    changed: set[str] = set()
    entries: list[tuple[str, LedgerRecord]] = []
    for record in before:
        exposure = _exposure(record)
        expired = record.written / 1000 < now - retention
        if not has_rows(record):
            entries.append((exposure, record))
            continue
        rows = _rows(record)
        keep = [row for row in rows if expired or row in there]
        known.add(keep)
        found.kept += len(keep)
        if len(keep) < len(rows):
            changed.add(exposure)
            kept = set(keep)
            if lost := sum(row.night != ledger.REFUSALS and row not in kept for row in rows):
                found.lost[exposure] = found.lost.get(exposure, 0) + lost
        if keep:
            found.records.append(record if len(keep) == len(rows) else _record(exposure, keep, record.written))
    found.records += [
        record
        for exposure, record in entries
        if exposure not in changed and (record.written / 1000 < now - retention or _by_its_rows(record))
    ]
    others = sorted(row for row in there if row not in known)  # in order, so that a repetition writes the same keys
    for start in range(0, len(others), _ROWS_OF_A_RECORD):
        part = others[start : start + _ROWS_OF_A_RECORD]
        found.records.append(_record(RESTORED, part, int(now * 1000)))
    found.kept += len(others)
    return found


def has_rows(record: LedgerRecord) -> bool:
    """Whether a record has rows; else it is an exposure's entry."""
    return ledger.exposure_of(record.key.decode("utf-8", "surrogateescape"))[1]


def _exposure(record: LedgerRecord) -> str:
    return ledger.exposure_of(record.key.decode("utf-8", "surrogateescape"))[0]


def _rows(record: LedgerRecord) -> list[Row]:
    try:
        return ledger.rows_of(record.value)
    except ValueError as error:
        raise ZadsError(f"the ledger's record {record.key!r} cannot be read: {error}") from error


def _record(exposure: str, rows: Collection[Row], written: int) -> LedgerRecord:
    key, _, value = ledger.rows_record(exposure, rows)
    return LedgerRecord(ledger.key_bytes(key), value, (), written)


def _by_its_rows(record: LedgerRecord) -> bool:
    """Whether an exposure's rows are all that its entry says was published.

    Exposures of an old release have no rows. Of alerts that came in another exposure before, that one has the rows.
    """
    try:
        entry = json.loads(record.value)
        return bool(entry.get("indexed")) and not entry.get("already")
    except (ValueError, AttributeError) as error:
        raise ZadsError(f"the ledger's record {record.key!r} cannot be read: {error}") from error


def missing(before: Collection[LedgerRecord], now: Collection[LedgerRecord]) -> list[Row]:
    """Alerts (no refusals) that the ledger of a backup has, and the ledger now has not."""
    known = Held()
    for record in now:
        if has_rows(record):
            known.add(_rows(record))
    return [
        row
        for record in before
        if has_rows(record)
        for row in _rows(record)
        if row.night != ledger.REFUSALS and row not in known
    ]
