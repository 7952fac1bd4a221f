"""What the producer has published, rebuilt from the topic ``zads_ledger``.

The topic has two kinds of records. Each is written in the same transaction as the packets that it describes:

NAME               an exposure's `LedgerEntry`: how far it has been read, its digest and counts, as JSON
NAME/alerts/DIGEST `Row`s: candid and content of each alert that was published in one transaction, 20 bytes each

The rows show whether an alert's bytes are already on their night's topic, from this or another exposure, and whether
its candid is there with other bytes. They are needed as long as the topics keep the alerts.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zads import names, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from zads.sources.files import Item

KEEP_SECONDS = 8 * 86400.0  # a day more than the topics keep alerts
_ROWS = "/alerts/"
_RECORD = np.dtype([("night", ">i4"), ("candid", ">u8"), ("content", ">u8")])
_Rows = np.ndarray[Any, np.dtype[np.void]]
#: Knuth's multiplier: spreads consecutive numbers over the whole table.
_SPREAD = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1
#: Places for the alerts of a night: the survey's largest night fills less than 70 %. Unused pages take no memory.
_PLACES = 1 << 21
_FULL = 0.7
REFUSALS = 0  # the "night" of refused files: each is refused once


@dataclass
class LedgerEntry:
    """What the ledger says of an exposure.

    `read`: how many of its files are settled; `digest`: SHA-256 (hex) over them; `published`: alerts per topic;
    `complete`: these are all its files. `new_schemas`: alerts per accepted new schema (`Schema.mark`). `already`: files
    whose bytes another exposure had published; `passed`: ignored leftovers. `indexed`: the exposure also has rows,
    which exposures of an older release lack.
    """

    read: int = 0
    digest: str = ""
    published: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    complete: bool = False
    new_schemas: dict[str, int] = field(default_factory=dict)
    already: int = 0
    passed: int = 0
    indexed: bool = False

    @classmethod
    def of(cls, value: bytes) -> LedgerEntry:
        """The entry in a record's value. Fields that a later release may have added are ignored."""
        known: Mapping[str, Any] = json.loads(value)
        return cls(**{name: known[name] for name in cls.__dataclass_fields__ if name in known})

    def copy(self) -> LedgerEntry:
        """A copy that does not change with this entry."""
        return LedgerEntry(**asdict(self))

    def record(self) -> bytes:
        """The value of the ledger's record."""
        return json.dumps(asdict(self), sort_keys=True).encode()


class Digest:
    """A SHA-256 over an exposure's files: their names, why they were refused, and their bytes."""

    def __init__(self, *, indexed: bool = True) -> None:
        self._hash = hashlib.sha256()
        self._indexed = indexed

    def add(self, item: Item) -> bytes:
        """Digest one file. Returns the SHA-256 of its bytes, which are read once."""
        content = hashlib.sha256(item.data).digest() if self._indexed else b""
        for part in (
            item.name.encode("utf-8", "surrogateescape"),
            item.refused.encode("utf-8", "surrogateescape"),
            content if self._indexed else item.data,
        ):
            self._hash.update(len(part).to_bytes(8, "big"))
            self._hash.update(part)
        return content or hashlib.sha256(item.data).digest()

    @property
    def hex(self) -> str:
        """The digest (hex) of the files taken so far."""
        return self._hash.hexdigest()


class Row(NamedTuple):
    """One alert: its night (YYYYMMDD as a number), candid, 48 bits of its content's digest and 16 of its exposure's."""

    night: int
    candid: int
    content: int

    @classmethod
    def of_alert(cls, exposure: str, night: str, candid: int, digest: bytes) -> Row:
        """An alert; `digest` is the SHA-256 of its bytes."""
        return cls(int(night), candid, _content(exposure, digest))

    @classmethod
    def of_refusal(cls, exposure: str, name: str, reason: str, digest: bytes) -> Row:
        """A file that was refused."""
        named = hashlib.sha256(f"{exposure}/{name}".encode("utf-8", "surrogateescape")).digest()
        content = hashlib.sha256(reason.encode("utf-8", "replace") + digest).digest()
        return cls(REFUSALS, int.from_bytes(named[:8], "big") >> 1 | 1, _content(exposure, content))


def _content(exposure: str, digest: bytes) -> int:
    owner = hashlib.sha256(exposure.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6] + owner[:2], "big")


