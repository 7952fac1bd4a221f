"""Consumer groups: whose they are, what they have yet to read, and that a group is not changed while somebody reads."""

from __future__ import annotations

import datetime
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st

from zads import cli
from zads.commands import groups as command
from zads.commands.sites import DeployedSite
from zads.errors import ZadsError
from zads.groups import change, look
from zads.groups.change import Move
from zads.groups.look import Group, Member, Place
from zads.groups.owner import Owner, owner
from zads.site.policy import Policy

NIGHT = "ztf_20300101_programid1"
DATA: dict[str, Any] = {
    "topics_night": {"partitions": 2, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 7},
    "programmes": {1: {"sites": ["origin", "public"]}},
    "users": [
        {"name": "anna", "site": "public", "programmes": [1]},
        {"name": "gone", "site": "public", "programmes": [1], "expires": "2020-01-01"},
    ],
    "filters": [{"name": "fast", "owner": "anna", "group": "moving", "state": "active", "cap": 20}],
    "filter_groups": {"moving": {"workers": 1}, "idle": {"workers": 1}},
}
POLICY = Policy.read(DATA)


@pytest.mark.parametrize(
    ("group", "whose"),
    [
        ("anna", Owner("user", "anna")),
        ("anna-x", Owner("user", "anna")),
        ("anna-b-x", Owner("user", "anna")),
        ("anna_x", Owner("nobody")),
        ("anna2", Owner("nobody")),
        ("gone", Owner("nobody")),
        ("zads.filter.moving", Owner("filters", "moving")),
        ("zads.filter.removed", Owner("nobody")),
        ("zads.mirror", Owner("program", "zads.mirror")),
        ("zadsx", Owner("nobody")),
        ("", Owner("nobody")),
    ],
)
def test_the_name_of_a_group_says_whose_it_is(group: str, whose: Owner) -> None:
    assert owner(group, POLICY) == whose


def key(group: str, topic: str, partition: int, version: int = 1) -> bytes:
    parts = b"".join(struct.pack(">h", len(text)) + text for text in (group.encode(), topic.encode()))
    return struct.pack(">h", version) + parts + struct.pack(">i", partition)


def test_the_key_of_a_commit_is_read_and_other_keys_are_not() -> None:
    assert look.offset_key(key("anna", NIGHT, 7)) == ("anna", (NIGHT, 7))
    assert look.offset_key(key("anna", NIGHT, 7, version=0)) == ("anna", (NIGHT, 7))
    assert look.offset_key(key("anna", NIGHT, 7, version=2)) is None, "the members of a group"


@given(st.binary(max_size=60))
def test_no_key_breaks_the_reader(content: bytes) -> None:
    look.offset_key(content)


@pytest.mark.parametrize("cut", range(1, 34))
def test_a_key_that_ends_early_is_of_another_kind(cut: int) -> None:
    assert look.offset_key(key("anna", NIGHT, 7)[:-cut]) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("", 0), ("a", 97), ("hello", 99162322), ("zads.mirror-long-name", None), ("polygenelubricants", 0), ("ä€", None)],
)
def test_a_groups_partition_is_chosen_as_java_does(text: str, value: int | None) -> None:
    """The text polygenelubricants has the one hash that has no positive counterpart; Kafka takes 0 for it."""
    assert value is None or look._java_hash(text) == value
    assert 0 <= look._java_hash(text) < 1 << 31


def group(
    left: int = 0, *, members: int = 0, state: str = "empty", committed: bool = True, exact: bool = True
) -> Group:
    who = tuple(Member(f"client-{number}", "192.0.2.1", 1) for number in range(members))
    return Group("anna-x", state, who, {(NIGHT, 0): Place(10, left, committed, exact)})


def test_what_is_remarkable_is_said() -> None:
    assert command.note(group(committed=False)) == "has read nothing"
    assert command.note(Group("x", "empty")) == "has read nothing"
    assert command.note(group(3)) == "nobody reads"
    assert command.note(group(3, members=1)) == ""
    assert command.note(group(0)) == ""
    assert command.note(replace(group(), leaderless=((NIGHT, 1),))) == "1 partitions have no leader"


def test_markers_of_transactions_are_not_counted_where_few_offsets_are_left() -> None:
    assert look._place(10, True, 12, [8, 11]) == Place(10, 1, True, exact=True)
    assert look._place(10, True, 11, []) == Place(10, 0, True, exact=True), "a marker alone"
    assert look._place(10, True, 100, None) == Place(10, 90, True, exact=False)
    assert look._place(10, True, 10, None) == Place(10, 0, True, exact=True)
    assert look._place(20, True, 10, None) == Place(20, 0, True, exact=True), "the topic was made again"
    assert look._place(10, True, 100, [99]) == Place(10, 90, True, exact=False), "read for another group"


