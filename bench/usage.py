"""Processor time by part of the system, and within the Java processes by kind of thread.

All is read from /proc: the busy time of the whole machine, and the time of each process. The rest of the whole
(interrupts, the kernel's threads, processes that came and went) counts as the kernel's.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zads.build.engine import LABEL

_TICK = os.sysconf("SC_CLK_TCK")
#: Beginnings of the names of Java's threads (the kernel keeps 15 characters), and what they do.
_THREADS = {
    "C1 Comp": "compiler",
    "C2 Comp": "compiler",
    "GC Thread": "collector",
    "G1 ": "collector",
    "VM Thread": "collector",
    "data-plane-kafk": "network and requests",
    "ReplicaFetcher": "replica fetchers",
    "kafka-producer": "clients",
    "task-thread": "clients",
}


@dataclass(frozen=True)
class Snapshot:
    """Seconds of processor time that have been used up to a moment."""

    busy: float
    #: (part, process) -> seconds
    parts: Mapping[tuple[str, int], float]
    #: (part, kind of thread, thread) -> seconds
    threads: Mapping[tuple[str, str, int], float]


@dataclass(frozen=True)
class Usage:
    """Seconds of processor time between two moments."""

    busy: float
    parts: Mapping[str, float]
    threads: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def per_alert(self, alerts: int) -> dict[str, float]:
        """CPU-milliseconds an alert: `whole machine`, then the parts, the largest first."""
        ordered = sorted(self.parts.items(), key=lambda pair: -pair[1])
        return {name: 1000 * seconds / alerts for name, seconds in (("whole machine", self.busy), *ordered)}


class Parts:
    """Finds the part of the system that a process belongs to. `hosts` maps a container's id to its host's name."""

    def __init__(self, hosts: Mapping[str, str]) -> None:
        self._hosts = hosts
        self._known: dict[int, str] = {}

    @classmethod
    def of_lab(cls, env: str) -> Parts:
        """For the present hosts of an inventory's lab. All else that runs is `other processes`."""
        command = ["docker", "ps", "--no-trunc", "--filter", f"label={LABEL}.env={env}"]
        command += ["--format", '{{.ID}} {{.Label "' + LABEL + '.host"}}']
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return cls(dict(line.split(" ", 1) for line in listed.splitlines() if " " in line))

    def snapshot(self) -> Snapshot:
        """The processor time that has been used up to now."""
        parts: dict[tuple[str, int], float] = {}
        threads: dict[tuple[str, str, int], float] = {}
        busy = _busy()
        for process in _numbers("/proc"):
            with contextlib.suppress(OSError, ValueError):
                part = self._part(process)
                parts[part, process] = _seconds(f"/proc/{process}/stat")[1]
                if self._is_java(process):
                    for thread in _numbers(f"/proc/{process}/task"):
                        name, seconds = _seconds(f"/proc/{process}/task/{thread}/stat")
                        threads[part, _kind(name), thread] = seconds
        return Snapshot(busy, parts, threads)

    def _part(self, process: int) -> str:
        if process not in self._known:
            self._known[process] = self._find(process)
        return self._known[process]

    def _is_java(self, process: int) -> bool:
        return self._known[process].endswith(("brokers", "mirror"))

    def _find(self, process: int) -> str:
        words = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        group = Path(f"/proc/{process}/cgroup").read_text()
        host = next((name for identity, name in self._hosts.items() if identity in group), "")
        if not words:
            return "kernel"
        return part_of(host, words, own=process == os.getpid())


def part_of(host: str, words: str, *, own: bool = False) -> str:
    """The part that a process belongs to, by its host and its command line."""
    if own:
        return "subscriber"
    if "kafka.Kafka" in words:
        return f"{host.partition('-')[0]} brokers"
    for mark, part in (
        ("QuorumPeerMain", "ZooKeeper"), ("MirrorMaker", "mirror"), ("zads.filters.child", "workers"),
        (" produce ", "producer"), (" worker ", "workers"),
    ):  # fmt: skip
        if host and mark in words:
            return part
    return "hosts and engine" if host else "other processes"


def between(before: Snapshot, after: Snapshot) -> Usage:
    """The processor time between two snapshots. A process that ended in between counts as the kernel's."""
    parts: dict[str, float] = defaultdict(float)
    for key, seconds in after.parts.items():
        parts[key[0]] += seconds - before.parts.get(key, 0.0)
    threads: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for place, seconds in after.threads.items():
        threads[place[0]][place[1]] += seconds - before.threads.get(place, 0.0)
    busy = after.busy - before.busy
    parts["kernel"] += busy - sum(parts.values())
    return Usage(busy, dict(parts), {part: dict(kinds) for part, kinds in threads.items()})


def _busy() -> float:
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split(maxsplit=8)[1:8])
    return (user + nice + system + irq + softirq) / _TICK


def _seconds(path: str) -> tuple[str, float]:
    name, _, rest = Path(path).read_text().partition("(")[2].rpartition(")")
    fields = rest.split()
    return name, (int(fields[11]) + int(fields[12])) / _TICK


def _kind(name: str) -> str:
    return next((kind for start, kind in _THREADS.items() if name.startswith(start)), "others")


def _numbers(directory: str) -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(entry.name) for entry in Path(directory).iterdir() if entry.name.isdigit())