class Precedent(NamedTuple):
    """What is known of an alert before it is published.

    `contents`: how many different bytes its candid has; `same`: these very bytes are among them; `own`: this exposure
    published them.
    """

    contents: int
    same: bool
    own: bool


class AlertIndex:
    """The rows of the remembered nights: 16 bytes an alert, in one hash table by candid for each night."""

    def __init__(self) -> None:
        self._nights: dict[int, _Table] = {}
        self._keys: dict[str, float] = {}

    def precedent(self, row: Row) -> Precedent:
        """What is known of an alert."""
        table = self._nights.get(row.night)
        if table is None:
            return Precedent(0, same=False, own=False)
        found = table.find(row.candid)
        digests = {content >> 16 for content in found}
        return Precedent(len(digests), same=row.content >> 16 in digests, own=row.content in found)

    def add(self, records: Iterable[tuple[str, _Rows, float]]) -> None:
        """Remember rows. `records`: the ledger's key, its rows, and when they were written (Unix seconds)."""
        records = list(records)
        self._keys |= {key: written for key, _, written in records}
        if not records:
            return
        rows = np.concatenate([one for _, one, _ in records])
        written = np.concatenate([np.full(len(one), when) for _, one, when in records])
        for night in np.unique(rows["night"]).tolist():
            chosen = rows["night"] == night
            table = self._nights.setdefault(night, _Table())
            table.insert(rows["candid"][chosen].astype(np.uint64), rows["content"][chosen].astype(np.uint64))
            table.newest = max(table.newest, float(written[chosen].max()))

    def expired(self, now: float | None = None) -> list[str]:
        """The keys of rows that are not needed any more."""
        limit = (time.time() if now is None else now) - KEEP_SECONDS
        return [key for key, written in self._keys.items() if written < limit]

    def forget(self, keys: Iterable[str], now: float | None = None) -> None:
        """Forget these keys, and the nights to which nothing has been added for KEEP_SECONDS."""
        limit = (time.time() if now is None else now) - KEEP_SECONDS
        for key in keys:
            self._keys.pop(key, None)
        self._nights = {night: table for night, table in self._nights.items() if table.newest >= limit}

    def __len__(self) -> int:
        """How many alerts (and refusals) are remembered."""
        return sum(table.count for table in self._nights.values())


class _Table:
    """A hash table of candids and contents, with open addressing and linear probing."""

    def __init__(self) -> None:
        self.count = 0
        self.newest = 0.0
        self._make(_PLACES)

    def _make(self, places: int) -> None:
        # The system allocates a page of memory only when it is first written.
        self._candids, self._contents = np.zeros(places, np.uint64), np.zeros(places, np.uint64)
        self._shift = 65 - places.bit_length()
        self._view = self._candids.data, self._contents.data

    def find(self, candid: int) -> list[int]:
        """The contents under a candid."""
        candids, contents = self._view
        mask = len(candids) - 1
        place = (candid * _SPREAD & _WORD) >> self._shift
        found = []
        while (held := candids[place]) != 0:
            if held == candid:
                found.append(contents[place])
            place = place + 1 & mask
        return found

    def insert(self, candids: np.ndarray[Any, Any], contents: np.ndarray[Any, Any]) -> None:
        """Add rows. In each round all rows that have no place yet try their next one."""
        if self.count + len(candids) > _FULL * len(self._candids):
            self._grow(self.count + len(candids))
        self.count += len(candids)
        mask = np.uint64(len(self._candids) - 1)
        places = candids * np.uint64(_SPREAD) >> np.uint64(self._shift)
        while len(candids):
            free = self._candids[places] == 0
            # If several rows want the same place, the first one gets it.
            _, first = np.unique(places, return_index=True)
            won = np.zeros(len(places), bool)
            won[first] = True
            won &= free
            self._contents[places[won]] = contents[won]
            self._candids[places[won]] = candids[won]
            candids, contents, places = candids[~won], contents[~won], places[~won]
            # The others try the next place: this one is taken now even if it was free.
            places = places + np.uint64(1) & mask

    def _grow(self, wanted: int) -> None:
        used = self._candids != 0
        candids, contents = self._candids[used], self._contents[used]
        places = len(self._candids)
        while wanted > _FULL * places:
            places *= 2
        self._make(places)
        self.count = 0
        self.insert(candids, contents)


def key_bytes(key: str) -> bytes:
    """A key of the ledger as bytes: the names of exposures may contain any bytes."""
    return key.encode("utf-8", "surrogateescape")


