"""What is on the brokers' disks: how long they suffice, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st

from zads import cli
from zads.commands import disks as command
from zads.commands.sites import DeployedSite
from zads.errors import ZadsError
from zads.site import disks
from zads.site.broker_requests import LogDirectory, Stored
from zads.site.disks import Records, parts, usage
from zads.site.forecast import HORIZON, Kept, days_left

ROOT = Path(__file__).resolve().parents[2]
GB = 10**9


def test_without_room_there_are_no_days() -> None:
    assert days_left([], 0) == 0
    assert days_left([Kept(7, (1.0,))], -5) == 0


def test_a_disk_on_which_nothing_arrives_suffices() -> None:
    assert days_left([], 1) is None
    assert days_left([Kept(7, ())], 1) is None


def test_records_that_are_kept_for_ever_fill_the_disk() -> None:
    assert days_left([Kept(None, (10.0,))], 35) == 3
    assert days_left([Kept(None, (1.0,))], HORIZON) is None


def test_in_the_steady_state_as_much_goes_as_comes() -> None:
    """Seven days are kept, and an eighth until its segment goes: there are eight and a part already."""
    steady = Kept(7, (10.0,) * 9)
    assert days_left([steady], 1) is None


def test_a_new_deployment_grows_until_retention_begins_to_delete() -> None:
    first_night = Kept(7, (10.0,))
    assert days_left([first_night], 71) is None
    assert days_left([first_night], 45) == 4


def test_the_busiest_day_of_the_week_is_repeated_and_an_older_one_is_not() -> None:
    assert days_left([Kept(None, (1.0, 50.0))], 120) == 2
    assert days_left([Kept(None, (1.0, *[0.0] * 7, 50.0))], 120) == 120


def test_topics_with_different_retention_add_up() -> None:
    assert days_left([Kept(None, (10.0,)), Kept(None, (10.0,))], 50) == 2
    assert days_left([Kept(1, (10.0,)), Kept(None, (1.0,))], 20) == 10


@given(
    st.lists(st.floats(0, 1e12), max_size=32),
    st.one_of(st.none(), st.floats(0.01, 3650)),
    st.floats(0, 1e15),
    st.floats(0, 1e15),
)
def test_more_room_never_means_fewer_days(ages: list[float], retention: float | None, room: float, more: float) -> None:
    kept = [Kept(retention, tuple(ages))]
    less_room, more_room = days_left(kept, room), days_left(kept, room + more)
    assert more_room is None or (less_room is not None and less_room <= more_room)


def test_the_parts_of_a_partition_by_age() -> None:
    assert parts(0, 100, [60, 20]) == (0.4, 0.4, 0.2)
    assert parts(0, 100, [-1, 20]) == (0.0, 0.8, 0.2), "no record is younger than a day"
    assert parts(50, 100, [0, 0]) == (1.0, 0.0, 0.0), "all records of before are deleted"
    assert parts(5, 5, [5]) == ()


@given(st.integers(0, 1000), st.integers(0, 1000), st.lists(st.integers(-1, 2500), max_size=9))
def test_the_parts_are_of_one_whole_whatever_the_offsets(start: int, size: int, since: list[int]) -> None:
    found = parts(start, start + size, since)
    assert all(part >= 0 for part in found)
    assert sum(found) == pytest.approx(1 if size else 0)


def stored(
    path: str = "/data", total: int = 100 * GB, free: int = 50 * GB, usable: bool = True, **topics: int
) -> Stored:
    return Stored(LogDirectory(path, usable, total, free), {(name, 0): size for name, size in topics.items()})


PLACED = {("night", 0): (1, 2), ("ledger", 0): (1,)}
BOTH = {1: [stored(night=9 * GB, ledger=GB)], 2: [stored(night=9 * GB)]}


def test_a_sound_site_has_no_problems_and_its_largest_topics_first() -> None:
    found = usage({1: "a", 2: "b"}, PLACED, BOTH, {}, 5)
    assert found.problems() == []
    assert found.topics == (("night", 18 * GB), ("ledger", GB))
    [disk] = found.brokers[0].disks
    assert (disk.used, disk.state, disk.days) == (10 * GB, "ok", None)


def test_a_disk_below_the_bound_of_the_gate_is_full_and_one_at_the_bound_is_not() -> None:
    def problems(free: int) -> list[str]:
        answer = {1: [stored(free=free)]}
        return usage({1: "a"}, {}, answer, {}, 5).problems()

    assert problems(5 * GB) == []
    assert problems(5 * GB - 1) == ["/data of broker 1 (a) is nearly full: 4 % free"]


def test_the_days_end_at_the_bound_not_at_the_last_byte() -> None:
    records = {("night", 0): Records(None, (1.0,))}
    [broker] = usage({1: "a"}, {}, {1: [stored(free=35 * GB, night=10 * GB)]}, records, 5).brokers
    assert broker.disks[0].days == 3
    [broker] = usage({1: "a"}, {}, {1: [stored(free=34 * GB, night=10 * GB)]}, records, 5).brokers
    assert broker.disks[0].days == 2


def test_a_broker_that_is_away_or_does_not_answer_is_named_with_its_replicas() -> None:
    found = usage({1: "a", 2: "b", 3: "c"}, PLACED, {1: BOTH[1], 2: "b:9093 does not answer: timed out"}, {}, 5)
    assert found.problems() == [
        "broker 2 (b): b:9093 does not answer: timed out",
        "broker 2 (b) lacks 1 replicas, the first is of night-0",
        "broker 3 (c): is not up",
    ]


def test_a_disk_that_the_broker_cannot_use_is_named_and_its_replicas_are_offline() -> None:
    answer = {1: [stored("/a", night=1), stored("/b", -1, -1, usable=False)]}
    assert usage({1: "a"}, PLACED, answer, {}, 5).problems() == [
        "broker 1 (a) cannot use /b",
        "broker 1 (a) lacks 1 replicas, the first is of ledger-0",
    ]


def test_a_broker_that_does_not_know_its_disks_size_is_no_problem() -> None:
    [broker] = usage({1: "a"}, {}, {1: [stored(total=-1, free=-1)]}, {}, 5).brokers
    assert (broker.disks[0].state, broker.disks[0].days) == ("ok", None)
    assert command._sizes(broker.disks[0]) == ("?", "0 B", "?", "?", "?")


def test_the_bound_is_the_one_of_the_role() -> None:
    defaults = yaml.safe_load((ROOT / "roles/kafka/defaults/main.yml").read_text())
    assert defaults["kafka_gate_free_percent"] == disks.FREE_PERCENT


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456_789, "123 MB"), (5e15, "5000 TB")]
)
def test_a_size_is_written_with_its_unit(size: float, shown: str) -> None:
    assert command.shown(size) == shown


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The sites that the command finds: what each answers, or an error."""
    answers: dict[str, Any] = {}

    def look(conf: dict[str, str], brokers: dict[int, str], percent: int) -> disks.Usage:
        answer = answers[conf["name"]]
        if isinstance(answer, BaseException):
            raise answer
        return usage(brokers, PLACED, answer, {}, percent)

    def load(env: str, root: Path) -> Any:
        return SimpleNamespace(common=lambda name, default: answers.get(name, default))

    def deployed(inventory: object, only: str | None) -> list[DeployedSite]:
        return [
            DeployedSite(name, {"name": name}, {1: "a", 2: "b"})  # type: ignore[arg-type]
            for name in ("origin", "public")
            if only in (None, name)
        ]

    monkeypatch.setattr(command.disks, "look", look)
    monkeypatch.setattr(command.Inventory, "load", load)
    monkeypatch.setattr(command, "deployed", deployed)
    return answers


