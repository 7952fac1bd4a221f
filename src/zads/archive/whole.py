"""Whether a night is whole: what was read of it is what the ledger says, and what the public site has.

The ledger (`zads.ledger`) is written in the transactions that publish the alerts, and it forgets them after
`ledger.KEEP_SECONDS`. So an alert counts as unknown only if it is younger than that. An alert that the ledger knows
must be there, whatever its age.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zads import ledger, reading
from zads.manifest import MODULUS, record_digest

#: Records that are older may be forgotten by the ledger before it is read.
RECENT_SECONDS = ledger.KEEP_SECONDS - 86_400.0

MARKS = np.dtype([("mark", "S14"), ("recent", "?")])
Marks = np.ndarray[Any, np.dtype[np.void]]
"""The alerts of an archive: `ledger.mark` of each, and whether the ledger must know it."""


@dataclass
class Stream:
    """The records of a topic: their number, and their digest as `zads.manifest` has it."""

    records: int = 0
    digest_sum: int = 0

    def add(self, key: bytes | None, value: bytes, headers: Mapping[str, bytes]) -> None:
        """Add one record."""
        self.records += 1
        self.digest_sum = (self.digest_sum + record_digest(key, value, headers)) % MODULUS


def marks(entries: np.ndarray[Any, np.dtype[np.void]]) -> Marks:
    """The marks of what is on a shelf (`Shelf.entries`)."""
    found = np.zeros(len(entries), MARKS)
    candids = entries["candid"].astype(">u8").view("u1").reshape(-1, 8)
    digests = np.ascontiguousarray(entries["sha256"]).view("u1").reshape(-1, 32)[:, :6]
    found["mark"] = np.ascontiguousarray(np.hstack([candids, digests])).view("S14").reshape(-1)
    found["recent"] = entries["recent"]
    return found


def missing(known: np.ndarray[Any, np.dtype[np.bytes_]], held: Sequence[Marks]) -> list[int]:
    """The candids of alerts that the ledger knows and no archive of the night holds with these bytes."""
    there = np.concatenate([np.zeros(0, "S14"), *(one["mark"] for one in held)])
    return _candids(known[~np.isin(known, there)])


def unknown(known: np.ndarray[Any, np.dtype[np.bytes_]], held: Sequence[Marks]) -> list[int]:
    """The candids of alerts that an archive holds, and that the ledger should know with these bytes, and does not."""
    recent = np.concatenate([np.zeros(0, "S14"), *(one["mark"][one["recent"]] for one in held)])
    return _candids(recent[~np.isin(recent, known)])


def _candids(found: np.ndarray[Any, np.dtype[np.bytes_]]) -> list[int]:
    # NumPy drops zeros at the end of bytes.
    return sorted({int.from_bytes(one.ljust(14, b"\0")[:8], "big") for one in found.tolist()})


def at_public(conf: Mapping[str, Any], group: str, topic: str, beat: Any) -> Stream | None:
    """The records of a topic at the public site; None if it has no such topic. Raises what `reading` raises."""
    partitions = reading.existing(conf, [topic])
    if not partitions:
        return None
    found = Stream()
    for message in reading.read_to_end(conf, reading.committed_ends(conf, partitions), group=group):
        found.add(message.key(), message.value() or b"", reading.headers(message))
        if found.records % 100 == 0:
            beat()
    return found
