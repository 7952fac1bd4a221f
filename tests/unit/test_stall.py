"""The stall detector: a silent mirror is noticed within 30 s, and nothing else looks like one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads.exporter.history import MOST, History
from zads.exporter.service import MIRROR_EVERY
from zads.exporter.stall import SILENT_SECONDS, Ends, MirrorWatch, Verdict
from zads.reading import Partition

FIRST, SECOND = ("ztf_20300101_programid1", 0), ("ztf_20300101_programid1", 1)


@dataclass
class Log:
    """A partition of origin: what is at each offset (True: a record; False: a marker, or a record of an aborted
    transaction), the mirror's place, and the end at the public site."""

    content: list[bool] = field(default_factory=list)
    copied: int = 0
    public: int = 0
    start: int = 0

    def write(self, records: int, *, committed: bool = True) -> None:
        """A transaction of records, with its marker."""
        self.content += [committed] * records + [False]

    def copy(self) -> None:
        """The mirror takes all records. Its place is behind the last one."""
        last = max((number for number, record in enumerate(self.content) if record), default=-1)
        self.copied, self.public = max(self.copied, last + 1), self.public + max(last + 1 - self.copied, 0)


class Stage:
    """Both sites and the watch, with a clock that a test moves."""

    def __init__(self) -> None:
        self.watch = MirrorWatch()
        self.logs: dict[Partition, Log] = {}
        self.now = 1000.0
        self.questions = 0

    def look(self, seconds: float = MIRROR_EVERY) -> Verdict:
        self.now += seconds
        asked = self.watch.see(self.now, self._ends(), self._said())
        self.questions += len(asked)
        self.watch.read({where: any(self.logs[where].content[offset:]) for where, offset in asked.items()})
        return self.watch.verdict()

    def looks(self, seconds: float) -> Iterator[Verdict]:
        until = self.now + seconds
        while self.now < until:
            yield self.look()

    def _ends(self) -> Ends:
        return Ends(
            {where: log.start for where, log in self.logs.items()},
            {where: len(log.content) for where, log in self.logs.items()},
            {where: log.public for where, log in self.logs.items()},
        )

    def _said(self) -> Mapping[Partition, int]:
        return {where: log.copied for where, log in self.logs.items() if log.copied}


@pytest.fixture
def stage() -> Stage:
    """A partition of which everything is copied, and one that is empty."""
    made = Stage()
    made.logs = {FIRST: Log(), SECOND: Log()}
    made.logs[FIRST].write(10)
    made.logs[FIRST].copy()
    made.look()
    return made


def test_a_silent_mirror_is_noticed_within_30_seconds(stage: Stage) -> None:
    stage.look()
    stage.logs[FIRST].write(5)
    written = stage.now
    verdict = next(verdict for verdict in stage.looks(60) if verdict.silent)
    assert verdict.silent == (FIRST,)
    assert stage.now - written <= 30
    assert SILENT_SECONDS <= verdict.age <= 30
    assert verdict.unread == 6
    later = list(stage.looks(600))
    assert all(one.silent for one in later)
    assert later[-1].age > 600


def test_a_mirror_that_moves_again_is_not_silent(stage: Stage) -> None:
    stage.logs[FIRST].write(5)
    assert list(stage.looks(60))[-1].silent
    stage.logs[FIRST].copy()
    verdict = stage.look()
    assert not verdict.silent
    assert not verdict.behind
    assert verdict.age == 0


def test_markers_that_are_left_for_hours_are_no_records(stage: Stage) -> None:
    stage.logs[FIRST].write(500, committed=False)
    for _ in range(3):
        stage.logs[FIRST].write(0)
    verdicts = list(stage.looks(4 * 3600))
    assert not any(verdict.silent or verdict.behind for verdict in verdicts)
    assert stage.questions <= 3, "the same offsets were read again and again"


def test_the_age_of_a_record_behind_old_markers_is_its_own(stage: Stage) -> None:
    assert not any(verdict.behind for verdict in stage.looks(3600))
    stage.logs[FIRST].write(1)
    verdict = stage.look()
    assert verdict.age < SILENT_SECONDS
    assert not verdict.silent


def test_idle_and_empty_partitions_and_a_topic_just_made_are_in_step(stage: Stage) -> None:
    stage.logs["ztf_20300102_programid1", 0] = Log()
    verdicts = list(stage.looks(7200))
    assert not any(verdict.silent or verdict.behind for verdict in verdicts)
    assert verdicts[-1].partitions == 3


