"""Where a machine's processor time goes: by part of the system, and within the Java processes by kind of thread.

Everything is read from /proc: the whole machine's busy time is the truth, the parts are the processes' own, and what is
left of the whole (interrupts, the kernel's own threads, processes that came and went) is called the kernel.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zads.lab.images import LABEL

_TICK = os.sysconf("SC_CLK_TCK")
#: Names of Java's threads, as far as the kernel keeps them (15 characters), and what they do.
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
    """Seconds of processor time that have been used until now."""

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
    """Tells which part of the system a process is. `hosts` maps a container's id to its host's name."""

    def __init__(self, hosts: Mapping[str, str]) -> None:
        self._hosts = hosts
        self._known: dict[int, str] = {}

    @classmethod
    def of_lab(cls, env: str) -> Parts:
        """With the hosts that an inventory's lab has now; whatever else runs is other processes."""
        command = ["docker", "ps", "--no-trunc", "--filter", f"label={LABEL}.env={env}"]
        command += ["--format", '{{.ID}} {{.Label "' + LABEL + '.host"}}']
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return cls(dict(line.split(" ", 1) for line in listed.splitlines() if " " in line))

    def snapshot(self) -> Snapshot:
        """Everything that has been used until now."""
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
    """The part that a process is, by its host and its command line."""
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
    """What was used between two snapshots; a process that ended in between counts as the kernel's."""
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


def measured(parts: Parts, work: Callable[[], None]) -> Usage:
    """What the machine used while `work` ran."""
    before = parts.snapshot()
    work()
    return between(before, parts.snapshot())