def test_partitions_that_a_group_has_not_been_in_count_from_their_beginning_and_deleted_records_do_not_count() -> None:
    starts = {(NIGHT, 0): 5, (NIGHT, 1): 7, ("other", 0): 0}
    assert look._offsets({(NIGHT, 0): 2}, starts) == {(NIGHT, 0): 5, (NIGHT, 1): 7}
    assert look._offsets({}, starts) == {}


@pytest.mark.parametrize("kind", ["filters", "program"])
def test_our_programs_groups_are_never_changed(kind: Any) -> None:
    with pytest.raises(ZadsError, match="is not moved"):
        change.refuse(group(), Owner(kind, "moving"), "moved")


def test_a_group_with_members_is_not_changed_and_they_are_named() -> None:
    with pytest.raises(ZadsError, match=r"has 2 members \(client-0 at 192.0.2.1, client-1 at 192.0.2.1\)"):
        change.refuse(group(members=2, state="stable"), Owner("user", "anna"), "removed")


def test_a_group_of_which_a_partition_has_no_leader_is_not_changed() -> None:
    """It would be moved in the other partitions alone."""
    with pytest.raises(ZadsError, match="1 partitions that anna-x reads have no leader, and it is not moved"):
        change.refuse(replace(group(), leaderless=((NIGHT, 1),)), Owner("user", "anna"), "moved")


def test_partitions_without_a_leader_are_named_for_the_groups_that_read_them() -> None:
    described = [Group("a", "empty"), Group("b", "empty")]
    said: list[dict[tuple[str, int], int]] = [{(NIGHT, 0): 5}, {("other", 0): 5}]
    starts, ends = {(NIGHT, 0): 0, ("other", 0): 0}, {(NIGHT, 0): 5, ("other", 0): 5}
    one, two = look._counted({}, described, said, (starts, ends), [(NIGHT, 1)])
    assert (one.leaderless, two.leaderless) == (((NIGHT, 1),), ())
    assert one.places == {(NIGHT, 0): Place(5, 0, True, exact=True)}


@pytest.mark.parametrize("state", ["preparing rebalancing", "completing rebalancing", "unknown"])
def test_a_group_in_between_is_not_changed(state: str) -> None:
    with pytest.raises(ZadsError, match="try again"):
        change.refuse(group(state=state), Owner("user", "anna"), "removed")


def test_an_empty_group_of_a_user_or_of_nobody_may_be_changed() -> None:
    change.refuse(group(), Owner("user", "anna"), "removed")
    change.refuse(group(state="dead"), Owner("nobody"), "removed")


def test_a_move_says_what_is_read_again_and_what_is_never_read() -> None:
    planned = Move("x", {("a", 0): (10, 4), ("a", 1): (10, 15), ("b", 0): (3, 3), ("c", 0): (0, 9)})
    assert planned.lines() == [
        "a: reads at most 6 records again and SKIPS at most 5 records that it has not read",
        "b: stays where it is",
        "c: SKIPS at most 9 records that it has not read",
    ]
    assert planned
    assert not Move("x", {("b", 0): (3, 3)})


def test_a_moment_is_a_word_or_a_time_in_utc() -> None:
    assert change.moment("now") == "now"
    assert change.moment("2018-11-29T04:00") == datetime.datetime(2018, 11, 29, 4, tzinfo=datetime.UTC)
    assert change.moment("2018-11-29T04:00+02:00") == datetime.datetime(2018, 11, 29, 2, tzinfo=datetime.UTC)
    with pytest.raises(ZadsError, match="neither beginning, now nor a time"):
        change.moment("yesterday")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90000, "1 d 1 h"), (10**7, "115 d 17 h")],
)
def test_a_time_span_is_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert command.shown(seconds) == text


Sites = dict[str, Any]


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> Sites:
    """The groups of each site, or an error; under ``done``, what the command has changed."""
    answers: Sites = {"origin": [], "public": [], "done": []}

    def groups(conf: dict[str, str], only: list[str] | None = None) -> list[Group]:
        answer = answers[conf["name"]]
        if isinstance(answer, BaseException):
            raise answer
        if only is None:
            return list(answer)
        return [one for one in answer if one.name in only] or [Group(only[0], "dead")]

    def deployed(inventory: object, only: str | None) -> list[DeployedSite]:
        return [DeployedSite(name, {"name": name}, {}) for name in ("origin", "public") if only in (None, name)]  # type: ignore[arg-type]

    def done(what: str) -> Callable[..., None]:
        return lambda conf, planned: answers["done"].append((what, conf["name"], planned))

    monkeypatch.setattr(command, "deployed", deployed)
    monkeypatch.setattr(command.Inventory, "load", lambda env, root: SimpleNamespace(policy=lambda: POLICY))
    monkeypatch.setattr(command.look, "groups", groups)
    monkeypatch.setattr(command.look, "arrivals", lambda conf, found: {(NIGHT, 0): 1000.0})
    monkeypatch.setattr(command.look, "last_commits", lambda conf, name: {(NIGHT, 0): 0.0})
    monkeypatch.setattr(command.time, "time", lambda: 1090.0)
    monkeypatch.setattr(command.change, "move", lambda conf, found, to: Move(found.name, {(NIGHT, 0): (10, 0)}))
    monkeypatch.setattr(command.change, "apply", done("moved"))
    monkeypatch.setattr(command.change, "remove", done("removed"))
    return answers


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.run(["groups", *words])
    printed = capsys.readouterr()
    return status, " ".join(printed.out.split()), printed.err


