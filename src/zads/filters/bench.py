"""A filter over a recorded night, exactly as the worker would run it, and what its subscribers would have received."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zads import kafka
from zads.errors import ZadsError
from zads.filters import runtime
from zads.filters.plugin import DEFAULT_CAP, locate
from zads.filters.worker import Counts
from zads.packet import Packet
from zads.sources import files
from zads.sources.replay import replay

FLOOD = 0.05  # of a night: above that, subscribers drown
BATCH = 500
SHOWN = 40  # alerts of a list that a page shows


@dataclass(frozen=True)
class Recorded:
    """One packet of a recorded night."""

    name: str
    packet: Packet


def night(path: Path) -> list[Recorded]:
    """The packets of a directory, an archive or a file, validated, in the order of observation. Raises ZadsError."""
    return _in_order(str(path), files.packets(path))


def night_of_topic(topic: str, client: Path) -> list[Recorded]:
    """The packets that a night's topic holds now, read with a client's properties file. Raises ZadsError."""
    messages = replay(kafka.read_properties(client), topic)
    return _in_order(topic, ((f"{topic}/{one.partition()}/{one.offset()}", one.value() or b"") for one in messages))


def _in_order(where: str, packets: Iterable[tuple[str, bytes]]) -> list[Recorded]:
    recorded = [Recorded(name, Packet.parse(data, source=name)) for name, data in packets]
    if not recorded:
        raise ZadsError(f"{where} has no packets", hint="give a directory or tar archive of .avro files, or a topic")
    return sorted(recorded, key=lambda one: (one.packet.jd, one.packet.candid))


@dataclass
class Outcome:
    """What a filter made of a night; alerts are numbers in it."""

    name: str
    declared: dict[str, Any]
    cap: int
    offered: int = 0
    passed: dict[int, str] = field(default_factory=dict)  # after the cap: annotations as JSON
    cut: list[int] = field(default_factory=list)  # passed, but beyond the cap
    failed: dict[int, str] = field(default_factory=dict)
    skipped: int = 0
    circuit: str = ""
    visits: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # offered, passed, cut
    seconds: float = 0.0
    advice: list[str] = field(default_factory=list)  # what it declares and does not read
    output: str = ""

    @property
    def share(self) -> float:
        """Of the alerts it was offered, the part that it passes, cap or not."""
        return (len(self.passed) + len(self.cut)) / self.offered if self.offered else 0.0

    @property
    def microseconds(self) -> float:
        """Time of one alert in this filter."""
        return 1e6 * self.seconds / max(1, self.offered)

    def failures(self, recorded: Sequence[Recorded]) -> list[dict[str, Any]]:
        """Each alert that it failed on, and why."""
        return [
            {
                "candid": recorded[index].packet.candid, "object": recorded[index].packet.object_id,
                "file": recorded[index].name, "reason": reason.rstrip(),
            }
            for index, reason in self.failed.items()
        ]  # fmt: skip

    def refusals(self) -> list[str]:
        """Why this filter may not go live, with figures; empty if it may."""
        reasons = []
        if not self.offered:
            reasons.append("this night has no alert of its programmes")
        if self.share > FLOOD:
            count = len(self.passed) + len(self.cut)
            reasons.append(
                f"it passes {count} of {self.offered} alerts ({100 * self.share:.1f} %), above {100 * FLOOD:g} %: "
                "subscribers would drown"
            )
        if self.failed:
            then = f" and was stopped, {self.skipped} were not looked at" if self.skipped else ""
            reasons.append(f"it failed on {len(self.failed)} alerts{then}")
        elif self.skipped:
            reasons.append(f"it was stopped, {self.skipped} alerts were not looked at: {self.circuit}")
        return reasons

    def report(self, recorded: Sequence[Recorded]) -> dict[str, Any]:
        """Everything, as JSON's types."""
        return {
            "filter": self.name, "offered": self.offered, "passed": len(self.passed), "cut": len(self.cut),
            "cap": self.cap, "failed": len(self.failed), "skipped": self.skipped, "share": self.share,
            "visits": self.visits, "microseconds_per_alert": self.microseconds, "advice": self.advice,
            "failures": self.failures(recorded), "refusals": self.refusals(),
        }  # fmt: skip


