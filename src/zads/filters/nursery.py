"""Starts the processes of filters, and ends them: the one trusted process in the container where filters run.

It reads nothing that filters write. It speaks only to the worker, over a socket that only the worker's user may use.
NumPy and the package are imported here, once: a process for an owner is a copy of this one, and starts in milliseconds.

1. a worker connects. Each of its requests is one message: to start a process (with the descriptors of its pipes and
   memory), to end one, or to report its processor time;
2. a new process closes everything that it was not given, and becomes a user of its own. Then only this process can kill
   it, and it can neither see nor signal any other. It closes its fence (`zads.filters.fence`) before it loads a filter;
3. when the connection ends, the processes that were started for it end as well.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from zads import logs
from zads.errors import ZadsError
from zads.filters import child, fence
from zads.filters.launcher import MAX_MESSAGE

FIRST_USER = 0x7000_0000  # far above the ids that systems, containers and directories assign
USERS = 0x1_0000
DESCRIPTORS = 4  # commands, answers, packets, the process's own shared memory
MAX_PROCESSES = 256
LONGEST_GRACE = 1.0
_CREDENTIALS = struct.Struct("iii")


class Nursery:
    """Listens at a socket for one user; `serve` returns after `stop`. Raises ZadsError."""

    def __init__(self, path: Path, user: int) -> None:
        self._user = user
        self._next = 0
        self._living: dict[int, int] = {}  # the user's number, by process
        self._workers: dict[socket.socket, set[int]] = {}
        self._stop = False
        path.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        before = os.umask(0)  # the directory's mode and the peer's credentials decide who may connect
        try:
            self._listening.bind(str(path))
        except OSError as error:
            raise ZadsError(f"cannot listen at {path}: {error.strerror}") from error
        finally:
            os.umask(before)
        self._listening.listen(4)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)

    def stop(self, *_: object) -> None:
        """End all processes, and return from `serve`."""
        self._stop = True

    def serve(self) -> None:
        """Answer requests until `stop`."""
        while not self._stop:
            for key, _ in self._selector.select(0.5):
                if key.fileobj is self._listening:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and not self._answer(key.fileobj):
                    self._drop(key.fileobj)
        for connection in list(self._workers):
            self._drop(connection)

    def _accept(self) -> None:
        connection, _ = self._listening.accept()
        _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user != self._user:
            logs.line("warning", "refused a connection", user=user)
            connection.close()
            return
        connection.settimeout(1.0)
        self._workers[connection] = set()
        self._selector.register(connection, selectors.EVENT_READ)

    def _answer(self, connection: socket.socket) -> bool:
        """Do what a worker asks; False if it is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(connection, MAX_MESSAGE, DESCRIPTORS)
        except OSError:
            return False
        if not data:
            return False
        try:
            answer: dict[str, object] = {"answer": self._do(connection, json.loads(data), descriptors)}
        except (KeyError, OSError, TypeError, ValueError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        try:
            connection.send(json.dumps(answer).encode())
        except OSError:
            return False
        return True

    def _do(self, connection: socket.socket, request: dict[str, object], descriptors: list[int]) -> int | None:
        processes = self._workers[connection]
        if "start" in request:
            if len(descriptors) != DESCRIPTORS or len(self._living) >= MAX_PROCESSES:
                raise ValueError(f"{len(descriptors)} descriptors, {len(self._living)} processes")
            process = self._start(descriptors)
            processes.add(process)
            return process
        process = int(str(request["spent" if "spent" in request else "end"]))
        if process not in processes:
            raise ValueError(f"no process {process}")
        if "spent" in request:
            return _spent(process)
        grace = float(str(request["grace"]))
        processes.discard(process)
        return self._end(process, min(grace, LONGEST_GRACE))

    def _start(self, descriptors: list[int]) -> int:
        taken = set(self._living.values())
        while (number := self._next % USERS) in taken:
            self._next += 1
        self._next += 1
        parent, process = os.getpid(), os.fork()
        if process == 0:
            _become(FIRST_USER + number, descriptors, parent)  # never returns
        self._living[process] = number
        return process

    def _end(self, process: int, grace: float) -> int | None:
        """End a process and free its user. Returns its exit status if it ended within `grace` seconds, else None."""
        until = time.monotonic() + grace
        while not (ended := os.waitpid(process, os.WNOHANG))[0] and (left := until - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, left)
        status = os.waitstatus_to_exitcode(ended[1]) if ended[0] else None
        if status is None:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        del self._living[process]
        return status

    def _drop(self, connection: socket.socket) -> None:
        """End the processes of a worker that is gone."""
        self._selector.unregister(connection)
        connection.close()
        for process in self._workers.pop(connection):
            self._end(process, 0.0)


def _spent(process: int) -> int:
    """Milliseconds of processor time that a process has taken; 0 if it has ended."""
    try:
        # A process's clock has the number that clock_getcpuclockid(3) makes of its id.
        return int(1000 * time.clock_gettime(~process << 3 | 2))
    except OSError:
        return 0


def _become(user: int, descriptors: list[int], parent: int) -> None:
    """Turn this copy of the nursery into a process for filters. Never returns."""
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        # Standard input and outputs lead nowhere. The descriptors that the worker gave become 3, 4, 5 and 6.
        nowhere = os.open("/dev/null", os.O_RDWR)
        high = [os.dup2(given, 100 + place) for place, given in enumerate(descriptors)]
        for standard in range(3):
            os.dup2(nowhere, standard)
        given = [os.dup2(descriptor, 3 + place) for place, descriptor in enumerate(high)]
        os.closerange(3 + DESCRIPTORS, os.sysconf("SC_OPEN_MAX"))
        # When memory is short, the kernel kills this process before the nursery.
        Path("/proc/self/oom_score_adj").write_text("1000")
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        fence.die_with_parent()
        os.environ.clear()
        if os.getppid() == parent:
            child.serve(*given)
            status = 0
    finally:
        os._exit(status)


def main(path: Path, user: int) -> None:
    """Serve at a socket for a user until SIGTERM. Raises ZadsError."""
    fence.hide()
    nursery = Nursery(path, user)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, nursery.stop)
    child.prepare()
    gc.collect()
    gc.freeze()  # so that collections in the copies do not touch, and thereby copy, the memory that all share
    nursery.serve()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]))
    except ZadsError as problem:
        logs.line("critical", str(problem))
        sys.exit(1)