def test_all_groups_are_shown_and_a_site_that_is_away_is_named(sites: Sites, capsys: Any) -> None:
    sites.update(origin=KafkaException(KafkaError(KafkaError._TRANSPORT)), public=[group(20, exact=False)])
    status, printed, _ = run(capsys)
    assert status == 1
    assert "public anna-x user anna empty 0 1 <= 20 nobody reads" in printed
    assert "FAIL origin: " in printed


def test_one_group_is_shown_with_its_delay_and_last_commit(sites: Sites, capsys: Any) -> None:
    sites.update(public=[group(3, members=1, state="stable")])
    status, printed, _ = run(capsys, "anna-x")
    assert status == 0
    assert "anna-x at public, of user anna: stable." in printed
    assert "client-0 192.0.2.1 1" in printed
    assert f"{NIGHT} 1 3 1 min 30 s 1970-01-01T00:00:00Z" in printed
    status, printed, _ = run(capsys, "anna-x", "--json")
    [place] = json.loads(printed)["places"]
    assert (place["left"], place["behind_seconds"], place["last_commit"]) == (3, 90.0, "1970-01-01T00:00:00Z")


def test_a_delay_that_is_not_known_for_every_partition_is_not_guessed(sites: Sites, capsys: Any) -> None:
    places = {(NIGHT, number): Place(0, 5, True, True) for number in (0, 1)}
    sites.update(public=[Group("anna-x", "empty", (), places)])
    assert f"{NIGHT} 2 10 unknown" in run(capsys, "anna-x")[1]


def test_a_group_that_is_nowhere_or_at_both_sites_is_an_error(sites: Sites, capsys: Any) -> None:
    assert "there is no group anna-x at origin or public" in run(capsys, "anna-x")[2]
    sites.update(origin=[group()], public=[group()])
    assert "choose one by --site" in run(capsys, "anna-x")[2]
    assert run(capsys, "anna-x", "--site", "public")[0] == 0


def test_a_change_shows_its_plan_and_without_a_terminal_does_nothing(sites: Sites, capsys: Any) -> None:
    sites.update(public=[group(3)])
    status, printed, error = run(capsys, "anna-x", "--move-to", "beginning")
    assert (status, sites["done"]) == (1, [])
    assert "reads at most 10 records again" in printed
    assert "--yes does not ask" in error
    status, printed, error = run(capsys, "anna-x", "--remove")
    assert (status, sites["done"]) == (1, [])
    assert "3 records that it has not read" in printed


@pytest.mark.parametrize(("answer", "count"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
def test_a_change_asks(sites: Sites, capsys: Any, monkeypatch: Any, answer: str, count: int) -> None:
    sites.update(public=[group(3)])
    monkeypatch.setattr(command.sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(command.typer, "confirm", lambda text: answer == "y\n")
    assert run(capsys, "anna-x", "--remove")[0] == 1 - count
    assert sites["done"] == [("removed", "public", "anna-x")] * count


def test_a_change_is_made_when_nobody_reads_and_refused_when_somebody_does(sites: Sites, capsys: Any) -> None:
    sites.update(public=[group(3)])
    assert run(capsys, "anna-x", "--move-to", "beginning", "--yes")[0] == 0
    assert sites["done"] == [("moved", "public", Move("anna-x", {(NIGHT, 0): (10, 0)}))]
    sites.update(public=[group(3, members=1, state="stable")], done=[])
    for words in (["--remove"], ["--move-to", "now"]):
        assert "has 1 members" in run(capsys, "anna-x", "--yes", *words)[2]
    assert sites["done"] == []


@pytest.mark.parametrize("words", [["--remove"], ["x", "--remove", "--move-to", "now"], ["x", "--remove", "--json"]])
def test_wrong_use_is_refused(sites: Sites, capsys: Any, words: list[str]) -> None:
    assert run(capsys, *words)[0] == 2
