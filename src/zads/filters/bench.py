"""A filter over a recorded night, exactly as the worker would run it, and what its subscribers would have received.

A night is read alert by alert and never held: a whole one is 200,000 packets, 13 GB.
"""

from __future__ import annotations

import bisect
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from zads import kafka, schemas
from zads.errors import ZadsError
from zads.filters import modules, packages, runtime
from zads.filters.interface import DEFAULT_CAP
from zads.filters.loading import locate
from zads.packet import Packet
from zads.sources import files
from zads.sources.replay import replay

FLOOD = 0.05  # of a night: above that, subscribers drown
BATCH = 250
SHOWN = 40  # alerts of a list that a page shows
FEW = 3  # passed alerts that a terminal shows
TRACED = 5_000  # alerts over which it is found out which fields are read: that is slow
TOLD = 100  # failures and refused packets that are kept with their reasons
LARGEST_SAMPLE = 5_000  # packets; a sample is held in memory, with 65 kB each


@dataclass(frozen=True)
class Recorded:
    """One packet of a recorded night."""

    name: str
    packet: Packet


class Night:
    """A recorded night: its packets, validated, in the order of their source; each iteration reads them anew.

    `refused` has the reasons for packets that a producer would refuse, which no filter is offered: at most TOLD of
    `refusals`; `passed_over` counts files that are neither read nor refused, by reason. Iterating raises ZadsError if
    the source cannot be read or has no packet.
    """

    def __init__(self, where: str, read: Callable[[], Iterable[files.Item]]) -> None:
        self._where, self._read = where, read
        # What a producer was told to accept, a worker reads.
        self._admission = schemas.Admission(accepts=True)
        self.refused: list[str] = []
        self.refusals = 0
        self.passed_over: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Recorded]:
        self.refused, self.refusals, self.passed_over = [], 0, Counter()
        found = False
        for item in self._read():
            if (packet := self._packet(item)) is not None:
                found = True
                yield Recorded(item.name, packet)
        if not found:
            hint = "give a directory or tar archive of .avro files, or a topic"
            raise ZadsError("; ".join([f"{self._where} has no packets", *self.refused[:1]]), hint=hint)

    def _packet(self, item: files.Item) -> Packet | None:
        if item.passed:
            self.passed_over[item.passed] += 1
            return None
        why = item.refused
        if not why:
            try:
                return Packet.parse(item.data, admission=self._admission)
            except ZadsError as error:
                why = str(error)
        self.refusals += 1
        if len(self.refused) < TOLD:
            self.refused.append(f"{item.name}: {why}")
        return None


def night(path: Path) -> Night:
    """The packets of a directory, an archive or a file."""
    return Night(str(path), lambda: files.read(path))


def night_of_topic(topic: str, client: Path) -> Night:
    """The packets that a night's topic holds, read with a client's properties file. Raises ZadsError."""
    conf = kafka.read_properties(client)

    def read() -> Iterator[files.Item]:
        for one in replay(conf, topic):
            data = one.value() or b""
            yield files.Item(f"{topic}/{one.partition()}/{one.offset()}", data, len(data))

    return Night(topic, read)


@dataclass(frozen=True)
class Sample:
    """Packets of a night, each as likely as any other, in its order; and how many the night has."""

    packets: list[Recorded]
    of: int

    def __iter__(self) -> Iterator[Recorded]:
        return iter(self.packets)


def sample(recorded: Iterable[Recorded], count: int, seed: int = 1, progress: Progress | None = None) -> Sample:
    """A fair sample of a night, the same for the same seed (reservoir sampling: Vitter 1985, algorithm R)."""
    chance = random.Random(seed)
    kept: list[tuple[int, Recorded]] = []
    number = -1
    for number, one in enumerate(recorded):
        if len(kept) < count:
            kept.append((number, one))
        elif (place := chance.randrange(number + 1)) < count:
            kept[place] = (number, one)
        if progress is not None and number % BATCH == 0:
            progress(number, 0)
    return Sample([one for _, one in sorted(kept, key=lambda pair: pair[0])], number + 1)


class Passed(NamedTuple):
    """An alert that passed; they sort in the order of observation."""

    jd: float
    candid: int
    name: str
    object_id: str
    visit: str
    annotations: str  # JSON, or ""


@dataclass
class Outcome:
    """What a filter made of a night."""

    name: str
    declared: dict[str, Any]
    cap: int
    offered: int = 0
    passed: list[Passed] = field(default_factory=list)  # after the cap, in the order of observation
    cut: int = 0  # passed, but beyond the cap
    failed: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)  # the first TOLD: candid, object, file, reason
    skipped: int = 0
    circuit: str = ""
    visits: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # offered, passed, cut
    nights: list[str] = field(default_factory=list)
    seconds: float = 0.0
    advice: list[str] = field(default_factory=list)  # what it declares and does not read; where this computer differs
    output: str = ""

    @property
    def share(self) -> float:
        """Of the alerts it was offered, the part that it passes, cap or not."""
        return (len(self.passed) + self.cut) / self.offered if self.offered else 0.0

    @property
    def microseconds(self) -> float:
        """Time of one alert in this filter."""
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
        """Everything, as JSON's types."""
        return {
            "filter": self.name, "offered": self.offered, "passed": len(self.passed), "cut": self.cut,
            "cap": self.cap, "failed": self.failed, "skipped": self.skipped, "share": self.share,
            "visits": self.visits, "microseconds_per_alert": self.microseconds, "advice": self.advice,
            "failures": self.failures, "refusals": self.refusals(),
        }  # fmt: skip


