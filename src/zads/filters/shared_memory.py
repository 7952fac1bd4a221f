"""The memory that a worker shares with the processes of filters.

The packets of a batch lie in one piece of memory for all owners of a group, which their processes can only read. Each
process has a second piece for itself. Its first page says what the process is doing, so that the worker knows which
filter and which alert it was when the process hangs or dies. After the page come the results of the batch: a result can
be read as soon as its filter is done, costs no system call, and survives the death of a later filter.

Nobody can change the size of either piece. Otherwise a filter could shorten one, and the kernel would kill a worker
that reads beyond its end.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Sequence

from zads.errors import ZadsError
from zads.filters import wire

PAGE = 4096
PACKETS_BYTES = 48_000_000  # packets of one batch; the largest packet is a tenth of it
RESULTS_BYTES = 16_000_000  # results of one batch; those that do not fit go through the pipe
PROCESS_BYTES = PAGE + RESULTS_BYTES

# The first words of a process's page. Within a batch no two calls have the same FILTER and ALERT: as long as both stay
# the same, the same call is running.
FILTER, ALERT, RESULTS = 0, 1, 2
# Values of ALERT that are not an alert's index: one call for all alerts, or no call (such as while a filter is loaded).
WHOLE_BATCH, NO_ALERT = 0xFFFFFFFF, 0xFFFFFFFE
# Value of FILTER while no filter runs.
NO_FILTER = 0xFFFFFFFF

_F_SEAL_FUTURE_WRITE = 0x10  # Linux 5.1; Python names it from 3.13 on


class Packets:
    """The worker's side of a batch's packets. `descriptor` is read-only; owners' processes get it."""

    def __init__(self) -> None:
        shared = os.memfd_create("zads-packets", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(shared, PACKETS_BYTES)
        self._area = mmap.mmap(shared, PACKETS_BYTES)
        try:
            # This mapping stays writable, and there can never be another one that is.
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL | _F_SEAL_FUTURE_WRITE
            fcntl.fcntl(shared, fcntl.F_ADD_SEALS, seals)
            self.descriptor = os.open(f"/proc/self/fd/{shared}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ZadsError(
                f"packets cannot be shared with the filters: {error.strerror}", hint="this needs Linux 5.1 and /proc"
            ) from error
        finally:
            os.close(shared)

    def put(self, packets: Sequence[bytes]) -> None:
        """Write the packets of a batch, one after the other, over those of the last batch."""
        position = 0
        for data in packets:
            self._area[position : position + len(data)] = data
            position += len(data)

    def close(self) -> None:
        """Release the memory."""
        self._area.close()
        os.close(self.descriptor)


def process_memory() -> int:
    """New memory for the page and the results of one process, whose size nobody can change; its descriptor."""
    shared = os.memfd_create("zads-process", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(shared, PROCESS_BYTES)
    fcntl.fcntl(shared, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return shared


class Results:
    """The results of a batch, one after the other in the shared memory; the word RESULTS is their length in bytes."""

    def __init__(self, words: memoryview[int], area: memoryview) -> None:
        self._words, self._area = words, area

    def clear(self) -> None:
        """Drop the results of the last batch."""
        self._words[RESULTS] = 0

    def add(self, result: wire.Result) -> bool:
        """Append a result; False if there is no room for it."""
        body = wire.encode(result) + b","
        start = self._words[RESULTS]
        if start + len(body) > len(self._area):
            return False
        self._area[start : start + len(body)] = body
        self._words[RESULTS] = start + len(body)  # only now can the worker see it
        return True

    def copy(self) -> bytes:
        """All results as a JSON list, copied once: the other side may go on writing. Raises wire.ProtocolError."""
        size = self._words[RESULTS]
        if size > len(self._area):
            raise wire.ProtocolError(f"results of {size} bytes")
        return b"[%b]" % bytes(self._area[: max(0, size - 1)])

    def release(self) -> None:
        """Release the memory."""
        self._area.release()
