"""Starts processes for filters: through the nursery in its own container, or on this computer.

A deployment has a nursery (`zads.filters.nursery`). `zads filter test` and the unit tests start the same process
themselves, with the same fence, as the user who runs them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from zads import schemas
from zads.errors import ZadsError
from zads.filters import packages

CONNECT_SECONDS = 60.0  # in which a nursery has to start
ANSWER_SECONDS = 30.0  # it answers within milliseconds; its machine may be busy
GRACE_SECONDS = 0.2  # in which a process that has closed its pipe ends
MAX_MESSAGE = 4096
_ENVIRONMENT = ("PATH", "LANG", "TZ", packages.VARIABLE, schemas.VARIABLE)


class StartedProcess(Protocol):
    """A process for filters."""

    def spent(self) -> float:
        """Seconds of processor time that it has taken. If it has ended: 0, or the last value."""

    def end(self, grace: float) -> int | None:
        """End it; returns its exit status (or minus its signal) if it ended within `grace` seconds, else None."""


class Launcher(Protocol):
    """Starts processes for filters."""

    def start(self, commands: int, answers: int, packets: int, memory: int) -> StartedProcess:
        """Start a process that gets these descriptors (see `child.serve`). Raises ZadsError."""

    def close(self) -> None:
        """End all processes that were started and are still there."""


class LocalLauncher:
    """Starts processes on this computer, as this user."""

    def start(self, commands: int, answers: int, packets: int, memory: int) -> StartedProcess:
        """Start a process that inherits nothing but these descriptors. Raises ZadsError."""
        given = (commands, answers, packets, memory)
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "zads.filters.child", *map(str, given)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=environment | SINGLE, pass_fds=given, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ZadsError(f"the process of the filters does not start: {error.strerror}") from error
        return _LocalProcess(process)

    def close(self) -> None:
        """Does nothing: each `Process` ends its own."""


#: One thread a process: many small filters gain nothing from more, and the fence forbids new ones.
SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1") | {
    "PYTHONDONTWRITEBYTECODE": "1"
}


class _LocalProcess:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._spent = 0.0

    def spent(self) -> float:
        # A process's clock has the number that clock_getcpuclockid(3) makes of its id.
        with contextlib.suppress(OSError):
            self._spent = time.clock_gettime(~self._process.pid << 3 | 2)
        return self._spent

    def end(self, grace: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(grace)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        return None


class NurseryLauncher:
    """Has processes started by the nursery that listens at a socket; all of them end when the connection does.

    Raises ZadsError if no nursery listens within CONNECT_SECONDS, and whenever it does not answer.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = self._connected()

    def _connected(self) -> socket.socket:
        until = time.monotonic() + CONNECT_SECONDS
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            connection.settimeout(ANSWER_SECONDS)
            try:
                connection.connect(str(self._path))
                return connection
            except OSError as error:
                connection.close()
                if time.monotonic() > until:
                    raise ZadsError(
                        f"no nursery listens at {self._path}: {error.strerror or error}",
                        hint="see the log of the unit zads-sandbox-GROUP@N",
                    ) from error
            time.sleep(0.1)

    def start(self, commands: int, answers: int, packets: int, memory: int) -> StartedProcess:
        """Start a process with a user of its own, in the nursery's container. Raises ZadsError."""
        process = self._ask({"start": True}, (commands, answers, packets, memory))
        return _NurserysProcess(self, process or 0)

    def end(self, process: int, grace: float) -> int | None:
        """End a process; see `StartedProcess.end`."""
        return self._ask({"end": process, "grace": grace})

    def spent(self, process: int) -> float:
        """Processor time of a process; see `StartedProcess.spent`."""
        return (self._ask({"spent": process}) or 0) / 1000

    def _ask(self, message: dict[str, object], descriptors: Sequence[int] = ()) -> int | None:
        try:
            socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors)
            answer = json.loads(self._socket.recv(MAX_MESSAGE))
        except (OSError, ValueError) as error:
            raise ZadsError(
                f"the nursery at {self._path} does not answer: {error}",
                hint="its unit starts it again",
            ) from error
        if "error" in answer:
            raise ZadsError(f"the nursery at {self._path} starts no process: {answer['error']}")
        value: int | None = answer["answer"]
        return value

    def close(self) -> None:
        """End all processes that were started and are still there."""
        self._socket.close()


class _NurserysProcess:
    def __init__(self, nursery: NurseryLauncher, process: int) -> None:
        self._nursery, self._process = nursery, process

    def spent(self) -> float:
        return self._nursery.spent(self._process)

    def end(self, grace: float) -> int | None:
        return self._nursery.end(self._process, grace)
