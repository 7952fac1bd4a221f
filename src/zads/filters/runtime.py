"""Runs a group's filters, one process for each owner, so that what one does harms neither the worker nor other owners.

The bound: a filter that hangs, dies or runs out of memory costs its owner's other filters at most FATAL_FAILURES times
(its time for a batch, BATCH_SECONDS, plus KILL_GRACE and a restart) before its circuit opens, and one such time at each
trial after REST_SECONDS, which double up to LONGEST_REST. One that merely raises costs nothing but its own time. Owners
run beside each other, as many at once as there are processors (at least two), those first that took least time of the
batch before: an owner who takes long keeps nobody from running, only the batch from its end, by OWNER_SECONDS at most.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from zads.filters import shared_memory, wire
from zads.filters.circuit import Circuit
from zads.filters.launcher import Launcher, Local
from zads.filters.owner import MEMORY_BYTES, Batch, Owner, Spec
from zads.filters.process import Steps
from zads.filters.verdicts import Verdicts
from zads.packet import PacketError

__all__ = ["Group", "Spec", "Verdicts"]

TICK_SECONDS = 0.1
ALL_ANSWER_BYTES = 96_000_000  # of one batch through the pipes, shared out among the owners
LEAST_ANSWER_BYTES = 2_000_000  # of an owner


class Group:
    """Filters that run together. Use as a context manager, or call `close`.

    `trace` finds out which fields are read (`read`), at some cost. `beat` is called at least every TICK_SECONDS while
    filters run. Raises ZadsError if their processes cannot be started or fenced in; a filter that cannot be loaded has
    an open circuit instead, and `declared` has its error.
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
        self._launcher = launcher or Local()
        self._packets = shared_memory.Packets()
        self._closed = False
        names = dict.fromkeys(spec.owner for spec in specs)
        answer_bytes = max(ALL_ANSWER_BYTES // max(1, len(names)), LEAST_ANSWER_BYTES)
        self._owners = [
            Owner(
                {number: spec for number, spec in enumerate(specs) if spec.owner == name},
                self.circuits, self._launcher, self._packets, memory_bytes, answer_bytes, trace,
            )
            for name in names
        ]  # fmt: skip
        try:
            self._together([(owner, owner.start()) for owner in self._owners])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Group:
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
        return {name: what for owner in self._owners for name, what in owner.declared.items()}

    @property
    def read(self) -> dict[str, set[str]]:
        """The fields that each filter has read, if this is traced."""
        return {name: what for owner in self._owners for name, what in owner.read.items()}

    @property
    def restarts(self) -> int:
        """How often a process had to be started again."""
        return sum(owner.restarts for owner in self._owners)

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
            batch = Batch(alerts[first:last], first, inside, selected)
            self._packets.put(batch.packets)
            patient = sorted(self._owners, key=lambda owner: round(owner.spent))
            self._together([(owner, owner.run(batch, verdicts, undecodable)) for owner in patient])
        return verdicts, undecodable

    def _together(self, tasks: Iterable[tuple[Owner, Steps]]) -> None:
        """Have owners go on as their processes answer, and each at every tick."""
        waiting = deque(tasks)
        running: list[tuple[Owner, Steps]] = []
        slots = max(2, len(os.sched_getaffinity(0)))
        ticked = time.monotonic()
        while True:
            while waiting and len(running) < slots:
                task = waiting.popleft()
                if _goes_on(task):
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
            running = [task for task in running if task[0].descriptor not in ready or _goes_on(task)]


def _goes_on(task: tuple[Owner, Steps]) -> bool:
    """Go on until the process has to be waited for again; False when it is at its end."""
    try:
        next(task[1])
    except StopIteration:
        return False
    return True


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
        if len(alert) > shared_memory.PACKETS_BYTES:
            raise PacketError(f"{len(alert)} bytes are too many for a packet")
        if size + len(alert) > shared_memory.PACKETS_BYTES:
            pieces.append((first, index))
            first, size = index, 0
        size += len(alert)
    return [*pieces, (first, len(alerts))] if alerts else []
