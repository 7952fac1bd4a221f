"""How a worker and the process that runs its filters talk: two pipes of JSON frames, and shared memory.

The first page of the shared memory says where the filters' process is, so that the worker can tell which filter and
which alert it was when the process hangs or dies. The packets of a batch follow, and then what the filters said of it:
it lies there as soon as a filter is done, costs no system call, and a later filter's death takes nothing of it away.
"""

from __future__ import annotations

import json
import os
import select
import struct
from typing import Any

PAGE = 4096
AREA_BYTES = 48_000_000  # packets of one batch; the largest packet is a tenth of it
RESULTS_BYTES = 16_000_000  # what filters said of one batch; what finds no room goes through the pipe
SHARED_BYTES = PAGE + AREA_BYTES + RESULTS_BYTES
MAX_FRAME_BYTES = 64_000_000

# The first words of the page. Within a batch no two calls have the same FILTER and ALERT: where these stay the same,
# one call goes on.
FILTER, ALERT, RESULTS = 0, 1, 2
# Values of ALERT that are no alert's number: all in one call, or no call (while a filter is loaded, say).
WHOLE_BATCH, NO_ALERT = 0xFFFFFFFF, 0xFFFFFFFE
# Values of FILTER that are no filter's number.
NOBODY = 0xFFFFFFFF

_LENGTH = struct.Struct("!I")
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Broken(Exception):
    """The other side is gone, or talks nonsense."""


def send(descriptor: int, message: dict[str, Any]) -> None:
    """Write a frame. Raises Broken."""
    body = _encode(message).encode()
    data = memoryview(_LENGTH.pack(len(body)) + body)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise Broken(str(error)) from error


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

    def read(self) -> list[dict[str, Any]]:
        """All that are there. Raises Broken."""
        size = self._words[RESULTS]
        try:
            found: list[dict[str, Any]] = json.loads(b"[%b]" % bytes(self._area[: max(0, size - 1)]))
        except ValueError as error:
            raise Broken(f"results that are not JSON: {error}") from error
        return found

    def release(self) -> None:
        """Let go of the shared memory."""
        self._area.release()


class Reader:
    """Frames from a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()

    def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next frame; None if none is complete after `timeout` seconds. Raises Broken."""
        while (message := self._take()) is None:
            if timeout is not None and not select.select([self._descriptor], [], [], timeout)[0]:
                return None
            try:
                data = os.read(self._descriptor, 1 << 20)
            except OSError as error:
                raise Broken(str(error)) from error
            if not data:
                raise Broken("closed")
            self._buffer += data
        return message

    def _take(self) -> dict[str, Any] | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_FRAME_BYTES:
            raise Broken(f"a frame of {length} bytes")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        try:
            message = json.loads(body)
        except ValueError as error:
            raise Broken(f"a frame that is not JSON: {error}") from error
        if not isinstance(message, dict):
            raise Broken("a frame that is no object")
        return message