def run(place: str, recorded: Sequence[Recorded], *, cap: int | None = None) -> Outcome:
    """Run a filter (FILE, FILE:CLASS or a built-in) over a night in the worker's sandbox. Raises ZadsError."""
    path, _ = locate(place)
    spec = runtime.Spec(path.stem, str(Path(place).resolve()) if Path(place).exists() else place)
    # Once as the worker does, for the time; once more, slower, to learn which fields are looked at.
    with runtime.Group([spec]) as group:
        declared = group.declared[spec.name]
        if "error" in declared:
            raise ZadsError(declared["error"])
        outcome = _collect(spec.name, group, declared, recorded, cap or declared.get("cap", DEFAULT_CAP))
    if not outcome.skipped and outcome.offered:
        with runtime.Group([spec], trace=True) as group:
            _collect(spec.name, group, declared, recorded, outcome.cap)
            outcome.advice = _advice(declared["fields"], group.read[spec.name])
    return outcome


def _advice(declared: Sequence[str], read: Collection[str]) -> list[str]:
    """Fields that a filter could stop declaring, judged by those that it read."""
    advice = []
    for name in declared:
        below = sorted(one for one in read if one.startswith(f"{name}."))
        if name not in read and not below:
            advice.append(f"{name} was not read on this night: perhaps it need not be declared")
        elif below and f"{name}.*" not in below and "*" not in read:
            advice.append(f"of {name} only {', '.join(below)} was read: declare that alone, and less is decoded")
    return advice


def _collect(
    name: str, group: runtime.Group, declared: dict[str, Any], recorded: Sequence[Recorded], cap: int
) -> Outcome:
    outcome = Outcome(name, declared, cap)
    counts = Counts()
    mine = set(declared["programmes"])
    for first in range(0, len(recorded), BATCH):
        batch = recorded[first : first + BATCH]
        chosen = [index for index, one in enumerate(batch) if one.packet.programid in mine]
        verdicts, _ = group.run([one.packet.data for one in batch], {name: chosen})
        verdict = verdicts[name]
        for index in chosen:
            _tally(outcome, batch[index].packet.visit, 0)
        for index, text in sorted(verdict.passed.items()):
            visit = batch[index].packet.visit
            if counts.admit(visit, cap):
                outcome.passed[first + index] = text
                _tally(outcome, visit, 1)
            else:
                outcome.cut.append(first + index)
                _tally(outcome, visit, 2)
        outcome.failed.update({first + index: why for index, why in verdict.failed.items()})
        outcome.offered += len(chosen)
        outcome.skipped += verdict.skipped
        outcome.seconds += verdict.seconds
        outcome.output = outcome.output or verdict.output
    outcome.circuit = group.circuits[name].why
    return outcome


def _tally(outcome: Outcome, visit: str, what: int) -> None:
    numbers = list(outcome.visits.get(visit, (0, 0, 0)))
    numbers[what] += 1
    outcome.visits[visit] = (numbers[0], numbers[1], numbers[2])


def page(outcome: Outcome, recorded: Sequence[Recorded], compared: Mapping[str, Sequence[int]] | None = None) -> str:
    """An HTML page that needs nothing else: the figures, and alerts with light curves, cutouts and annotations.

    `compared` are lists of candids (see `compare`), shown as well.
    """
    from zads import pages

    by_candid = {one.packet.candid: one.packet for one in recorded}
    lists = [
        (title.capitalize(), len(candids), [pages.show(by_candid[candid]) for candid in candids[:SHOWN]])
        for title, candids in (compared or {}).items()
    ]
    passed = [pages.show(recorded[index].packet, text) for index, text in list(outcome.passed.items())[:SHOWN]]
    lists.append(("Received", len(outcome.passed), passed))
    nights = sorted({one.packet.night for one in recorded})
    return pages.render(
        "filter.html", outcome=outcome, refusals=outcome.refusals(), nights=nights,
        most=max([1, *(passed + cut for _, passed, cut in outcome.visits.values())]), lists=lists,
        failures=outcome.failures(recorded)[:SHOWN],
    )  # fmt: skip


