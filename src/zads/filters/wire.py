"""How a worker and the process of an owner's filters talk: two pipes of frames, and shared memory.

The packets of a batch lie in one piece of memory for all owners of a group, which their processes can only read. Each
process has a second piece for itself: its first page says where the process is, so that the worker can tell which
filter and which alert it was when the process hangs or dies; after it comes what the filters said of the batch. That
is there as soon as a filter is done, costs no system call, and a later filter's death takes nothing of it away.

Neither piece can be made shorter or longer by anybody: a worker that reads where nothing is any more would be killed.
What a frame must be is said in `zads.filters.verdicts`.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
from collections.abc import Sequence
from typing import Any

from zads.errors import ZadsError

PAGE = 4096
AREA_BYTES = 48_000_000  # packets of one batch; the largest packet is a tenth of it
RESULTS_BYTES = 16_000_000  # what filters said of one batch; what finds no room goes through the pipe
TOLD_BYTES = PAGE + RESULTS_BYTES
MAX_FRAME_BYTES = 8_000_000  # 500 alerts, each with the longest annotations or the longest reason
MAX_COMMAND_BYTES = 64_000_000

# Characters of what is told.
MAX_ANNOTATIONS = 4_096  # of one alert, as JSON
MAX_REASON = 2_000
MAX_OUTPUT = 2_000
MAX_DOC = 20_000
MAX_NAME = 300  # of a class, of a field's path
MAX_DEPTH = 100  # of annotations
MAX_FIELDS = 1_000
MAX_CAP = 1_000_000

# Limits are of processor time. A process that waits instead, for nothing comes that it could wait for, or that others
# keep from running, has so many times as long.
PATIENCE = 4

# The first words of a process's page. Within a batch no two calls have the same FILTER and ALERT: where these stay the
# same, one call goes on.
FILTER, ALERT, RESULTS = 0, 1, 2
# Values of ALERT that are no alert's number: all in one call, or no call (while a filter is loaded, say).
WHOLE_BATCH, NO_ALERT = 0xFFFFFFFF, 0xFFFFFFFE
# Values of FILTER that are no filter's number.
NOBODY = 0xFFFFFFFF

_F_SEAL_FUTURE_WRITE = 0x10  # Linux 5.1; Python names it from 3.13 on
_LENGTH = struct.Struct("!I")
_encode = json.JSONEncoder(separators=(",", ":")).encode


def late(begun: tuple[float, float], now: tuple[float, float], limit: float) -> bool:
    """Whether a limit is exceeded, by two readings of the processor's clock and of the wall's."""
    return now[0] - begun[0] > limit or now[1] - begun[1] > PATIENCE * limit


class Broken(Exception):
    """The other side is gone, or talks nonsense."""


def frame(message: dict[str, Any]) -> bytes:
    """A message as it goes through a pipe."""
    body = _encode(message).encode()
    return _LENGTH.pack(len(body)) + body


def send(descriptor: int, message: dict[str, Any]) -> None:
    """Write a frame. Raises Broken."""
    data = memoryview(frame(message))
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise Broken(str(error)) from error


class Packets:
    """The worker's end of a batch's packets: `descriptor` is for reading only, and is what owners' processes get."""

    def __init__(self) -> None:
        shared = os.memfd_create("zads-packets", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(shared, AREA_BYTES)
        self._area = mmap.mmap(shared, AREA_BYTES)
        try:
            # This mapping stays writable; no other ever will be.
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL | _F_SEAL_FUTURE_WRITE
            fcntl.fcntl(shared, fcntl.F_ADD_SEALS, seals)
            self.descriptor = os.open(f"/proc/self/fd/{shared}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ZadsError(
                f"packets cannot be shared with the filters: {error.strerror}", hint="it takes Linux 5.1 and /proc"
            ) from error
        finally:
            os.close(shared)

    def put(self, alerts: Sequence[bytes]) -> None:
        """Write the packets of a batch, one after the other, in place of the last one's."""
        position = 0
        for data in alerts:
            self._area[position : position + len(data)] = data
            position += len(data)

    def close(self) -> None:
        """Let go of it."""
        self._area.close()
        os.close(self.descriptor)


def told_memory() -> int:
    """New memory for the words and results of one process, whose size nobody can change; its descriptor."""
    shared = os.memfd_create("zads-told", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(shared, TOLD_BYTES)
    fcntl.fcntl(shared, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return shared


class Results:
    """What filters said of a batch, one after the other in the shared memory; RESULTS says how many bytes it has."""

    def __init__(self, words: memoryview[int], area: memoryview) -> None:
        self._words, self._area = words, area

    def clear(self) -> None:
        """Forget those of the batch before."""
        self._words[RESULTS] = 0

    def add(self, message: dict[str, Any]) -> bool:
        """Append one; False if there is no room."""
        body = _encode(message).encode() + b","
        start = self._words[RESULTS]
        if start + len(body) > len(self._area):
            return False
        self._area[start : start + len(body)] = body
        self._words[RESULTS] = start + len(body)  # from here on it is there
        return True

    def copied(self) -> bytes:
        """All that are there, as a JSON list: copied once, since the other side may go on writing. Raises Broken."""
        size = self._words[RESULTS]
        if size > len(self._area):
            raise Broken(f"results of {size} bytes")
        return b"[%b]" % bytes(self._area[: max(0, size - 1)])

    def release(self) -> None:
        """Let go of the shared memory."""
        self._area.release()


class Reader:
    """The bodies of the frames that come through a pipe."""

    def __init__(self, descriptor: int, largest: int) -> None:
        self._descriptor, self._largest = descriptor, largest
        self._buffer = bytearray()

    def next(self) -> bytes | None:
        """The next frame that is there whole; None if there is none yet. Raises Broken."""
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self._largest:
            raise Broken(f"a frame of {length} bytes")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return body

    def fill(self) -> int:
        """Read what the pipe has, waiting if it has nothing and waits for its writer; how many. Raises Broken."""
        try:
            data = os.read(self._descriptor, 1 << 20)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Broken(str(error)) from error
        if not data:
            raise Broken("closed")
        self._buffer += data
        return len(data)

    def receive(self) -> dict[str, Any]:
        """The next message of somebody who is trusted, however long it takes. Raises Broken."""
        while (body := self.next()) is None:
            self.fill()
        message: dict[str, Any] = json.loads(body)
        return message
