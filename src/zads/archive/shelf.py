"""Packets of a night on disk, in the order in which they came, and handed back in the order of their candids.

Kafka delivers a night's partitions side by side, so its records come roughly in the order of observation, as candids
do: reading them back by candid is nearly sequential. The file has no name, so nothing of it is left if the program
dies. In memory a packet takes 57 bytes.
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from zads.archive.room import Room
from zads.errors import ZadsError

_ENTRY = np.dtype(
    [("candid", "<u8"), ("version", "<u4"), ("recent", "?"), ("begin", "<u8"), ("size", "<u4"), ("sha256", "S32")]
)
_PACK = struct.Struct("<QI?QI32s").pack  # the same, for one packet
_Entries = np.ndarray[Any, np.dtype[np.void]]
_TOGETHER = 10_000
#: A candid has at most 19 digits, which 63 bits hold.
MOST_CANDID = (1 << 63) - 1


class Shelved(NamedTuple):
    """A packet: its candid, its version (2 for an alert's second contents), where it is, and the SHA-256 of its bytes.

    `begin` and `size` are in bytes; `data` has its bytes, if they were read.
    """

    candid: int
    version: int
    begin: int
    size: int
    sha256: bytes
    data: bytes = b""


class Shelf:
    """Add packets, then `close_entry`, then iterate. Raises NoRoomError if the disk is too full."""

    def __init__(self, directory: Path, room: Room) -> None:
        self._room = room
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed by __exit__
        self._position = 0
        self._packed = bytearray()
        self._added: _Entries | None = None

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._file.close()

    def add(self, candid: int, version: int, data: bytes, *, recent: bool) -> bytes:
        """Put a packet on the shelf; `recent`: the ledger still knows it. Returns the SHA-256 of its bytes."""
        digest = hashlib.sha256(data).digest()
        self._room.take(len(data))
        with self._room.guarded():
            self._file.write(data)
        self._packed += _PACK(candid, version, recent, self._position, len(data), digest)
        self._position += len(data)
        return digest

    def entries(self) -> _Entries:
        """What was added, by candid and version, each packet once. Call it when nothing more is added.

        Raises ZadsError if a version of an alert has two contents.
        """
        if self._added is None:
            with self._room.guarded():
                self._file.flush()
            found = np.frombuffer(bytes(self._packed), _ENTRY)
            self._packed.clear()
            # Of equal packets a recent one comes first, and stays.
            order = np.lexsort((~found["recent"], found["sha256"], found["version"], found["candid"]))
            self._added = _once(found[order])
        return self._added

    def __iter__(self) -> Iterator[Shelved]:
        for one in self.digests():
            yield one._replace(data=os.pread(self._file.fileno(), one.size, one.begin))

    def digests(self) -> Iterator[Shelved]:
        """The packets in their order, without their bytes."""
        entries = self.entries()
        for first in range(0, len(entries), _TOGETHER):
            # As Python's objects, all of a night would take half a gigabyte.
            for candid, version, _, begin, size, digest in entries[first : first + _TOGETHER].tolist():
                # NumPy drops zeros at the end of bytes.
                yield Shelved(candid, version, begin, size, digest.ljust(32, b"\0"))


def _once(found: _Entries) -> _Entries:
    """Entries in their order without those that repeat the one before. Raises ZadsError for two different contents."""
    same = np.zeros(len(found), bool)
    same[1:] = (found["candid"][1:] == found["candid"][:-1]) & (found["version"][1:] == found["version"][:-1])
    other = np.zeros(len(found), bool)
    other[1:] = same[1:] & (found["sha256"][1:] != found["sha256"][:-1])
    if other.any():
        candids = sorted(set(found["candid"][other].tolist()))
        raise ZadsError(
            f"{len(candids)} alerts have two contents under one version (candid {candids[0]}, …)",
            hint="zads audit and zads trace show where they come from",
        )
    return found[~same]