def new(name: str, directory: Path) -> tuple[Path, Path]:
    """Write a filter to start from, and its test. Raises ZadsError if either is there already."""
    from zads.topics import filter_topic

    filter_topic(name)
    target, test = directory / f"{name}.py", directory / f"test_{name}.py"
    directory.mkdir(parents=True, exist_ok=True)
    for path in (target, test):
        if path.exists():
            raise ZadsError(f"{path} is there already", hint="choose another name, or remove it")
    title = "".join(part.capitalize() for part in name.split("_"))
    target.write_text(_TEMPLATE.replace("NAME", title))
    test.write_text(_TEST.replace("MODULE", name).replace("NAME", title))
    return target, test


_TEMPLATE = '''"""One line on what this file is about."""

from zads.filters import Alert, Filter
from zads.filters import quantities as q


class NAME(Filter):
    """Real, bright (below 17 mag), and not a known asteroid."""

    fields = ("candidate.magpsf", "candidate.rb", "candidate.isdiffpos", "candidate.ssdistnr", "candidate.ssmagnr")
    cap = 20

    def accept(self, alert: Alert) -> bool:
        """All cuts."""
        candidate = alert["candidate"]
        if q.real_bogus(alert) < 0.65 or not q.is_positive(candidate) or candidate["magpsf"] > 17.0:
            return False
        return not q.solar_system_match(alert, within_arcsec=10.0)
'''

_TEST = '''"""The cuts of MODULE, one alert each. Run with: pytest test_MODULE.py"""

from pathlib import Path

from zads.filters import load
from zads.filters.plugin import View

GOOD = {"magpsf": 15.0, "rb": 0.9, "isdiffpos": "t", "ssdistnr": -999.0, "ssmagnr": -999.0}


def accepts(**changed: object) -> bool:
    loaded = load(Path(__file__).with_name("MODULE.py"))
    return bool(loaded.accept(View(loaded.fields)({"candidate": {**GOOD, **changed}})))


def test_a_bright_real_source_passes() -> None:
    assert accepts()


def test_a_faint_one_does_not() -> None:
    assert not accepts(magpsf=18.0)


def test_an_asteroid_does_not() -> None:
    assert not accepts(ssdistnr=1.0, ssmagnr=15.0)
'''


def describe(outcome: Outcome) -> str:
    """The outcome for a terminal."""
    lines = [
        f"{outcome.name}: {outcome.declared['doc'].splitlines()[0]}",
        f"{'visit':>12} {'alerts':>8} {'pass':>6} {'cut by cap':>11}",
    ]
    lines += [f"{visit:>12} {a:>8} {p:>6} {c:>11}" for visit, (a, p, c) in sorted(outcome.visits.items())]
    lines.append(f"{'night':>12} {outcome.offered:>8} {len(outcome.passed):>6} {len(outcome.cut):>11}")
    lines.append(
        f"{100 * outcome.share:.2f} % pass before the cap of {outcome.cap} a visit; "
        f"{outcome.microseconds:.1f} us an alert in this filter"
    )
    lines += outcome.advice
    if outcome.skipped:
        lines.append(f"stopped, {outcome.skipped} alerts not looked at: {outcome.circuit}")
    if outcome.output:
        lines.append(f"it printed: {outcome.output[:300]!r}")
    return "\n".join(lines)


def compare(mine: Outcome, other: Outcome, recorded: Sequence[Recorded]) -> dict[str, list[int]]:
    """Candids that `mine` passes and `other` does not (gains), and the other way round (losses); caps apply."""
    return {
        "gains": sorted(recorded[index].packet.candid for index in mine.passed.keys() - other.passed.keys()),
        "losses": sorted(recorded[index].packet.candid for index in other.passed.keys() - mine.passed.keys()),
    }
