"""A rehearsal: a filter runs over a recorded night exactly as in the worker, to show what subscribers would receive."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from zads.errors import ZadsError
from zads.filters import modules, packages
from zads.filters.loading import locate
from zads.filters.owner import Spec
from zads.filters.recorded_night import Progress, RecordedAlert
from zads.filters.sandbox import Sandbox
from zads.filters.wire import Declaration

FLOOD = 0.05  # of a night: a filter that passes more floods its subscribers
BATCH = 250  # alerts
TRACED_ALERTS = 5_000  # over which the fields that a filter reads are noted: that is slow
KEPT_FAILURES = 100


class PassedAlert(NamedTuple):
    """An alert that passed; they sort in the order of observation."""

    jd: float
    candid: int
    name: str
    object_id: str
    visit: str
    annotations: str  # JSON, or ""


class FailedAlert(NamedTuple):
    """An alert on which the filter failed, and why."""

    candid: int
    object: str
    file: str
    reason: str


@dataclass
class Outcome:
    """What a filter did with a night."""

    name: str
    declared: Declaration
    cap: int
    offered: int = 0
    passed: list[PassedAlert] = field(default_factory=list)  # within the cap, in the order of observation
    cut: int = 0  # passed, but beyond the cap
    failed: int = 0
    failures: list[FailedAlert] = field(default_factory=list)  # the first KEPT_FAILURES
    skipped: int = 0
    circuit: str = ""
    visits: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # offered, passed, cut
    nights: list[str] = field(default_factory=list)
    seconds: float = 0.0
    advice: list[str] = field(default_factory=list)  # fields declared but not read; how this computer differs
    output: str = ""

    @property
    def share(self) -> float:
        """The fraction of the offered alerts that pass, whether within the cap or beyond it."""
        return (len(self.passed) + self.cut) / self.offered if self.offered else 0.0

    @property
    def microseconds(self) -> float:
        """Mean time of one alert in this filter."""
        return 1e6 * self.seconds / max(1, self.offered)

    def refusals(self) -> list[str]:
        """Why this filter may not go live, with figures; empty if it may."""
        reasons = []
        if not self.offered:
            reasons.append("this night has no alert of its programmes")
        if self.share > FLOOD:
            count = len(self.passed) + self.cut
            reasons.append(
                f"it passes {count} of {self.offered} alerts ({100 * self.share:.1f} %), above {100 * FLOOD:g} %: "
                "subscribers would drown"
            )
        if self.failed:
            then = f" and was stopped, {self.skipped} were not looked at" if self.skipped else ""
            reasons.append(f"it failed on {self.failed} alerts{then}")
        elif self.skipped:
            reasons.append(f"it was stopped, {self.skipped} alerts were not looked at: {self.circuit}")
        return reasons

    def report(self) -> dict[str, Any]:
        """All figures, as JSON's types."""
        return {
            "filter": self.name, "offered": self.offered, "passed": len(self.passed), "cut": self.cut,
            "cap": self.cap, "failed": self.failed, "skipped": self.skipped, "share": self.share,
            "visits": self.visits, "microseconds_per_alert": self.microseconds, "advice": self.advice,
            "failures": [failure._asdict() for failure in self.failures], "refusals": self.refusals(),
        }  # fmt: skip


def run(
    place: str, alerts: Iterable[RecordedAlert], *, cap: int | None = None, progress: Progress | None = None
) -> Outcome:
    """Run a filter (FILE, FILE:CLASS or a built-in) over a night in the worker's sandbox. Raises ZadsError."""
    return run_all([place], alerts, cap=cap, progress=progress)[0]


def run_all(
    places: Sequence[str], alerts: Iterable[RecordedAlert], *, cap: int | None = None, progress: Progress | None = None
) -> list[Outcome]:
    """Run several filters, each in a sandbox of its own, over a night that is read once. Raises ZadsError."""
    directories = dict.fromkeys(locate(place)[0].parent for place in places)
    lists = [packages.lists()[0], *(path for directory in directories for path in packages.lists(directory)[1:])]
    with ExitStack() as stack:
        stack.enter_context(packages.only(lists))
        rehearsals = [_Rehearsal(place, cap, stack) for place in places]
        read = 0
        for batch in _batches(alerts):
            for rehearsal in rehearsals:
                rehearsal.judge(batch)
            read += len(batch)
            if progress is not None:
                progress(read, rehearsals[0].count)
        outcomes = [rehearsal.outcome() for rehearsal in rehearsals]
    different = packages.differences(packages.pinned(lists))
    for outcome in outcomes:
        outcome.advice += different
    return outcomes


def compare(new: Outcome, old: Outcome) -> dict[str, list[int]]:
    """Candids that only `new` passes (gains), and those that only `old` passes (losses); caps apply."""
    gained, lost = ({alert.candid for alert in outcome.passed} for outcome in (new, old))
    return {"gains": sorted(gained - lost), "losses": sorted(lost - gained)}


