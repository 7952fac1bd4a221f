"""Writes files so that nobody sees half of one, and reads files safely whatever their size or kind."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Files that people and programs write for us are far smaller.
MOST_BYTES = 32_000_000
#: A pipe may be given in place of a file (`<(command)` in a shell): it must end within this time.
PIPE_SECONDS = 10.0
_PART = 1_000_000


def write(path: Path, content: str | bytes) -> Path:
    """Write under a hidden name beside the file, then rename; makes the directory. Returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    hidden.write_bytes(content.encode() if isinstance(content, str) else content)
    return hidden.replace(path)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read at any moment, in a directory that only the owner can enter.

    It is on the disk when this returns: a secret that others have been told must outlast a power cut.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    hidden.unlink(missing_ok=True)
    with os.fdopen(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    hidden.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a file or a pipe. Raises OSError, also if there are more than ``most``, or a pipe does not end."""
    until = time.monotonic() + PIPE_SECONDS
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    content = bytearray()
    try:
        while part := _part(handle, until):
            content += part
            if len(content) > most:
                raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    except TimeoutError:
        raise OSError(errno.ETIMEDOUT, f"nothing more came within {PIPE_SECONDS:.0f} s", str(path)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(handle)
    return bytes(content)


def _part(handle: int, until: float) -> bytes:
    """The bytes that can be read next; b"" at the end. Raises TimeoutError if that is not known in time."""
    # A pipe that nobody has opened for writing yet reads as if it had ended. Waiting for data tells these cases apart.
    ready = select.poll()
    ready.register(handle, select.POLLIN)
    while ready.poll(max(0.0, 1000 * (until - time.monotonic()))):
        with contextlib.suppress(BlockingIOError):
            return os.read(handle, _PART)
    raise TimeoutError


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a directory's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