def has_rows(key: str) -> bool:
    """Whether a record with this key has rows, and not an entry."""
    return _ROWS in key


def unpacked(value: bytes) -> _Rows:
    """The rows in a record's value: an array with the fields night, candid and content of `Row`."""
    return np.frombuffer(value, _RECORD)


def rows_record(exposure: str, rows: Iterable[Row]) -> tuple[str, _Rows, bytes]:
    """Rows as a record of the ledger: its key, the rows and its value."""
    packed = np.array([tuple(row) for row in rows], _RECORD)
    value = packed.tobytes()
    return f"{exposure}{_ROWS}{hashlib.sha256(value).hexdigest()[:24]}", packed, value


def exposure_of(key: str) -> tuple[str, bool]:
    """The exposure that a key of the ledger belongs to, and whether its record has rows; else it is the entry."""
    exposure, separator, _ = key.rpartition(_ROWS)
    return (exposure, True) if separator else (key, False)


def rows_of(value: bytes) -> list[Row]:
    """The rows in a record's value. Raises ValueError if they cannot be read."""
    return [Row(*row) for row in np.frombuffer(value, _RECORD).tolist()]


class Ledger:
    """The entries and rows that have been read from the topic: `add` each of its records, then `finish`."""

    def __init__(self) -> None:
        self.entries: dict[str, LedgerEntry] = {}
        self.index = AlertIndex()
        self._rows: dict[str, tuple[str, _Rows, float]] = {}

    def add(self, key: str, value: bytes | None, written: float) -> None:
        """Add one record of the topic; `written` is its time (Unix seconds)."""
        if has_rows(key):
            self._rows.pop(key, None)
            if value is not None:
                self._rows[key] = key, unpacked(value), written
        elif value is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = LedgerEntry.of(value)

    def finish(self) -> None:
        """Index the rows of all records that were added, which is ten times faster than record by record."""
        self.index.add(self._rows.values())
        self._rows.clear()


def rows(
    conf: Mapping[str, Any], group: str, turn: Callable[[], object] = lambda: None
) -> Iterator[tuple[str, _Rows, float]]:
    """The ledger's records of rows in their order: key, rows (none: forget the key), when written (Unix seconds)."""
    for message in reading.read_own(conf, group, names.LEDGER_TOPIC, turn):
        key = message.key()
        if isinstance(key, bytes) and _ROWS.encode() in key:
            packed = np.frombuffer(message.value() or b"", _RECORD)
            yield key.decode("utf-8", "surrogateescape"), packed, message.timestamp()[1] / 1000


def alerts_of_night(
    conf: Mapping[str, Any], group: str, night: str, turn: Callable[[], object]
) -> np.ndarray[Any, np.dtype[np.bytes_]]:
    """The `mark` of each alert that the ledger knows of a night, 14 bytes each. Parameters and errors as of `read`."""
    found: dict[str, _Rows] = {}
    for key, packed, _ in rows(conf, group, turn):
        found.pop(key, None)
        if (chosen := packed["night"] == int(night)).any():
            found[key] = packed[chosen]
    return marks(found.values())


def marks(packed: Iterable[_Rows]) -> np.ndarray[Any, np.dtype[np.bytes_]]:
    """The `mark` of each of the rows."""
    # NumPy would swap the bytes of records that it joins.
    joined = np.frombuffer(b"".join(one.tobytes() for one in packed), "u1").reshape(-1, _RECORD.itemsize)
    # Behind the night: the candid, and of the content the bytes of the digest, without those of the exposure.
    return joined[:, 4:18].copy().view("S14").reshape(-1)


def mark(candid: int, digest: bytes) -> bytes:
    """What `alerts_of_night` has of an alert: its candid and 48 bits of the SHA-256 of its bytes."""
    return candid.to_bytes(8, "big") + digest[:6]


def read(conf: Mapping[str, Any], turn: Callable[[], object]) -> Ledger:
    """The ledger as it is now: waits until everything that was written to its topic before this call has been read.

    `turn` is called meanwhile; an exception from it ends the reading. Raises ZadsError if the topic cannot be read.
    """
    found = Ledger()
    for message in reading.read_own(conf, names.LEDGER_GROUP, names.LEDGER_TOPIC, turn):
        key = message.key()
        if isinstance(key, bytes):
            found.add(key.decode("utf-8", "surrogateescape"), message.value(), message.timestamp()[1] / 1000)
    found.finish()
    return found
