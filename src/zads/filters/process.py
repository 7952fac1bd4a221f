"""The worker's side of the process in which an owner's filters run: commands, answers, and time limits.

Whatever waits for the process is a generator that yields while it waits, so that owners run beside each other.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from zads.errors import ZadsError
from zads.filters import shared_memory, verdicts, wire
from zads.filters.launcher import GRACE_SECONDS, Launcher

BATCH_SECONDS = 5.0  # of one filter, for a batch
KILL_GRACE = 1.0  # beyond a filter's limit, in which Python may stop it
ATTEMPT_SECONDS = 15.0  # of all filters of an owner for a batch, in one process
OWNER_SECONDS = 60.0  # the same with all restarts, by the clock on the wall
LOAD_SECONDS = 20.0  # of one filter's file, imports included
START_SECONDS = 60.0  # of the process itself, on a busy machine
LOOK_SECONDS = 0.05  # most batches end before the worker has to look what a process is doing

Steps = Generator[None, None, None]


class ProcessLost(Exception):
    """The process has ended, or has to be: the filter that ran (or NO_FILTER), the alert that it judged, and why."""

    def __init__(self, filter_index: int, alert: int, reason: str) -> None:
        super().__init__(reason)
        self.filter_index, self.alert, self.reason = filter_index, alert, reason


class Process:
    """A process for an owner's filters. Call `end` at the end. Raises ZadsError if it cannot be started."""

    def __init__(self, launcher: Launcher, packets: shared_memory.Packets) -> None:
        commands, self._commands = os.pipe()
        self.descriptor, answers = os.pipe()
        shared = shared_memory.process_memory()
        self._memory = mmap.mmap(shared, shared_memory.PROCESS_BYTES)
        self._view = memoryview(self._memory)
        self._words: memoryview[int] = self._view[: shared_memory.PAGE].cast("I")
        self._words[shared_memory.FILTER] = shared_memory.NO_FILTER
        self.results = shared_memory.Results(self._words, self._view[shared_memory.PAGE :])
        self._reader = wire.Reader(self.descriptor, wire.MAX_FRAME_BYTES)
        os.set_blocking(self._commands, False)
        os.set_blocking(self.descriptor, False)
        try:
            self._running = launcher.start(commands, answers, packets.descriptor, shared)
        except ZadsError:
            self._release()
            raise
        finally:
            for descriptor in (commands, answers, shared):
                os.close(descriptor)
        self._limits: dict[int, float] = {}  # seconds of one call, by filter
        # Processor time and clock at the last command; the processor time is asked for when somebody first looks.
        self._commanded: tuple[float | None, float] = (None, time.monotonic())
        self._ended = False

    def start(self, deadline: float) -> Steps:
        """Wait until the process is ready. Raises ProcessLost."""
        try:
            verdicts.ready((yield from self.receive(deadline, START_SECONDS)))
        except wire.ProtocolError as error:
            raise ProcessLost(shared_memory.NO_FILTER, shared_memory.NO_ALERT, str(error)) from error

    def load(
        self,
        filters: Sequence[tuple[int, str]],
        memory_bytes: int,
        trace: bool,
        take: Callable[[wire.Declaration], None],
        deadline: float,
    ) -> Steps:
        """Have filters (index and place) loaded behind the fence; `take` gets what each declares.

        Raises ProcessLost, or ZadsError if there is no fence.
        """
        directories = sorted({str(Path(place.partition(":")[0]).absolute().parent) for _, place in filters})
        command = wire.Load(list(filters), trace, LOAD_SECONDS, memory_bytes, directories)
        yield from self.command(command, deadline)
        body = yield from self.receive(deadline, START_SECONDS)
        fence = self._understood(body, wire.FenceState)
        if fence.error:
            raise ZadsError(fence.error)
        for index, _ in filters:
            body = yield from self.receive(deadline, LOAD_SECONDS + KILL_GRACE)
            declaration = self._understood(body, wire.Declaration)
            if declaration.filter != index:
                raise ProcessLost(index, shared_memory.NO_ALERT, "it speaks of another filter than was loaded")
            take(declaration)
            if declaration.spoilt:
                raise ProcessLost(index, shared_memory.NO_ALERT, declaration.error)
            self._limits[index] = declaration.time_limit

    def _understood(self, body: bytes, kind: type[verdicts.Checked]) -> verdicts.Checked:
        try:
            answer = verdicts.loading(body)
        except wire.ProtocolError as error:
            raise self.give_up(str(error)) from error
        if not isinstance(answer, kind):
            raise self.give_up("it answers something else than was asked")
        return answer

    def command(self, command: wire.Command, deadline: float) -> Steps:
        """Send a command. Raises ProcessLost."""
        self.results.clear()
        self._commanded = (None, time.monotonic())
        data = memoryview(wire.frame(command))
        while data:
            try:
                data = data[os.write(self._commands, data) :]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise self.give_up("it does not listen") from None
                yield
            except OSError as error:
                raise self.give_up(str(error)) from error

    def receive(self, deadline: float, seconds: float | None) -> Generator[None, None, bytes]:
        """The next answer, unchecked. Raises ProcessLost if it does not come in time.

        It has to come by `deadline`, and within `seconds`; without `seconds`, before a filter exceeds its own limits.
        """
        begun = time.monotonic()
        watch = _Watch()
        while True:
            try:
                while (body := self._reader.next()) is None and self._reader.fill():
                    pass
            except wire.ProtocolError as error:
                raise self.give_up(str(error)) from error
            if body is not None:
                return body
            now = time.monotonic()
            if now > deadline:
                raise self.give_up(f"its owner's filters took more than {OWNER_SECONDS:g} s for a batch")
            if seconds is not None and now - begun > seconds:
                raise self.give_up(f"it did not come to an end within {seconds:g} s")
            if seconds is None and now - begun > LOOK_SECONDS:
                self._check_limits(watch, now)
            yield

    def _check_limits(self, watch: _Watch, now: float) -> None:
        """Raises ProcessLost if the filters' time for the batch, or the running filter's, is used up."""
        both = (self.spent(), now)
        processor, clock = self._commanded
        commanded = (both[0] if processor is None else processor, clock)
        self._commanded = commanded
        if wire.late(commanded, both, ATTEMPT_SECONDS):
            raise self.give_up(f"its owner's filters took more than {ATTEMPT_SECONDS:g} s for a batch")
        index, alert = self._words[shared_memory.FILTER], self._words[shared_memory.ALERT]
        watch.look(index, alert, both)
        call = self._limits.get(index, LOAD_SECONDS)
        if wire.late(watch.call_since, both, call + KILL_GRACE):
            raise self.give_up(f"one call took more than {call:g} s and could not be interrupted")
        if wire.late(watch.filter_since, both, max(BATCH_SECONDS, call) + KILL_GRACE) and index in self._limits:
            raise self.give_up(f"a batch took more than {BATCH_SECONDS:g} s and could not be interrupted")

    def spent(self) -> float:
        """Seconds of processor time that the process has taken."""
        return 0.0 if self._ended else self._running.spent()

    def spent_on_command(self) -> float:
        """Seconds of processor time since the last command; 0 if nobody has had to look."""
        return 0.0 if self._commanded[0] is None else self.spent() - self._commanded[0]

    def give_up(self, reason: str) -> ProcessLost:
        """End the process, and say whose fault it is by what the process said it was doing."""
        filter_index, alert = self._words[shared_memory.FILTER], self._words[shared_memory.ALERT]
        status = self._running.end(GRACE_SECONDS)
        self._ended = True
        if status is not None:
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            reason = f"it ended the process of the filters ({how})"
        return ProcessLost(filter_index, alert, reason)

    def end(self) -> None:
        """End the process, and close what connects it."""
        if not self._ended:
            with contextlib.suppress(ZadsError):  # of a nursery that has itself ended, and its processes with it
                self._running.end(0.0)
        os.close(self._commands)
        os.close(self.descriptor)
        self._release()

    def _release(self) -> None:
        self.results.release()
        self._words.release()
        self._view.release()
        self._memory.close()


class _Watch:
    """Since when a process has been in the same call, and with the same filter: (processor time, monotonic time)."""

    def __init__(self) -> None:
        self.call_since = self.filter_since = (0.0, 0.0)
        self._filter = self._alert = -1

    def look(self, filter_index: int, alert: int, now: tuple[float, float]) -> None:
        """Note what the process is doing now."""
        if (filter_index, alert) != (self._filter, self._alert):
            self.call_since = now
        if filter_index != self._filter:
            self.filter_since = now
        self._filter, self._alert = filter_index, alert