def test_a_new_topic_that_the_mirror_does_not_take_up_makes_it_silent(stage: Stage) -> None:
    new = ("ztf_20300102_programid1", 0)
    stage.logs[new] = Log()
    stage.look()
    stage.logs[new].write(3)
    for _ in stage.looks(60):
        stage.logs[FIRST].write(1)
        stage.logs[FIRST].copy()
    assert stage.look().silent == (new,), "other partitions move"


def test_a_night_that_is_deleted_with_records_that_wait_is_forgotten(stage: Stage) -> None:
    stage.logs[FIRST].write(5)
    assert list(stage.looks(60))[-1].silent
    del stage.logs[FIRST]
    verdict = stage.look()
    assert (verdict.silent, verdict.unread, verdict.partitions) == ((), 0, 1)


def test_a_place_from_before_a_topic_was_made_again_counts_no_more(stage: Stage) -> None:
    log = stage.logs[FIRST] = Log(copied=11)
    stage.look()
    log.write(2)
    assert list(stage.looks(60))[-1].silent == (FIRST,)


def test_a_place_in_a_partition_that_is_empty_at_the_public_site_is_not_believed(stage: Stage) -> None:
    stage.logs[FIRST].public = 0
    assert list(stage.looks(60))[-1].silent == (FIRST,)


def test_records_that_expired_before_the_mirror_took_them_are_not_waited_for(stage: Stage) -> None:
    stage.logs[FIRST].write(5)
    assert list(stage.looks(60))[-1].silent
    log = stage.logs[FIRST]
    log.start = len(log.content)
    assert not list(stage.looks(60))[-1].behind


def test_a_mirror_that_moves_but_does_not_keep_up_is_behind_and_not_silent(stage: Stage) -> None:
    log = stage.logs[FIRST]
    for _ in range(60):
        log.write(100)
        log.copied += 20
        verdict = stage.look()
    assert not verdict.silent
    assert verdict.age > 100
    assert verdict.unread > 1000


def test_a_mirror_that_moves_at_every_other_look_is_not_silent_however_old_its_records_are(stage: Stage) -> None:
    log = stage.logs[FIRST]
    for number in range(60):
        log.write(100)
        log.copied += 20 * (number % 2)
        verdict = stage.look()
        assert not verdict.silent
    assert verdict.age > 100


def test_a_stream_that_is_copied_at_once_is_never_read(stage: Stage) -> None:
    for _ in range(200):
        stage.logs[FIRST].write(7)
        stage.logs[FIRST].copy()
        assert not stage.look().behind
    assert stage.questions <= 1


@given(st.lists(st.tuples(st.sampled_from(["write", "abort", "copy"]), st.integers(0, 3)), max_size=60))
def test_a_mirror_that_takes_everything_is_never_behind(steps: list[tuple[str, int]]) -> None:
    stage = Stage()
    log = stage.logs[FIRST] = Log()
    for what, number in steps:
        if what == "copy":
            log.copy()
        else:
            log.write(number, committed=what == "write")
        stage.look()
    log.copy()
    stage.look()
    verdict = stage.look()
    assert not verdict.behind
    assert not list(stage.looks(120))[-1].silent


def test_the_age_of_an_offset_is_that_of_the_first_end_beyond_it() -> None:
    history = History()
    for number, end in enumerate([10, 10, 15, 30]):
        history.see({FIRST: end}, number * 5.0)
    assert history.age(FIRST, 3, 20.0) == 20
    assert history.age(FIRST, 10, 20.0) == 10
    assert history.age(FIRST, 29, 20.0) == 5
    assert history.age(FIRST, 30, 20.0) == 0
    assert history.age(SECOND, 0, 20.0) == 0


def test_the_memory_of_ends_is_bounded_and_keeps_the_oldest_and_the_newest() -> None:
    history = History()
    for number in range(10_000):
        history.see({FIRST: number + 1}, float(number))
    assert len(history._seen[FIRST]) <= MOST
    assert history.age(FIRST, 0, 10_000.0) == 10_000
    assert history.age(FIRST, 9_999, 10_000.0) == 1
    history.see({FIRST: 2}, 10_000.0)
    assert history.age(FIRST, 0, 10_001.0) == 1, "the topic was made again"
    history.see({}, 10_002.0)
    assert history._seen == {}
