"""Writes packets as a tar.gz that is the same for the same packets, and reads it back.

Members are written in the order in which they are given, as ustar headers with the same owner, mode and time; the gzip
header has no name and no time. So the bytes depend on the packets and on the version of zlib only.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from zads.archive.room import Room
from zads.errors import ZadsError
from zads.sources import files
from zads.sources.tar import BLOCK

_LEVEL = 6  # packets shrink to 69 % (level 1: 70 %), at 66 MB/s of a 2020 processor's core
_SYNC_BYTES = 256_000_000  # written between two syncs: the last one is short then
_READ_BYTES = 1_000_000
_BEAT_PACKETS = 50


class DamagedArchiveError(ZadsError):
    """An archive does not hold what was written to it."""


class _Hashed:
    """A file that knows the SHA-256 of what was written to it, and syncs it from time to time."""

    def __init__(self, file: IO[bytes], room: Room) -> None:
        self._file, self._room = file, room
        self._hash, self.size, self._unsynced = hashlib.sha256(), 0, 0

    def write(self, data: bytes) -> int:
        self._room.take(len(data))
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)
        self._unsynced += len(data)
        if self._unsynced > _SYNC_BYTES:
            self.sync()
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._unsynced = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def write(
    path: Path, packets: Iterable[tuple[str, bytes]], seconds: float, room: Room, beat: Callable[[], object]
) -> tuple[int, str]:
    """Write packets (name and bytes of each) with this time (Unix seconds), and sync them.

    `beat` is called from time to time. Returns the size of the file and its SHA-256 (hexadecimal).
    Raises NoRoomError if the disk is too full.
    """
    with room.guarded(), path.open("wb") as file:
        hashed = _Hashed(file, room)
        with gzip.GzipFile("", "wb", _LEVEL, hashed, mtime=0) as packed:
            for number, (name, data) in enumerate(packets):
                packed.write(_header(name, len(data), seconds))
                packed.write(data)
                packed.write(bytes(-len(data) % BLOCK))
                if number % _BEAT_PACKETS == 0:
                    beat()
            packed.write(bytes(2 * BLOCK))
        hashed.sync()
        # What is read back comes from the disk, and not from memory.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return hashed.size, hashed.sha256


def _header(name: str, size: int, seconds: float) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, int(seconds)
    return member.tobuf(tarfile.USTAR_FORMAT)


def read(path: Path, beat: Callable[[], object]) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of an archive's packets. Raises DamagedArchiveError if it is not whole."""
    try:
        for number, item in enumerate(files.read(path)):
            if item.refused or item.passed:
                raise DamagedArchiveError(f"{path.name}: {item.name}: {item.refused or item.passed}")
            yield item.name, item.data
            if number % _BEAT_PACKETS == 0:
                beat()
    except files.SourceError as error:
        raise DamagedArchiveError(error.message) from error


def sha256(path: Path, beat: Callable[[], object]) -> str:
    """The SHA-256 (hexadecimal) of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        for number, part in enumerate(iter(lambda: file.read(_READ_BYTES), b"")):
            found.update(part)
            if number % _BEAT_PACKETS == 0:
                beat()
    return found.hexdigest()


def digest_of(data: bytes) -> bytes:
    """The SHA-256 of a packet's bytes."""
    return hashlib.sha256(data).digest()
