"""Runs a group's filters in a process of their own, so that a bad one harms neither the worker nor the others for long.

The bound: a filter that hangs, dies or runs out of memory costs its group at most FATAL_FAILURES times (its time for a
batch, BATCH_SECONDS, plus KILL_GRACE and a restart of about a second) before its circuit opens, and one such time at
each trial after REST_SECONDS, which double up to LONGEST_REST. One that merely raises costs nothing but its own time.
"""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zads.errors import ZadsError
from zads.filters import packages, wire
from zads.packet import PacketError

FAILURES_IN_A_ROW = 10  # exceptions, after which a circuit opens
FATAL_FAILURES = 3  # hangs, deaths and memory: so many within REST_SECONDS open it as well
REST_SECONDS = 300.0
LONGEST_REST = 3600.0
BATCH_SECONDS = 5.0  # of one filter, for a batch
KILL_GRACE = 1.0  # beyond a filter's limit, in which Python may stop it
LOAD_SECONDS = 20.0  # of one filter's file, imports included
START_SECONDS = 60.0  # of the process itself, on a busy machine
# Of address space beyond what the process begins with: astropy and scipy take 200 MB of it, and 110 MB of memory.
MEMORY_BYTES = 400_000_000


@dataclass(frozen=True)
class Spec:
    """A filter to run: the name of its stream, and where it is (FILE, FILE:CLASS, or a built-in's name)."""

    name: str
    place: str


class Circuit:
    """Whether a filter may run: closed (it may), open (it rests), half-open (one more failure opens it again)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._fatal: list[float] = []
        self._until = 0.0
        self._rest = REST_SECONDS
        self.row = 0
        self.state = "closed"
        self.why = ""

    def allows(self) -> bool:
        """Whether the filter may run now; an open circuit whose rest is over becomes half-open."""
        if self.state == "open" and self._clock() >= self._until:
            self.state = "half-open"
            self.row = 0
        return self.state != "open"

    @property
    def stop_at(self) -> int:
        """After how many failures in a row the filter is stopped."""
        return 1 if self.state == "half-open" else FAILURES_IN_A_ROW

    def ran(self, row: int, why: str) -> None:
        """Take note of a run that came to its end with so many failures in a row; `why` is the last one."""
        self.row = row
        if row >= self.stop_at:
            self._open(f"{row} failures in a row, the last: {why}")
        elif self.state == "half-open" and row == 0:
            self.state, self.why, self._rest = "closed", "", REST_SECONDS

    def fatal(self, why: str) -> None:
        """Take note of a run that had to be killed or stopped."""
        now = self._clock()
        self._fatal = [moment for moment in self._fatal if now - moment < REST_SECONDS] + [now]
        if self.state == "half-open" or len(self._fatal) >= FATAL_FAILURES:
            self._open(why)

    def broken(self, why: str) -> None:
        """Open for good: the filter cannot even be loaded."""
        self.state, self.why, self._until = "open", why, float("inf")

    def _open(self, why: str) -> None:
        if self.state == "half-open":
            self._rest = min(2 * self._rest, LONGEST_REST)
        self.state, self.why, self._until = "open", why, self._clock() + self._rest
        self._fatal.clear()


@dataclass
class Verdicts:
    """What one filter said of a batch; alerts are numbers in the batch."""

    passed: dict[int, str] = field(default_factory=dict)  # annotations as JSON, or ""
    failed: dict[int, str] = field(default_factory=dict)  # why
    skipped: int = 0  # not looked at, for its circuit was open
    seconds: float = 0.0
    output: str = ""  # the beginning of what it printed


class Gone(Exception):
    """The filters' process was killed or died; who was running, and why it is thought to have ended."""

    def __init__(self, number: int, alert: int, reason: str) -> None:
        super().__init__(reason)
        self.number, self.alert, self.reason = number, alert, reason