#: Is told, every now and then, how many alerts have been read and how many of them have passed the first filter.
Progress = Callable[[int, int], None]


def run(
    place: str, recorded: Iterable[Recorded], *, cap: int | None = None, progress: Progress | None = None
) -> Outcome:
    """Run a filter (FILE, FILE:CLASS or a built-in) over a night in the worker's sandbox. Raises ZadsError."""
    return run_all([place], recorded, cap=cap, progress=progress)[0]


def run_all(
    places: Sequence[str], recorded: Iterable[Recorded], *, cap: int | None = None, progress: Progress | None = None
) -> list[Outcome]:
    """Run filters beside each other, each on its own, over a night that is read once. Raises ZadsError."""
    directories = dict.fromkeys(locate(place)[0].parent for place in places)
    lists = [packages.lists()[0], *(path for one in directories for path in packages.lists(one)[1:])]
    with ExitStack() as stack:
        stack.enter_context(packages.only(lists))
        trials = [_Trial(place, cap, stack) for place in places]
        read = 0
        for batch in _batches(recorded):
            for trial in trials:
                trial.judge(batch)
            read += len(batch)
            if progress is not None:
                progress(read, trials[0].count)
        outcomes = [trial.outcome() for trial in trials]
    different = packages.differences(packages.pinned(lists))
    for outcome in outcomes:
        outcome.advice += different
    return outcomes


def _batches(recorded: Iterable[Recorded]) -> Iterator[list[Recorded]]:
    batch: list[Recorded] = []
    for one in recorded:
        batch.append(one)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class _Trial:
    """One filter over a night: once as the worker does, for the time; beside it, slower, to learn what it reads.

    The cap is applied in the order of observation, whatever the order of the source: of each visit the earliest are
    kept, which is also all that has to be kept.
    """

    def __init__(self, place: str, cap: int | None, stack: ExitStack) -> None:
        self._path, _ = locate(place)
        spec = runtime.Spec(self._path.stem, str(Path(place).resolve()) if Path(place).exists() else place)
        self._name = spec.name
        self._group = stack.enter_context(runtime.Group([spec]))
        declared = self._group.declared[spec.name]
        if "error" in declared:
            raise ZadsError(declared["error"])
        self._tracing = stack.enter_context(ExitStack())  # may end before the trial does
        self._traced: runtime.Group | None = self._tracing.enter_context(runtime.Group([spec], trace=True))
        self._looked = 0  # alerts that the traced one has seen
        self._outcome = Outcome(spec.name, declared, cap or declared.get("cap", DEFAULT_CAP))
        self._mine = set(declared["programmes"])
        self._kept: dict[str, list[Passed]] = {}
        self._offered: dict[str, int] = {}
        self._cut: dict[str, int] = {}
        self._nights: set[str] = set()

    @property
    def count(self) -> int:
        """How many alerts have passed, cap or not."""
        return sum(map(len, self._kept.values())) + sum(self._cut.values())

    def judge(self, batch: Sequence[Recorded]) -> None:
        """Have the filter judge some alerts."""
        outcome = self._outcome
        chosen = [index for index, one in enumerate(batch) if one.packet.programid in self._mine]
        alerts = [one.packet.data for one in batch]
        verdicts, _ = self._group.run(alerts, {self._name: chosen})
        verdict = verdicts[self._name]
        for index in chosen:
            visit = batch[index].packet.visit
            self._offered[visit] = self._offered.get(visit, 0) + 1
        self._nights.update(one.packet.night for one in batch)
        for index, text in verdict.passed.items():
            self._admit(batch[index], text)
        for index, reason in verdict.failed.items():
            self._fail(batch[index], reason)
        outcome.offered += len(chosen)
        outcome.failed += len(verdict.failed)
        outcome.skipped += verdict.skipped
        outcome.seconds += verdict.seconds
        outcome.output = outcome.output or verdict.output
        if self._traced is not None:
            self._trace(self._traced, alerts, chosen)

    def _trace(self, group: runtime.Group, alerts: Sequence[bytes], chosen: list[int]) -> None:
        if self._outcome.skipped or self._looked >= TRACED:
            self._tracing.close()
            self._traced = None
            return
        group.run(alerts, {self._name: chosen})
        self._looked += len(chosen)
        self._outcome.advice = _advice(self._outcome.declared["fields"], group.read[self._name], self._looked)

    def _admit(self, one: Recorded, annotations: str) -> None:
        packet = one.packet
        kept = self._kept.setdefault(packet.visit, [])
        passed = Passed(packet.jd, packet.candid, one.name, packet.object_id, packet.visit, annotations)
        bisect.insort(kept, passed)
        if len(kept) > self._outcome.cap:
            kept.pop()
            self._cut[packet.visit] = self._cut.get(packet.visit, 0) + 1

    def _fail(self, one: Recorded, reason: str) -> None:
        if len(self._outcome.failures) < TOLD:
            self._outcome.failures.append(
                {
                    "candid": one.packet.candid, "object": one.packet.object_id, "file": one.name,
                    "reason": reason.rstrip(),
                }
            )  # fmt: skip

    def outcome(self) -> Outcome:
        """What has come of it."""
        outcome = self._outcome
        outcome.passed = sorted(passed for kept in self._kept.values() for passed in kept)
        outcome.cut = sum(self._cut.values())
        outcome.visits = {
            visit: (offered, len(self._kept.get(visit, ())), self._cut.get(visit, 0))
            for visit, offered in self._offered.items()
        }
        outcome.nights = sorted(self._nights)
        outcome.circuit = self._group.circuits[self._name].why
        if not outcome.offered or outcome.skipped:
            outcome.advice = []
        if needed := modules.beside(self._path):
            named = ", ".join(needed)
            outcome.advice.append(f"it imports {named}: its entry in the inventory says modules: [{named}]")
        return outcome