def test_the_command_shows_both_sites_and_succeeds(sites: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    sites.update(origin=BOTH, public=BOTH)
    assert cli.run(["disks", "--top", "1"]) == 0
    printed = capsys.readouterr().out
    assert "largest at origin" in printed
    assert "night" in printed
    assert "ledger" not in printed
    assert "busiest 24 hours" in printed


def test_a_site_that_is_away_does_not_hide_the_other(sites: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    sites.update(origin=KafkaException(KafkaError(KafkaError._TRANSPORT)), public=BOTH)
    assert cli.run(["disks"]) == 1
    printed = capsys.readouterr().out
    assert "FAIL origin: " in printed
    assert "largest at public" in printed


def test_programs_get_the_same_with_the_reasons(sites: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    sites.update(origin=BOTH, public={1: [stored(free=GB, night=1, ledger=1)]})
    assert cli.run(["disks", "--json", "--site", "public"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["problems"] == [
        "public: /data of broker 1 (a) is nearly full: 1 % free",
        "public: broker 2 (b): is not up",
        "public: broker 2 (b) lacks 1 replicas, the first is of night-0",
    ]
    assert printed["sites"]["public"]["brokers"][0]["disks"][0]["free"] == GB


def test_a_bound_that_is_no_number_is_an_error(sites: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    sites.update(kafka_gate_free_percent="{{ x }}")
    assert cli.run(["disks"]) == 1
    assert "kafka_gate_free_percent is '{{ x }}', not a number" in capsys.readouterr().err


def test_a_site_without_brokers_is_an_error() -> None:
    inventory: Any = SimpleNamespace(group=lambda _: [], env="x")
    with pytest.raises(ZadsError, match="has no brokers at origin"):
        list(command.deployed(inventory, None))