class Group:
    """Filters that run together. Use as a context manager, or call `close`.

    `trace` finds out which fields are read (`read`), at some cost. Raises ZadsError if the process cannot be started;
    a filter that cannot be loaded has an open circuit instead, and `declared` has its error.
    """

    def __init__(self, specs: Sequence[Spec], *, memory_bytes: int = MEMORY_BYTES, trace: bool = False) -> None:
        self.specs = list(specs)
        self._memory, self._trace = memory_bytes, trace
        self.circuits = {spec.name: Circuit() for spec in specs}
        self.declared: dict[str, dict[str, Any]] = {}
        self.read: dict[str, set[str]] = {spec.name: set() for spec in specs}
        self.restarts = 0
        self.fenced = True
        self._child: _Child | None = None
        self._ensure()

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the filters' process."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def run(
        self, alerts: Sequence[bytes], eligible: Mapping[str, Iterable[int]] | None = None
    ) -> tuple[dict[str, Verdicts], dict[int, str]]:
        """Run every filter over a batch; `eligible` restricts a filter to some alerts (numbers).

        Returns the verdicts by filter, and the alerts that cannot be decoded with the reason.
        """
        verdicts = {spec.name: Verdicts() for spec in self.specs}
        undecodable: dict[int, str] = {}
        selections, selected = _selections(eligible or {})
        for first, last in _pieces(alerts):
            inside = [[index - first for index in chosen if first <= index < last] for chosen in selections]
            self._piece(alerts[first:last], first, inside, selected, verdicts, undecodable)
        return verdicts, undecodable

    def _piece(
        self,
        alerts: Sequence[bytes],
        first: int,
        selections: Sequence[list[int]],
        selected: Mapping[str, int],
        verdicts: dict[str, Verdicts],
        undecodable: dict[int, str],
    ) -> None:
        todo = {number: _Todo() for number in range(len(self.specs))}
        while todo:
            jobs = []
            for number in list(todo):
                name = self.specs[number].name
                circuit, selection = self.circuits[name], selected.get(name)
                count = len(alerts) if selection is None else len(selections[selection])
                if not circuit.allows():
                    verdicts[name].skipped += count - len(todo.pop(number).skip)
                elif not count:
                    todo.pop(number)
                else:
                    jobs.append(todo[number].job(number, selection, circuit.row, circuit.stop_at))
            if not jobs:
                return
            messages, gone = self._ensure().run(alerts, selections, jobs)
            for message in messages:
                if "undecodable" in message:
                    undecodable.update({first + int(i): why for i, why in message["undecodable"].items()})
                else:
                    self._take(message, first, verdicts)
                    todo.pop(int(message["filter"]))
            if gone is not None:
                self._blame(gone, first, todo, verdicts)
            elif not any(job["filter"] in todo for job in jobs):
                return

    def _take(self, message: Mapping[str, Any], first: int, verdicts: dict[str, Verdicts]) -> None:
        name = self.specs[int(message["filter"])].name
        mine = verdicts[name]
        failed = message.get("failed", ())
        mine.passed.update({first + index: text for index, text in message.get("passed", ())})
        mine.failed.update({first + index: why for index, why in failed})
        mine.skipped += message.get("skipped", 0)
        mine.seconds += message["seconds"]
        mine.output = mine.output or message.get("output", "")
        self.read[name].update(message.get("read", ()))
        why = failed[-1][1].strip().splitlines()[-1] if failed else ""
        if "overrun" in message:
            self.circuits[name].fatal(message["overrun"])
        else:
            self.circuits[name].ran(message["row"], why)

    def _blame(
        self,
        gone: Gone,
        first: int,
        todo: dict[int, _Todo],
        verdicts: dict[str, Verdicts],
    ) -> None:
        """Charge a death to the filter and the alert that ran; the rest of the batch runs again without them."""
        self.close()
        self.restarts += 1
        if gone.number >= len(self.specs):
            raise ZadsError(f"the process of the filters ended while no filter ran: {gone.reason}")
        name = self.specs[gone.number].name
        task = todo.get(gone.number)
        if gone.alert == wire.WHOLE_BATCH and task is not None:
            task.one_by_one = True  # find out which alert it was
        elif gone.alert < wire.NO_ALERT and task is not None:
            task.skip.add(gone.alert)
            verdicts[name].failed[first + gone.alert] = gone.reason
        self.circuits[name].fatal(gone.reason)

    def _ensure(self) -> _Child:
        """The running process; started, with every filter that can be loaded, if there is none."""
        while self._child is None:
            child = _Child(self._memory)
            try:
                self.fenced = child.start()
                wanted = [
                    (number, spec.place)
                    for number, spec in enumerate(self.specs)
                    if "error" not in self.declared.get(spec.name, {})
                ]
                for message in child.load(wanted, self._trace):
                    self._loaded(self.specs[int(message["loaded"])].name, message)
                self._child = child
            except Gone as gone:
                child.kill()
                if gone.number >= len(self.specs):
                    raise ZadsError(f"the process of the filters does not start: {gone.reason}") from gone
                self._loaded(self.specs[gone.number].name, {"error": f"while it was loaded: {gone.reason}"})
        return self._child

    def _loaded(self, name: str, message: Mapping[str, Any]) -> None:
        self.declared[name] = dict(message)
        if "error" in message:
            self.circuits[name].broken(message["error"])


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


def _selections(eligible: Mapping[str, Iterable[int]]) -> tuple[list[list[int]], dict[str, int]]:
    """The different selections of alerts, and which of them each filter has: most filters of a group share one."""
    kept: dict[int, tuple[int, Iterable[int]]] = {}  # held, since only what lives has an identity of its own
    selected: dict[str, int] = {}
    for name, chosen in eligible.items():
        selected[name] = kept.setdefault(id(chosen), (len(kept), chosen))[0]
    return [list(chosen) for _, chosen in kept.values()], selected


def _pieces(alerts: Sequence[bytes]) -> list[tuple[int, int]]:
    """Ranges of a batch that fit into the shared memory. Raises PacketError for an alert that never will."""
    pieces: list[tuple[int, int]] = []
    first, size = 0, 0
    for index, alert in enumerate(alerts):
        if len(alert) > wire.AREA_BYTES:
            raise PacketError(f"{len(alert)} bytes are too many for a packet")
        if size + len(alert) > wire.AREA_BYTES:
            pieces.append((first, index))
            first, size = index, 0
        size += len(alert)
    return [*pieces, (first, len(alerts))] if alerts else []


