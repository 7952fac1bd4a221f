"""How a worker and the process that runs its filters talk: two pipes of JSON frames, and shared memory for packets.

The first page of the shared memory says where the filters' process is, so that the worker can tell which filter and
which alert it was when the process hangs or dies.
"""

from __future__ import annotations

import json
import os
import select
import struct
from typing import Any

PAGE = 4096
AREA_BYTES = 48_000_000  # packets of one batch; the largest packet is a tenth of it
MAX_FRAME_BYTES = 64_000_000

# The first words of the page.
SEQUENCE, FILTER, ALERT = 0, 1, 2
# Values of ALERT that are no alert's number.
WHOLE_BATCH, LOADING = 0xFFFFFFFF, 0xFFFFFFFE
# Values of FILTER that are no filter's number.
NOBODY = 0xFFFFFFFF

_LENGTH = struct.Struct("!I")


class Broken(Exception):
    """The other side is gone, or talks nonsense."""


def send(descriptor: int, message: dict[str, Any]) -> None:
    """Write a frame. Raises Broken."""
    body = json.dumps(message, separators=(",", ":")).encode()
    data = memoryview(_LENGTH.pack(len(body)) + body)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise Broken(str(error)) from error


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