def _batches(alerts: Iterable[RecordedAlert]) -> Iterator[list[RecordedAlert]]:
    batch: list[RecordedAlert] = []
    for alert in alerts:
        batch.append(alert)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class _Rehearsal:
    """One filter over a night. It runs twice: as in the worker, for the time; and, slower, to note what it reads.

    The cap is applied in the order of observation, whatever the order of the source: the earliest alerts of each visit
    are kept, and no others need to be.
    """

    def __init__(self, place: str, cap: int | None, stack: ExitStack) -> None:
        self._path, _ = locate(place)
        spec = Spec(self._path.stem, str(Path(place).resolve()) if Path(place).exists() else place)
        self._name = spec.name
        self._sandbox = stack.enter_context(Sandbox([spec]))
        declared = self._sandbox.declared[spec.name]
        if declared.error:
            raise ZadsError(declared.error)
        self._tracing = stack.enter_context(ExitStack())  # may end before the rehearsal does
        self._traced: Sandbox | None = self._tracing.enter_context(Sandbox([spec], trace=True))
        self._traced_alerts = 0
        self._outcome = Outcome(spec.name, declared, cap or declared.cap)
        self._programmes = set(declared.programmes)
        self._kept: dict[str, list[PassedAlert]] = {}
        self._offered: dict[str, int] = {}
        self._cut: dict[str, int] = {}
        self._nights: set[str] = set()

    @property
    def count(self) -> int:
        """Number of alerts that have passed, within the cap or beyond it."""
        return sum(map(len, self._kept.values())) + sum(self._cut.values())

    def judge(self, batch: Sequence[RecordedAlert]) -> None:
        """Have the filter judge some alerts, and add the verdicts to the outcome."""
        outcome = self._outcome
        chosen = [index for index, alert in enumerate(batch) if alert.packet.programid in self._programmes]
        packets = [alert.packet.data for alert in batch]
        verdicts, _ = self._sandbox.run(packets, {self._name: chosen})
        verdict = verdicts[self._name]
        for index in chosen:
            visit = batch[index].packet.visit
            self._offered[visit] = self._offered.get(visit, 0) + 1
        self._nights.update(alert.packet.night for alert in batch)
        for index, text in verdict.passed.items():
            self._admit(batch[index], text)
        for index, reason in verdict.failed.items():
            self._add_failure(batch[index], reason)
        outcome.offered += len(chosen)
        outcome.failed += len(verdict.failed)
        outcome.skipped += verdict.skipped
        outcome.seconds += verdict.seconds
        outcome.output = outcome.output or verdict.output
        if self._traced is not None:
            self._trace(self._traced, packets, chosen)

    def _trace(self, sandbox: Sandbox, packets: Sequence[bytes], chosen: list[int]) -> None:
        if self._outcome.skipped or self._traced_alerts >= TRACED_ALERTS:
            self._tracing.close()
            self._traced = None
            return
        sandbox.run(packets, {self._name: chosen})
        self._traced_alerts += len(chosen)
        self._outcome.advice = _advice(self._outcome.declared.fields, sandbox.read[self._name], self._traced_alerts)

    def _admit(self, alert: RecordedAlert, annotations: str) -> None:
        packet = alert.packet
        kept = self._kept.setdefault(packet.visit, [])
        passed = PassedAlert(packet.jd, packet.candid, alert.name, packet.object_id, packet.visit, annotations)
        bisect.insort(kept, passed)
        if len(kept) > self._outcome.cap:
            kept.pop()
            self._cut[packet.visit] = self._cut.get(packet.visit, 0) + 1

    def _add_failure(self, alert: RecordedAlert, reason: str) -> None:
        if len(self._outcome.failures) < KEPT_FAILURES:
            packet = alert.packet
            self._outcome.failures.append(FailedAlert(packet.candid, packet.object_id, alert.name, reason.rstrip()))

    def outcome(self) -> Outcome:
        """The outcome of the whole night."""
        outcome = self._outcome
        outcome.passed = sorted(passed for kept in self._kept.values() for passed in kept)
        outcome.cut = sum(self._cut.values())
        outcome.visits = {
            visit: (offered, len(self._kept.get(visit, ())), self._cut.get(visit, 0))
            for visit, offered in self._offered.items()
        }
        outcome.nights = sorted(self._nights)
        outcome.circuit = self._sandbox.circuits[self._name].why
        if not outcome.offered or outcome.skipped:
            outcome.advice = []
        if needed := modules.beside(self._path):
            named = ", ".join(needed)
            outcome.advice.append(f"it imports {named}: its entry in the inventory says modules: [{named}]")
        return outcome


def _advice(declared: Sequence[str], read: Collection[str], alerts: int) -> list[str]:
    """Fields that a filter need not declare, by what it read of a number of alerts."""
    advice = []
    for name in declared:
        below = sorted(path for path in read if path.startswith(f"{name}."))
        if name not in read and not below:
            advice.append(f"{name} was not read in {alerts} alerts: perhaps it need not be declared")
        elif below and f"{name}.*" not in below and "*" not in read:
            advice.append(f"of {name} only {', '.join(below)} was read: declare that alone, and less is decoded")
    return advice