class _Child:
    """The filters' process and the ends of what connects it."""

    def __init__(self, memory_bytes: int) -> None:
        commands, self._commands = os.pipe()
        answers, theirs = os.pipe()
        shared = os.memfd_create("zads-filters")
        os.ftruncate(shared, wire.SHARED_BYTES)
        self._area = mmap.mmap(shared, wire.SHARED_BYTES)
        self._view = memoryview(self._area)
        self._words: memoryview[int] = self._view[: wire.PAGE].cast("I")
        self._words[wire.FILTER] = wire.NOBODY
        self._results = wire.Results(self._words, self._view[wire.PAGE + wire.AREA_BYTES :])
        self._answers = answers
        self._reader = wire.Reader(answers)
        # One thread each: many small filters gain nothing from more, and the sandbox forbids new ones. No credentials.
        environment = {
            name: os.environ[name]
            for name in ("PATH", "LANG", "TZ", "ZADS_NO_SECCOMP", packages.VARIABLE)
            if name in os.environ
        }
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "zads.filters.child", *map(str, (commands, theirs, shared, memory_bytes))],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
            pass_fds=(commands, theirs, shared), start_new_session=True,
        )  # fmt: skip
        for descriptor in (commands, theirs, shared):
            os.close(descriptor)
        self._limits: dict[int, float] = {}

    def start(self) -> bool:
        """Wait until it is ready; whether the kernel fences it in. Raises Gone."""
        message = self._receive(START_SECONDS)
        return bool(message["fenced"])

    def load(self, wanted: list[tuple[int, str]], trace: bool) -> list[dict[str, Any]]:
        """Load filters; what each declares. Raises Gone."""
        self._send({"load": wanted, "trace": trace, "seconds": LOAD_SECONDS})
        loaded = [self._receive(LOAD_SECONDS + KILL_GRACE) for _ in wanted]
        self._limits = {int(message["loaded"]): message.get("time_limit", 1.0) for message in loaded}
        return loaded

    def run(
        self, alerts: Sequence[bytes], selections: Sequence[list[int]], jobs: list[dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], Gone | None]:
        """Run jobs over a batch; what has been told of it, and how the process ended, if it did."""
        position = wire.PAGE
        for data in alerts:
            self._area[position : position + len(data)] = data
            position += len(data)
        lengths = [len(data) for data in alerts]
        self._results.clear()
        messages: list[dict[str, Any]] = []
        gone = None
        try:
            self._send({"lengths": lengths, "selections": selections, "jobs": jobs, "seconds": BATCH_SECONDS})
            while "done" not in (message := self._receive(None)):
                if "memory" in message:
                    number = wire.NOBODY if message["memory"] is None else int(message["memory"])
                    alert = wire.NO_ALERT if message["alert"] is None else int(message["alert"])
                    raise Gone(number, alert, "it used up the memory that the filters of a group may have")
                messages.append(message)
        except Gone as error:
            gone = error
        try:
            messages += self._results.read()
        except wire.Broken as error:
            gone = gone or self._gone(str(error))
        return messages, gone

    def kill(self) -> None:
        """End it, with all that it may have started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()
        self._process.wait()
        for descriptor in (self._commands, self._answers):
            os.close(descriptor)
        self._results.release()
        self._words.release()
        self._view.release()
        self._area.close()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            wire.send(self._commands, message)
        except wire.Broken as error:
            raise self._gone(str(error)) from error

    def _receive(self, seconds: float | None) -> dict[str, Any]:
        """The next answer, within `seconds`, or as long as no filter exceeds its own time."""
        begun = since = switched = time.monotonic()
        last, who = (-1, -1), -1
        while True:
            try:
                message = self._reader.receive(0.1)
            except wire.Broken as error:
                raise self._gone(str(error)) from error
            if message is not None:
                return message
            now = time.monotonic()
            if seconds is not None:
                if now - begun > seconds:
                    raise self._gone(f"it did not come to an end within {seconds:g} s")
                continue
            number, alert = self._words[wire.FILTER], self._words[wire.ALERT]
            if (number, alert) != last:
                last, since = (number, alert), now
            if number != who:
                who, switched = number, now
            call = self._limits.get(number, LOAD_SECONDS)
            if now - since > call + KILL_GRACE:
                raise self._gone(f"one call took more than {call:g} s and could not be interrupted")
            if now - switched > max(BATCH_SECONDS, call) + KILL_GRACE and number in self._limits:
                raise self._gone(f"a batch took more than {BATCH_SECONDS:g} s and could not be interrupted")

    def _gone(self, reason: str) -> Gone:
        """Whose fault it is, by where the process was."""
        try:
            status: int | None = self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            status = None
        if status is not None:
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            reason = f"it ended the process of the filters ({how})"
        return Gone(self._words[wire.FILTER], self._words[wire.ALERT], reason)
