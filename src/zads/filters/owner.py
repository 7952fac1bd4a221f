"""One owner's filters. They judge a batch, and nothing that their process does can prevent a result.

A batch:

1. one command asks all filters whose circuits allow it;
2. answers are checked and taken filter by filter; a filter that has answered is done;
3. a process that dies, hangs, uses up its memory or gives a wrong answer is ended. The filter that ran is charged, or
   all that were asked if it is unknown which one ran; a new process judges the rest;
4. after OWNER_SECONDS for all attempts together, the rest of the batch is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zads.errors import ZadsError
from zads.filters import shared_memory, verdicts, wire
from zads.filters.alert import EAGER
from zads.filters.circuit import Account, Circuit
from zads.filters.launcher import Launcher
from zads.filters.process import BATCH_SECONDS, OWNER_SECONDS, Process, ProcessLost, Steps
from zads.filters.verdicts import Question, Verdicts
from zads.packet import Packet, PacketError

# Of address space beyond what the process begins with: astropy and scipy take 200 MB of it, and 110 MB of memory.
MEMORY_BYTES = 400_000_000
ANSWER_BYTES = 32_000_000  # that an owner's filters may send through the pipe for one batch
SHORT_SECONDS = 0.5  # a shorter batch is charged by the clock, since asking for its processor time costs too much
SPARE_FRAMES = 4  # beside one for each filter: what cannot be decoded, and the end


@dataclass(frozen=True)
class Spec:
    """A filter to run: the name of its stream, where it is (FILE, FILE:CLASS, or a built-in's name), and its owner."""

    name: str
    place: str
    owner: str = ""


@dataclass
class Batch:
    """Packets to be judged, which are in the shared memory as well; selections of them, and each filter's selection.

    `first` is the index of the first packet in the worker's batch. All other indices of alerts are in this batch.
    """

    packets: Sequence[bytes]
    first: int
    selections: Sequence[list[int]]
    selected: Mapping[str, int]  # by the filter's name; a filter without a selection sees all alerts
    _sets: dict[int | None, frozenset[int]] = field(default_factory=dict)

    def eligible(self, name: str) -> frozenset[int]:
        """The alerts that a filter is to see."""
        selection = self.selected.get(name)
        if selection not in self._sets:
            every = range(len(self.packets))
            self._sets[selection] = frozenset(every if selection is None else self.selections[selection])
        return self._sets[selection]


@dataclass
class _Task:
    """What is left to do for one filter in a batch, after its process may have been started again."""

    skip: set[int] = field(default_factory=set)  # alerts on which the filter has ended the process
    one_by_one: bool = False


@dataclass
class _Judging:
    """A batch, what is left to do (by filter), the verdicts (by the filter's name), and why alerts cannot be decoded.

    `undecodable` is by the index in the worker's batch.
    """

    batch: Batch
    tasks: dict[int, _Task]
    verdicts: Mapping[str, Verdicts]
    undecodable: dict[int, str]


class Owner:
    """The filters of one owner, by their index in the group. Call `close` at the end."""

    def __init__(
        self,
        specs: Mapping[int, Spec],
        circuits: Mapping[str, Circuit],
        launcher: Launcher,
        packets: shared_memory.Packets,
        memory_bytes: int,
        answer_bytes: int,
        trace: bool,
    ) -> None:
        self.specs, self._circuits = dict(specs), circuits
        self._launcher, self._packets = launcher, packets
        self._memory, self._answers, self._trace = memory_bytes, min(answer_bytes, ANSWER_BYTES), trace
        self.declared: dict[str, wire.Declaration] = {}
        self.read: dict[str, set[str]] = {spec.name: set() for spec in specs.values()}
        self.restarts = 0
        self.spent = 0.0  # seconds that the last batch took
        self._account = Account()
        self._process: Process | None = None
        self._deadline = float("inf")

    @property
    def descriptor(self) -> int:
        """The descriptor that can be read when the process has answered; -1 without a process."""
        return self._process.descriptor if self._process is not None else -1

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            process.end()

    def start(self) -> Steps:
        """Start the process with every filter that can be loaded. Raises ZadsError if no process starts."""
        while self._process is None:
            self._process = process = Process(self._launcher, self._packets)
            try:
                yield from process.start(self._deadline)
                filters = [(index, spec.place) for index, spec in self.specs.items() if not self._is_broken(spec.name)]
                yield from process.load(filters, self._memory, self._trace, self._add_declaration, self._deadline)
            except ProcessLost as lost:
                self.close()
                if lost.filter_index not in self.specs:
                    raise ZadsError(f"the process of the filters does not start: {lost.reason}") from lost
                if not self._is_broken(self.specs[lost.filter_index].name):
                    reason = f"while it was loaded: {lost.reason}"
                    self._add_declaration(wire.Declaration(lost.filter_index, error=reason))

    def _is_broken(self, name: str) -> bool:
        return name in self.declared and bool(self.declared[name].error)

    def _add_declaration(self, declaration: wire.Declaration) -> None:
        name = self.specs[declaration.filter].name
        self.declared[name] = declaration
        if declaration.error:
            self._circuits[name].broken(declaration.error)

    def run(self, batch: Batch, verdicts: Mapping[str, Verdicts], undecodable: dict[int, str]) -> Steps:
        """Judge a batch. Adds to `verdicts`, and to `undecodable` reasons by the index in the worker's batch."""
        begun = time.monotonic()
        self._deadline = begun + OWNER_SECONDS
        before = {name: verdict.seconds for name, verdict in verdicts.items()}
        yield from self._run(_Judging(batch, {index: _Task() for index in self.specs}, verdicts, undecodable))
        self._deadline = float("inf")
        self.spent = time.monotonic() - begun
        if not self._account.settle(len(batch.packets), self._charged()):
            names = (spec.name for spec in self.specs.values())
            slowest = max(names, key=lambda name: verdicts[name].seconds - before[name])
            self._circuits[slowest].fatal("its owner's filters take more time than the stream leaves them")

    def _charged(self) -> float:
        """Seconds to charge for the batch: processor time if there was much waiting, which others may have caused."""
        if self._process is None or self.spent < SHORT_SECONDS:
            return self.spent
        return min(self.spent, max(self._process.spent_on_command(), self.spent / wire.PATIENCE))

    def _run(self, judging: _Judging) -> Steps:
        while judging.tasks:
            jobs, asked = self._jobs(judging)
            if not jobs:
                return
            # 4
            if time.monotonic() > self._deadline:
                for index, question in asked.items():
                    judging.verdicts[self.specs[index].name].skipped += len(question)
                return
            try:
                yield from self.start()
                assert self._process is not None
                yield from self._ask(self._process, judging, jobs, asked)
                return
            except ProcessLost as lost:
                self._charge(lost, judging)

    def _jobs(self, judging: _Judging) -> tuple[list[wire.Job], dict[int, Question]]:
        """Step 1: what to ask now."""
        jobs: list[wire.Job] = []
        asked: dict[int, Question] = {}
        batch = judging.batch
        for index in list(judging.tasks):
            name = self.specs[index].name
            circuit, task = self._circuits[name], judging.tasks[index]
            question = Question(batch.eligible(name), frozenset(task.skip))
            if not circuit.allows():
                judging.verdicts[name].skipped += len(question)
                judging.tasks.pop(index)
            elif not len(question):
                judging.tasks.pop(index)
            else:
                asked[index] = question
                selection, skip = batch.selected.get(name), sorted(task.skip)
                jobs.append(wire.Job(index, selection, circuit.in_a_row, circuit.stop_at, skip, task.one_by_one))
        return jobs, asked

    def _ask(self, process: Process, judging: _Judging, jobs: list[wire.Job], asked: dict[int, Question]) -> Steps:
        """Steps 1 and 2. Raises ProcessLost."""
        lost: ProcessLost | None = None
        try:
            yield from self._converse(process, judging, jobs, asked)
        except wire.ProtocolError as error:
            lost = process.give_up(str(error))
        except ProcessLost as error:
            lost = error
        try:
            for result in verdicts.results(process.results.copy()):
                self._take(result, judging, asked)
        except wire.ProtocolError as error:
            lost = lost or process.give_up(str(error))
        if lost is None and any(not question.answered for question in asked.values()):
            lost = process.give_up("it says that it is done, but has not answered for every filter")
        if lost is not None:
            raise lost

    def _converse(self, process: Process, judging: _Judging, jobs: list[wire.Job], asked: dict[int, Question]) -> Steps:
        """Ask, and take what comes through the pipe until all is done. Raises ProcessLost and wire.ProtocolError."""
        batch = judging.batch
        lengths = [len(data) for data in batch.packets]
        yield from process.command(wire.Run(lengths, list(batch.selections), jobs, BATCH_SECONDS), self._deadline)
        bytes_left, frames_left = self._answers, len(jobs) + SPARE_FRAMES
        while True:
            body = yield from process.receive(self._deadline, None)
            bytes_left, frames_left = bytes_left - len(body), frames_left - 1
            if bytes_left < 0 or frames_left < 0:
                raise wire.ProtocolError("it sends more output than is allowed")
            answer = verdicts.running(body)
            if isinstance(answer, wire.Done):
                return
            if isinstance(answer, wire.Result):
                self._take(answer, judging, asked)
            elif isinstance(answer, wire.Undecodable):
                _confirm(answer.undecodable, judging)
            else:
                raise ProcessLost(
                    shared_memory.NO_FILTER if answer.filter is None else answer.filter,
                    shared_memory.NO_ALERT if answer.alert is None else answer.alert,
                    "it used up the memory that the filters of an owner may have",
                )

    def _take(self, result: wire.Result, judging: _Judging, asked: dict[int, Question]) -> None:
        """Check a result, add it to the verdicts, and report it to the filter's circuit. Raises wire.ProtocolError."""
        verdicts.check(result, asked)
        name, first = self.specs[result.filter].name, judging.batch.first
        verdict = judging.verdicts[name]
        failed = {first + index: verdicts.printable(reason) for index, reason in result.failed}
        if result.passed:
            verdict.passed.update({first + index: text for index, text in result.passed})
        verdict.failed.update(failed)
        verdict.skipped += result.skipped
        verdict.seconds += result.seconds
        if result.output or result.read:
            verdict.output = verdict.output or verdicts.printable(result.output)
            self.read[name].update(result.read)
        last = next(reversed(failed.values()), "").strip().splitlines()
        if result.overrun:
            self._circuits[name].fatal(verdicts.printable(result.overrun))
        else:
            self._circuits[name].ran(result.in_a_row, last[-1] if last else "")
        judging.tasks.pop(result.filter)

    def _charge(self, lost: ProcessLost, judging: _Judging) -> None:
        """Step 3: charge the filter and the alert that ran, or all filters that were asked and have not answered."""
        self.close()
        self.restarts += 1
        task = judging.tasks.get(lost.filter_index)
        if task is None:
            for index in judging.tasks:
                self._circuits[self.specs[index].name].fatal(lost.reason)
            return
        name, batch = self.specs[lost.filter_index].name, judging.batch
        if lost.alert == shared_memory.WHOLE_BATCH:
            task.one_by_one = True  # find out which alert it was
        elif lost.alert in batch.eligible(name) and lost.alert not in task.skip:
            task.skip.add(lost.alert)
            judging.verdicts[name].failed[batch.first + lost.alert] = lost.reason
        self._circuits[name].fatal(lost.reason)


def _confirm(claimed: Sequence[int], judging: _Judging) -> None:
    """Note the alerts that cannot be decoded here either. Raises wire.ProtocolError for one that can."""
    batch = judging.batch
    for index in dict.fromkeys(claimed):
        if index >= len(batch.packets):
            raise wire.ProtocolError(f"it speaks of the alert {index}, which does not exist")
        if batch.first + index in judging.undecodable:
            continue
        if (reason := _undecodable(batch.packets[index])) is None:
            raise wire.ProtocolError(f"it says that alert {index} of the batch cannot be decoded, but it can")
        judging.undecodable[batch.first + index] = reason


def _undecodable(data: bytes) -> str | None:
    """Why a packet cannot be decoded; None if it can."""
    try:
        packet = Packet.trusted(data)
        packet.read(name for name in EAGER if packet.has(name))
    except PacketError as error:
        return f"PacketError: {error}"[: wire.MAX_REASON]
    return None
