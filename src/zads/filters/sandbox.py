"""Runs a group's filters, in one process for each owner: what a filter does harms neither the worker nor other owners.

A filter that hangs, dies or runs out of memory costs its owner's other filters at most FATAL_FAILURES times its time
for a batch (BATCH_SECONDS, KILL_GRACE and a restart) before its circuit opens. After that it costs them this time once
at each trial. The time to the next trial is REST_SECONDS at first, and doubles up to LONGEST_REST. A filter that only
raises exceptions costs nothing but its own time.

Owners run beside each other, as many at once as there are processors (at least two). Those who took the least time for
the last batch come first, so that a slow owner delays only the end of the batch, by at most OWNER_SECONDS.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from zads.filters import shared_memory, wire
from zads.filters.circuit import Circuit
from zads.filters.launcher import Launcher, LocalLauncher
from zads.filters.owner import MEMORY_BYTES, Batch, Owner, Spec
from zads.filters.process import Steps
from zads.filters.verdicts import Verdicts
from zads.packet import PacketError

TICK_SECONDS = 0.1
ALL_ANSWER_BYTES = 96_000_000  # of one batch through the pipes, shared out among the owners
LEAST_ANSWER_BYTES = 2_000_000  # of an owner


class Sandbox:
    """Filters that run together, and their processes. Use it as a context manager, or call `close`.

    With `trace`, `read` has the fields that each filter reads; this makes filters slower. `beat` is called at least
    every TICK_SECONDS while filters run. Raises ZadsError if the processes cannot be started or fenced in. A filter
    that cannot be loaded has an open circuit instead, and `declared` has its error.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        *,
        memory_bytes: int = MEMORY_BYTES,
        trace: bool = False,
        launcher: Launcher | None = None,
        beat: Callable[[], object] = lambda: None,
    ) -> None:
        self.specs = list(specs)
        self.circuits = {spec.name: Circuit() for spec in specs}
        self._beat = beat
        self._launcher = launcher or LocalLauncher()
        self._packets = shared_memory.Packets()
        self._closed = False
        owners = dict.fromkeys(spec.owner for spec in specs)
        answer_bytes = max(ALL_ANSWER_BYTES // max(1, len(owners)), LEAST_ANSWER_BYTES)
        self._owners = [
            Owner(
                {index: spec for index, spec in enumerate(specs) if spec.owner == owner},
                self.circuits, self._launcher, self._packets, memory_bytes, answer_bytes, trace,
            )
            for owner in owners
        ]  # fmt: skip
        try:
            self._together([(owner, owner.start()) for owner in self._owners])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the filters' processes. Another call does nothing."""
        if self._closed:
            return
        self._closed = True
        for owner in self._owners:
            owner.close()
        self._launcher.close()
        self._packets.close()

    @property
    def declared(self) -> dict[str, wire.Declaration]:
        """What each filter declares, or why it cannot be loaded, by its name."""
        return {name: declaration for owner in self._owners for name, declaration in owner.declared.items()}

    @property
    def read(self) -> dict[str, set[str]]:
        """The fields that each filter has read, by its name, if this is traced."""
        return {name: fields for owner in self._owners for name, fields in owner.read.items()}

    @property
    def restarts(self) -> int:
        """Number of times that a process had to be started again."""
        return sum(owner.restarts for owner in self._owners)

    def run(
        self, packets: Sequence[bytes], eligible: Mapping[str, Iterable[int]] | None = None
    ) -> tuple[dict[str, Verdicts], dict[int, str]]:
        """Run every filter over a batch of packets; `eligible` has the indices that a filter may see, if not all.

        Returns the verdicts by the filter's name, and by index the reasons why alerts cannot be decoded.
        Raises PacketError for a packet that is larger than the shared memory.
        """
        verdicts = {spec.name: Verdicts() for spec in self.specs}
        undecodable: dict[int, str] = {}
        selections, selected = _selections(eligible or {})
        for first, last in _pieces(packets):
            inside = [[index - first for index in chosen if first <= index < last] for chosen in selections]
            batch = Batch(packets[first:last], first, inside, selected)
            self._packets.put(batch.packets)
            quickest_first = sorted(self._owners, key=lambda owner: round(owner.spent))
            self._together([(owner, owner.run(batch, verdicts, undecodable)) for owner in quickest_first])
        return verdicts, undecodable

    def _together(self, tasks: Iterable[tuple[Owner, Steps]]) -> None:
        """Continue each owner's steps whenever its process answers, and at every tick."""
        waiting = deque(tasks)
        running: list[tuple[Owner, Steps]] = []
        slots = max(2, len(os.sched_getaffinity(0)))
        ticked = time.monotonic()
        while True:
            while waiting and len(running) < slots:
                task = waiting.popleft()
                if _continue(task):
                    running.append(task)
            if not running:
                return
            poll = select.poll()
            for owner, _ in running:
                poll.register(owner.descriptor, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(1000 * TICK_SECONDS)}
            if (now := time.monotonic()) - ticked >= TICK_SECONDS:
                ticked = now
                self._beat()
                ready = {owner.descriptor for owner, _ in running}
            running = [task for task in running if task[0].descriptor not in ready or _continue(task)]


def _continue(task: tuple[Owner, Steps]) -> bool:
    """Run an owner's steps until they wait for the process again; False at their end."""
    try:
        next(task[1])
    except StopIteration:
        return False
    return True


def _selections(eligible: Mapping[str, Iterable[int]]) -> tuple[list[list[int]], dict[str, int]]:
    """The distinct selections of alerts, and each filter's place among them: most filters of a group share one."""
    kept: dict[int, tuple[int, Iterable[int]]] = {}  # holds the selections: only living objects have distinct ids
    selected: dict[str, int] = {}
    for name, chosen in eligible.items():
        selected[name] = kept.setdefault(id(chosen), (len(kept), chosen))[0]
    return [list(chosen) for _, chosen in kept.values()], selected


def _pieces(packets: Sequence[bytes]) -> list[tuple[int, int]]:
    """Ranges of a batch that fit into the shared memory. Raises PacketError for a packet that does not fit at all."""
    pieces: list[tuple[int, int]] = []
    first, size = 0, 0
    for index, packet in enumerate(packets):
        if len(packet) > shared_memory.PACKETS_BYTES:
            raise PacketError(f"{len(packet)} bytes are too many for a packet")
        if size + len(packet) > shared_memory.PACKETS_BYTES:
            pieces.append((first, index))
            first, size = index, 0
        size += len(packet)
    return [*pieces, (first, len(packets))] if packets else []
