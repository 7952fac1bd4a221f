"""Room on the disk of the archives: a run stops before the disk is full, since others need it too."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zads.errors import ZadsError

#: Bytes that are left free.
RESERVE = 1_000_000_000
_LOOK_BYTES = 64_000_000  # written between two looks


class NoRoomError(ZadsError):
    """There is too little room on the disk."""


class Room:
    """The disk of a directory, of which `reserve` bytes stay free."""

    def __init__(self, directory: Path, reserve: int = RESERVE) -> None:
        self._directory, self._reserve = directory, reserve
        self._unseen = _LOOK_BYTES

    def take(self, size: int) -> None:
        """Say that so many bytes are written next. Raises NoRoomError if the disk would be too full."""
        self._unseen += size
        if self._unseen >= _LOOK_BYTES:
            self._unseen = 0
            if (free := shutil.disk_usage(self._directory).free) < self._reserve + _LOOK_BYTES:
                raise self._full(free)

    def _full(self, free: int) -> NoRoomError:
        return NoRoomError(
            f"the disk of {self._directory} has {free / 1e9:.1f} GB free, and {self._reserve / 1e9:.1f} GB stay free",
            hint="enlarge it, or keep fewer nights (archive_nights); nothing was archived by halves",
        )

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn the system's error of a full disk into NoRoomError."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self._full(shutil.disk_usage(self._directory).free) from error
