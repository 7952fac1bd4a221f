"""One owner's filters: their process, and how a batch goes through it, whatever the process does.

A batch:

1. the filters whose circuits allow it are asked, all in one command;
2. what is told is checked and taken, filter by filter; a filter that has told is done;
3. a process that dies, hangs, uses up its memory or says what it was not asked is ended. The filter that ran is
   charged, or all that were asked if that cannot be said; the rest goes through a new process;
4. after OWNER_SECONDS, all attempts together, what is left of the batch is skipped.

The steps are generators that yield whenever they wait for the process, so that owners run beside each other.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zads.errors import ZadsError
from zads.filters import verdicts, wire
from zads.filters.circuit import Account, Circuit
from zads.filters.fields import EAGER
from zads.filters.launcher import GRACE_SECONDS, Launcher
from zads.filters.verdicts import Asked, Verdicts
from zads.packet import Packet, PacketError

BATCH_SECONDS = 5.0  # of one filter, for a batch
KILL_GRACE = 1.0  # beyond a filter's limit, in which Python may stop it
ATTEMPT_SECONDS = 15.0  # of all of an owner's filters for a batch, in one process
OWNER_SECONDS = 60.0  # the same with all restarts, by the clock on the wall
LOAD_SECONDS = 20.0  # of one filter's file, imports included
START_SECONDS = 60.0  # of the process itself, on a busy machine
# Of address space beyond what the process begins with: astropy and scipy take 200 MB of it, and 110 MB of memory.
MEMORY_BYTES = 400_000_000
TOLD_BYTES = 32_000_000  # that an owner's filters may say of one batch
LOOK_SECONDS = 0.05  # most batches end before anybody has to look what a process is at
SHORT_SECONDS = 0.5  # not worth asking how much of it was the processor's
SPARE_FRAMES = 4  # beside one for each filter: what cannot be decoded, and the end

Steps = Generator[None, None, None]


@dataclass(frozen=True)
class Spec:
    """A filter to run: the name of its stream, where it is (FILE, FILE:CLASS, or a built-in's name), and its owner."""

    name: str
    place: str
    owner: str = ""


class Gone(Exception):
    """The process has to be ended, or has ended: which filter ran (or NOBODY), with which alert, and why."""

    def __init__(self, number: int, alert: int, reason: str) -> None:
        super().__init__(reason)
        self.number, self.alert, self.reason = number, alert, reason


@dataclass
class Batch:
    """What is to be judged: packets (they lie in the shared memory as well), selections of them, and which is whose."""

    alerts: Sequence[bytes]
    first: int  # the number of the first in the worker's batch
    selections: Sequence[list[int]]
    selected: Mapping[str, int]  # by filter; a filter that has none sees all
    sets: dict[int | None, frozenset[int]] = field(default_factory=dict)

    def chosen(self, name: str) -> frozenset[int]:
        """The alerts that a filter is to see."""
        selection = self.selected.get(name)
        if selection not in self.sets:
            every = range(len(self.alerts))
            self.sets[selection] = frozenset(every if selection is None else self.selections[selection])
        return self.sets[selection]


class Owner:
    """The filters of one owner (by their numbers in the group). Call `close` at the end."""

    def __init__(
        self,
        specs: Mapping[int, Spec],
        circuits: Mapping[str, Circuit],
        launcher: Launcher,
        packets: wire.Packets,
        memory_bytes: int,
        told_bytes: int,
        trace: bool,
    ) -> None:
        self.specs, self._circuits = dict(specs), circuits
        self._launcher, self._packets = launcher, packets
        self._memory, self._told, self._trace = memory_bytes, min(told_bytes, TOLD_BYTES), trace
        self.declared: dict[str, dict[str, Any]] = {}
        self.read: dict[str, set[str]] = {spec.name: set() for spec in specs.values()}
        self.restarts = 0
        self.spent = 0.0  # seconds that the last batch took
        self._account = Account()
        self._process: Process | None = None
        self._deadline = float("inf")

    @property
    def descriptor(self) -> int:
        """What can be read when there is something to go on with; -1 if nothing is waited for."""
        return self._process.descriptor if self._process is not None else -1

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            process.end()

    def start(self) -> Steps:
        """Start the process, with every filter that can be loaded. Raises ZadsError if there can be none."""
        while self._process is None:
            self._process = process = Process(self._launcher, self._packets)
            try:
                yield from process.start(self._deadline)
                wanted = [
                    (number, spec.place)
                    for number, spec in self.specs.items()
                    if "error" not in self.declared.get(spec.name, {})
                ]
                yield from process.load(wanted, self._memory, self._trace, self._loaded, self._deadline)
            except Gone as gone:
                self.close()
                if gone.number not in self.specs:
                    raise ZadsError(f"the process of the filters does not start: {gone.reason}") from gone
                self._broken(gone.number, f"while it was loaded: {gone.reason}")

    def _loaded(self, told: verdicts.Loaded) -> None:
        name = self.specs[told.loaded].name
        self.declared[name] = told.declared()
        if told.error:
            self._circuits[name].broken(self.declared[name]["error"])

    def _broken(self, number: int, reason: str) -> None:
        name = self.specs[number].name
        if "error" not in self.declared.get(name, {}):
            self.declared[name] = {"error": reason}
            self._circuits[name].broken(reason)

    def run(self, batch: Batch, told: Mapping[str, Verdicts], undecodable: dict[int, str]) -> Steps:
        """Judge a batch; `told` and `undecodable` (why, by the number in the worker's batch) are filled in."""
        begun = time.monotonic()
        self._deadline = begun + OWNER_SECONDS
        before = {name: verdict.seconds for name, verdict in told.items()}
        yield from self._run(batch, told, undecodable)
        self._deadline = float("inf")
        self.spent = time.monotonic() - begun
        if not self._account.settle(len(batch.alerts), self._taken()):
            slowest = max((spec.name for spec in self.specs.values()), key=lambda one: told[one].seconds - before[one])
            self._circuits[slowest].fatal("its owner's filters take more time than the stream leaves them")

    def _taken(self) -> float:
        """Seconds that the batch took, of the processor's time if there was much waiting: others may have had it."""
        if self._process is None or self.spent < SHORT_SECONDS:
            return self.spent
        return min(self.spent, max(self._process.since_asked(), self.spent / wire.PATIENCE))

    def _run(self, batch: Batch, told: Mapping[str, Verdicts], undecodable: dict[int, str]) -> Steps:
        todo = {number: _Todo() for number in self.specs}
        while todo:
            jobs, asked = self._jobs(batch, todo, told)
            if not jobs:
                return
            # 4
            if time.monotonic() > self._deadline:
                for number, one in asked.items():
                    told[self.specs[number].name].skipped += len(one)
                return
            try:
                yield from self.start()
                assert self._process is not None
                yield from self._ask(self._process, batch, jobs, asked, todo, told, undecodable)
                return
            except Gone as gone:
                self._blame(gone, batch, todo, told)

    def _jobs(
        self, batch: Batch, todo: dict[int, _Todo], told: Mapping[str, Verdicts]
    ) -> tuple[list[dict[str, Any]], dict[int, Asked]]:
        """Step 1: what to ask now."""
        jobs: list[dict[str, Any]] = []
        asked: dict[int, Asked] = {}
        for number in list(todo):
            name = self.specs[number].name
            circuit, task = self._circuits[name], todo[number]
            one = Asked(batch.chosen(name), frozenset(task.skip))
            if not circuit.allows():
                told[name].skipped += len(one)
                todo.pop(number)
            elif not len(one):
                todo.pop(number)
            else:
                asked[number] = one
                jobs.append(task.job(number, batch.selected.get(name), circuit.row, circuit.stop_at))
        return jobs, asked

    def _ask(
        self,
        process: Process,
        batch: Batch,
        jobs: list[dict[str, Any]],
        asked: dict[int, Asked],
        todo: dict[int, _Todo],
        told: Mapping[str, Verdicts],
        undecodable: dict[int, str],
    ) -> Steps:
        """Steps 1 and 2. Raises Gone."""
        left, frames = self._told, len(jobs) + SPARE_FRAMES
        gone: Gone | None = None

        def take(result: verdicts.Result) -> None:
            verdicts.check(result, asked)
            self._take(result, batch.first, told)
            todo.pop(result.filter)

        try:
            yield from process.command(
                {
                    "lengths": [len(data) for data in batch.alerts], "selections": batch.selections, "jobs": jobs,
                    "seconds": BATCH_SECONDS,
                },
                self._deadline,
            )  # fmt: skip
            while True:
                body = yield from process.receive(self._deadline, None)
                left, frames = left - len(body), frames - 1
                if left < 0 or frames < 0:
                    raise wire.Broken("it says more than anybody would read")
                message = verdicts.running(body)
                if isinstance(message, verdicts.Done):
                    break
                if isinstance(message, verdicts.Result):
                    take(message)
                elif isinstance(message, verdicts.Undecodable):
                    _confirm(message.undecodable, batch, undecodable)
                else:
                    raise Gone(
                        wire.NOBODY if message.memory is None else message.memory,
                        wire.NO_ALERT if message.alert is None else message.alert,
                        "it used up the memory that the filters of an owner may have",
                    )
        except wire.Broken as error:
            gone = process.gone(str(error))
        except Gone as error:
            gone = error
        try:
            for result in verdicts.results(process.results.copied()):
                take(result)
        except wire.Broken as error:
            gone = gone or process.gone(str(error))
        if gone is None and any(not one.answered for one in asked.values()):
            gone = process.gone("it says that it is done, and has not said of what")
        if gone is not None:
            raise gone

    def _take(self, result: verdicts.Result, first: int, told: Mapping[str, Verdicts]) -> None:
        name = self.specs[result.filter].name
        mine = told[name]
        failed = {first + index: verdicts.printable(why) for index, why in result.failed}
        if result.passed:
            mine.passed.update({first + index: text for index, text in result.passed})
        mine.failed.update(failed)
        mine.skipped += result.skipped
        mine.seconds += result.seconds
        if result.output or result.read:
            mine.output = mine.output or verdicts.printable(result.output)
            self.read[name].update(result.read)
        last = next(reversed(failed.values()), "").strip().splitlines()
        if result.overrun:
            self._circuits[name].fatal(verdicts.printable(result.overrun))
        else:
            self._circuits[name].ran(result.row, last[-1] if last else "")

    def _blame(self, gone: Gone, batch: Batch, todo: dict[int, _Todo], told: Mapping[str, Verdicts]) -> None:
        """Step 3: charge it to the filter and the alert that ran, or to all that were asked and have not answered."""
        self.close()
        self.restarts += 1
        task = todo.get(gone.number)
        if task is None:
            for number in todo:
                self._circuits[self.specs[number].name].fatal(gone.reason)
            return
        name = self.specs[gone.number].name
        if gone.alert == wire.WHOLE_BATCH:
            task.one_by_one = True  # find out which alert it was
        elif gone.alert in batch.chosen(name) and gone.alert not in task.skip:
            task.skip.add(gone.alert)
            told[name].failed[batch.first + gone.alert] = gone.reason
        self._circuits[name].fatal(gone.reason)


@dataclass
class _Todo:
    """What is left of a filter's batch after its process had to be started again."""

    skip: set[int] = field(default_factory=set)
    one_by_one: bool = False

    def job(self, number: int, selection: int | None, row: int, stop_at: int) -> dict[str, Any]:
        job: dict[str, Any] = {"filter": number, "alerts": selection, "row": row, "stop_at": stop_at}
        if self.skip or self.one_by_one:
            job |= {"skip": sorted(self.skip), "one_by_one": self.one_by_one}
        return job


def _confirm(claimed: Sequence[int], batch: Batch, undecodable: dict[int, str]) -> None:
    """Take note of the alerts that cannot be decoded here either. Raises Broken if one can."""
    for number in dict.fromkeys(claimed):
        if number >= len(batch.alerts):
            raise wire.Broken(f"it speaks of the alert {number}, which there is not")
        if batch.first + number in undecodable:
            continue
        if (why := _undecodable(batch.alerts[number])) is None:
            raise wire.Broken(f"it says that alert {number} of the batch cannot be decoded, but it can")
        undecodable[batch.first + number] = why


def _undecodable(data: bytes) -> str | None:
    """Why a packet cannot be decoded; None if it can."""
    try:
        packet = Packet.trusted(data)
        packet.read(one for one in EAGER if packet.has(one))
    except PacketError as error:
        return f"PacketError: {error}"[: wire.MAX_REASON]
    return None


class Process:
    """A process for an owner's filters, and the worker's ends of what connects it. Raises ZadsError."""

    def __init__(self, launcher: Launcher, packets: wire.Packets) -> None:
        commands, self._commands = os.pipe()
        self.descriptor, answers = os.pipe()
        shared = wire.told_memory()
        self._memory = mmap.mmap(shared, wire.TOLD_BYTES)
        self._view = memoryview(self._memory)
        self._words: memoryview[int] = self._view[: wire.PAGE].cast("I")
        self._words[wire.FILTER] = wire.NOBODY
        self.results = wire.Results(self._words, self._view[wire.PAGE :])
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
        self._limits: dict[int, float] = {}
        # When it was told last what to do; the processor's time is asked for at the first tick, if there is any.
        self._asked: tuple[float | None, float] = (None, time.monotonic())
        self._ended = False

    def start(self, deadline: float) -> Steps:
        """Wait until it is ready. Raises Gone."""
        try:
            verdicts.ready((yield from self.receive(deadline, START_SECONDS)))
        except wire.Broken as error:
            raise Gone(wire.NOBODY, wire.NO_ALERT, str(error)) from error

    def load(
        self,
        wanted: Sequence[tuple[int, str]],
        memory_bytes: int,
        trace: bool,
        take: Any,
        deadline: float,
    ) -> Steps:
        """Have it load filters, fenced in; `take` gets what each declares. Raises Gone; ZadsError without a fence."""
        command = {
            "load": wanted, "trace": trace, "seconds": LOAD_SECONDS, "memory": memory_bytes,
            "directories": sorted({str(Path(place.partition(":")[0]).absolute().parent) for _, place in wanted}),
        }  # fmt: skip
        yield from self.command(command, deadline)
        body = yield from self.receive(deadline, START_SECONDS)
        fenced = self._understood(body, verdicts.Fenced)
        if fenced.fenced:
            raise ZadsError(fenced.fenced)
        for number, _ in wanted:
            body = yield from self.receive(deadline, LOAD_SECONDS + KILL_GRACE)
            told = self._understood(body, verdicts.Loaded)
            if told.loaded != number:
                raise Gone(number, wire.NO_ALERT, "it speaks of another filter than was loaded")
            take(told)
            if told.spoilt:
                raise Gone(number, wire.NO_ALERT, told.error)
            self._limits[number] = told.time_limit

    def _understood(self, body: bytes, kind: type[verdicts.Form]) -> verdicts.Form:
        try:
            message = verdicts.loading(body)
        except wire.Broken as error:
            raise self.gone(str(error)) from error
        if not isinstance(message, kind):
            raise self.gone("it says something else than was asked")
        return message

    def command(self, message: dict[str, Any], deadline: float) -> Steps:
        """Tell it what to do. Raises Gone."""
        self.results.clear()
        self._asked = (None, time.monotonic())
        data = memoryview(wire.frame(message))
        while data:
            try:
                data = data[os.write(self._commands, data) :]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise self.gone("it does not listen") from None
                yield
            except OSError as error:
                raise self.gone(str(error)) from error

    def receive(self, deadline: float, seconds: float | None) -> Generator[None, None, bytes]:
        """The next answer, within `seconds`, or while no filter exceeds its own time; by `deadline`. Raises Gone."""
        begun = time.monotonic()
        since = switched = (0.0, 0.0)
        last, who = (-1, -1), -1
        while True:
            try:
                while (body := self._reader.next()) is None and self._reader.fill():
                    pass
            except wire.Broken as error:
                raise self.gone(str(error)) from error
            if body is not None:
                return body
            now = time.monotonic()
            if now > deadline:
                raise self.gone(f"its owner's filters took more than {OWNER_SECONDS:g} s for a batch")
            if seconds is not None and now - begun > seconds:
                raise self.gone(f"it did not come to an end within {seconds:g} s")
            if seconds is None and now - begun > LOOK_SECONDS:
                both = (self.spent(), now)
                asked = both[0] if self._asked[0] is None else self._asked[0], self._asked[1]
                self._asked = asked
                if wire.late(asked, both, ATTEMPT_SECONDS):
                    raise self.gone(f"its owner's filters took more than {ATTEMPT_SECONDS:g} s for a batch")
                number, alert = self._words[wire.FILTER], self._words[wire.ALERT]
                if (number, alert) != last:
                    last, since = (number, alert), both
                if number != who:
                    who, switched = number, both
                call = self._limits.get(number, LOAD_SECONDS)
                if wire.late(since, both, call + KILL_GRACE):
                    raise self.gone(f"one call took more than {call:g} s and could not be interrupted")
                if wire.late(switched, both, max(BATCH_SECONDS, call) + KILL_GRACE) and number in self._limits:
                    raise self.gone(f"a batch took more than {BATCH_SECONDS:g} s and could not be interrupted")
            yield

    def spent(self) -> float:
        """Seconds of processor time that it has taken."""
        return 0.0 if self._ended else self._running.spent()

    def since_asked(self) -> float:
        """Of it, what it has taken since it was asked last."""
        return 0.0 if self._asked[0] is None else self.spent() - self._asked[0]

    def gone(self, reason: str) -> Gone:
        """Whose fault it is, by where the process says it was; the process has ended after this."""
        number, alert = self._words[wire.FILTER], self._words[wire.ALERT]
        status = self._running.end(GRACE_SECONDS)
        self._ended = True
        if status is not None:
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            reason = f"it ended the process of the filters ({how})"
        return Gone(number, alert, reason)

    def end(self) -> None:
        """End it, and let go of what connects it."""
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