def _advice(declared: Sequence[str], read: Collection[str], looked: int) -> list[str]:
    """Fields that a filter could stop declaring, judged by those that it read of so many alerts."""
    advice = []
    for name in declared:
        below = sorted(one for one in read if one.startswith(f"{name}."))
        if name not in read and not below:
            advice.append(f"{name} was not read in {looked} alerts: perhaps it need not be declared")
        elif below and f"{name}.*" not in below and "*" not in read:
            advice.append(f"of {name} only {', '.join(below)} was read: declare that alone, and less is decoded")
    return advice


def page(
    outcome: Outcome,
    recorded: Iterable[Recorded],
    compared: dict[str, list[int]] | None = None,
    object_page: str | None = None,
) -> str:
    """An HTML page that needs nothing else: the figures, and alerts with light curves, cutouts and annotations.

    `compared` are lists of candids (see `compare`), shown as well; `object_page` is where an object can be looked up
    (see `alert_card.OBJECT_PAGE`). The night is read again, as far as it takes to find the alerts that are shown.
    """
    from zads import pages
    from zads.alert_card import OBJECT_PAGE, AlertCard

    where = OBJECT_PAGE if object_page is None else object_page
    received = outcome.passed[:SHOWN]
    wanted = {one.candid for one in received}.union(*(candids[:SHOWN] for candids in (compared or {}).values()))
    found = _find(recorded, wanted)
    notes = {one.candid: one.annotations for one in outcome.passed}
    lists = [
        (
            title.capitalize(),
            len(candids),
            [AlertCard.of(found[candid], notes.get(candid, ""), where) for candid in candids[:SHOWN]],
        )
        for title, candids in (compared or {}).items()
    ]
    shown = [AlertCard.of(found[one.candid], one.annotations, where) for one in received]
    lists.append(("Received", len(outcome.passed), shown))
    return pages.render(
        "filter.html", outcome=outcome, refusals=outcome.refusals(), lists=lists, failures=outcome.failures[:SHOWN],
        most=max([1, *(passed + cut for _, passed, cut in outcome.visits.values())]),
    )  # fmt: skip


def _find(recorded: Iterable[Recorded], wanted: Collection[int]) -> dict[int, Packet]:
    found: dict[int, Packet] = {}
    if wanted:
        for one in recorded:
            if one.packet.candid in wanted:
                found[one.packet.candid] = one.packet
                if len(found) == len(wanted):
                    break
    return found


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

from zads.filters import View, load

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
    lines.append(f"{'night':>12} {outcome.offered:>8} {len(outcome.passed):>6} {outcome.cut:>11}")
    lines.append(
        f"{100 * outcome.share:.2f} % pass before the cap of {outcome.cap} a visit; "
        f"{outcome.microseconds:.1f} us an alert in this filter"
    )
    lines += [f"such as {one.candid} {one.object_id} {one.annotations}".rstrip() for one in outcome.passed[:FEW]]
    lines += outcome.advice
    if outcome.skipped:
        lines.append(f"stopped, {outcome.skipped} alerts not looked at: {outcome.circuit}")
    if outcome.output:
        lines.append(f"it printed: {outcome.output[:300]!r}")
    return "\n".join(lines)


def compare(mine: Outcome, other: Outcome) -> dict[str, list[int]]:
    """Candids that `mine` passes and `other` does not (gains), and the other way round (losses); caps apply."""
    one, two = ({passed.candid for passed in outcome.passed} for outcome in (mine, other))
    return {"gains": sorted(one - two), "losses": sorted(two - one)}
