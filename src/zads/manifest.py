"""What a topic holds, counted and digested.

A topic's digest does not depend on the order of its records, since a mirror keeps order only within a partition. It is
the sum modulo 2^256 of SHA-256 over each record's key, the SHA-256 of its value, and the headers that ZADS gives it. It
is a sum and not an exclusive or, because in that a record that is published twice would vanish (Bellare & Micciancio
1997, AdHash; the digest protects against faults, not against forgers).

An alert has one content. If the survey processes it again, the header ``version`` must mark the other contents as later
versions. The same content twice is always a fault.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zads import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DIGESTED_HEADERS = names.ALERT_HEADERS
MODULUS = 1 << 256

_Integers = np.ndarray[Any, np.dtype[np.int64]]
_WORDS = struct.Struct(">4q").unpack
_NUMBER = re.compile("[0-9]{1,19}").fullmatch
Identity = tuple[str, str]
"""One alert of one exposure: its candid and its visit, as the headers spell them."""


class Alerts:
    """The alerts of a topic's records in 32 bytes each: a night of a million of them fits into memory.

    A row has the candid, 64 bits of a SHA-256 of the alert's identity, 64 bits of one of its identity and bytes, and
    the first 48 bits of the SHA-256 of its bytes, which is what the ledger knows of it. That is enough to find
    accidents; a topic's digest covers everything.
    """

    def __init__(self) -> None:
        self._rows = array("q")

    def add(self, alert: Identity, content: bytes) -> None:
        """Add a record of an alert; `content` is the SHA-256 of its bytes."""
        candid, visit = alert
        name = hashlib.sha256(f"{len(candid)}:{candid}{visit}".encode()).digest()
        both = hashlib.sha256(name + content).digest()
        # The candid is for people to read.
        number = int(candid) if _NUMBER(candid) and int(candid) < 1 << 63 else 0
        self._rows.extend(_WORDS(struct.pack(">q8s8s2x6s", number, name[:8], both[:8], content[:6])))

    @property
    def _columns(self) -> _Integers:
        """Candids, alerts, contents and digests, a row each."""
        return np.array(self._rows, np.int64).reshape(-1, 4).T

    def __len__(self) -> int:
        """How many different alerts there are."""
        return len(np.unique(self._columns[1]))

    @property
    def candids(self) -> int:
        """How many different candids there are."""
        return len(np.unique(self._columns[0]))

    @property
    def contents(self) -> int:
        """How many different contents there are."""
        return len(np.unique(self._columns[2]))

    @property
    def duplicates(self) -> int:
        """How many records repeat another one's alert and bytes."""
        return len(self._rows) // 4 - self.contents

    @property
    def digests(self) -> tuple[_Integers, _Integers]:
        """The candid and the first 48 bits of the SHA-256 of the bytes, of each record."""
        columns = self._columns
        return columns[0], columns[3]

    def contents_without(self, others: Alerts) -> int:
        """How many more contents than alerts there are, not counting the contents that `others` have."""
        _, alerts, contents, _ = self._columns[:, ~_in(self._columns, [others], 2)]
        return len(np.unique(contents)) - len(np.unique(alerts))

    def missing_in(self, others: Iterable[Alerts]) -> list[int]:
        """The candids of the alerts that are not in any of the others."""
        columns = self._columns
        return _candids(columns[:, ~_in(columns, others, 1)])

    def altered_in(self, others: Sequence[Alerts]) -> list[int]:
        """The candids of the alerts that another has, though with other bytes."""
        columns = self._columns
        return _candids(columns[:, _in(columns, others, 1) & ~_in(columns, others, 2)])


def _in(columns: _Integers, others: Iterable[Alerts], row: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    found = np.zeros(columns.shape[1], bool)
    for one in others:
        found |= np.isin(columns[row], one._columns[row])
    return found


def _candids(columns: _Integers) -> list[int]:
    _, first = np.unique(columns[1], return_index=True)
    return sorted(columns[0, first].tolist())


@dataclass
class TopicManifest:
    """What one topic holds.

    ``size`` is in bytes of values; ``first`` is when the oldest record arrived (Unix seconds; infinite without one);
    ``digest_sum`` is the digest as a number; ``marked`` are the alerts that are marked as later versions; ``ends``
    gives for each partition the offset behind its last record (transaction markers may follow).
    """

    topic: str
    records: int = 0
    size: int = 0
    first: float = math.inf
    digest_sum: int = 0
    alerts: Alerts = field(default_factory=Alerts, repr=False)
    marked: Alerts = field(default_factory=Alerts, repr=False)
    ends: dict[int, int] = field(default_factory=dict, repr=False)

    def add(self, key: bytes | None, value: bytes, headers: Mapping[str, bytes]) -> None:
        """Add one record."""
        # The bytes of an alert are many: they are digested once.
        content, alert = hashlib.sha256(value).digest(), identity(headers)
        self.records += 1
        self.size += len(value)
        self.digest_sum = (self.digest_sum + record_digest(key, content, headers)) % MODULUS
        self.alerts.add(alert, content)
        if names.HEADER_VERSION in headers:
            self.marked.add(alert, content)

    @property
    def duplicates(self) -> int:
        """How many records repeat another one's alert and bytes."""
        return self.alerts.duplicates

    @property
    def versions(self) -> int:
        """How many contents are marked as a later version of their alert."""
        return self.marked.contents

    @property
    def conflicts(self) -> int:
        """The number of alerts' contents after the first, without those that are marked as later versions."""
        return self.alerts.contents_without(self.marked)

    @property
    def digest(self) -> str:
        """The topic's digest as 64 hexadecimal digits; all zero when the topic is empty."""
        return f"{self.digest_sum:064x}"

    @property
    def candids(self) -> int:
        """How many different candids the topic holds."""
        return self.alerts.candids


def record_digest(key: bytes | None, content: bytes, headers: Mapping[str, bytes]) -> int:
    """SHA-256 over a record's key, the SHA-256 of its value (`content`) and ZADS headers, as a number below 2^256.

    Each part is preceded by its length, so that no two different records digest the same text; a missing header
    differs from an empty one. The header ``version`` counts where there is one.
    """
    parts = [
        b"-" if part is None else b"%d:%s" % (len(part), part)
        for part in (key, content, *map(headers.get, DIGESTED_HEADERS))
    ]
    if (version := headers.get(names.HEADER_VERSION)) is not None:
        parts.append(b"version%d:%s" % (len(version), version))
    return int.from_bytes(hashlib.sha256(b"".join(parts)).digest(), "big")


def identity(headers: Mapping[str, bytes]) -> Identity:
    """The alert that a record is about, by its headers; empty texts where a header is missing."""
    candid, visit = headers.get(names.HEADER_CANDID, b""), headers.get(names.HEADER_VISIT, b"")
    return candid.decode(errors="replace"), visit.decode(errors="replace")
