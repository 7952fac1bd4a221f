"""The night keeper without a broker: its clocks, its memory, its order of work and its loop."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads import cli
from zads.commands import nights as command
from zads.errors import ZadsError
from zads.night_keeper import service
from zads.night_keeper.clocks import APART_SECONDS, Clocks
from zads.night_keeper.keeper import in_order
from zads.night_keeper.memory import Memory
from zads.rest import Rest, StopRequested
from zads.site import nights
from zads.site.cluster import placed
from zads.site.policy import PolicyError
from zads.site.topics import Topic

NOW = nights.begin("20261127") + 3600.0
TIMES = st.floats(0, 4e9)


@given(TIMES, TIMES)
def test_no_clock_alone_decides_what_time_it_is(true: float, wrong: float) -> None:
    for clocks in (
        Clocks(wrong, {"origin": true, "public": true}),
        Clocks(true, {"origin": wrong, "public": true}),
        Clocks(true, {"origin": true, "public": wrong}),
        Clocks(wrong, {"origin": true}),  # one site does not answer: its brokers' clock counts
    ):
        assert clocks.now == true
        assert clocks.agree == (abs(true - wrong) <= APART_SECONDS)
    assert Clocks(true, {}).now == true


def test_what_has_held_no_record_is_remembered_over_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state" / "empty.json"
    memory = Memory(file)
    assert memory.see("origin", {"a", "b"}, 100.0) == {"a": 100.0, "b": 100.0}
    assert memory.see("public", {"a"}, 150.0) == {"a": 150.0}
    assert Memory(file).see("origin", {"a", "c"}, 200.0) == {"a": 100.0, "c": 200.0}


def test_a_topic_that_held_a_record_meanwhile_begins_again() -> None:
    memory = Memory()
    memory.see("origin", {"a"}, 100.0)
    memory.see("origin", set(), 200.0)
    assert memory.see("origin", {"a"}, 300.0) == {"a": 300.0}


def test_a_clock_that_steps_back_leaves_nothing_in_the_future() -> None:
    memory = Memory()
    memory.see("origin", {"a"}, 1000.0)
    assert memory.see("origin", {"a"}, 100.0) == {"a": 100.0}
    assert memory.see("origin", {"a"}, 1000.0) == {"a": 100.0}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"origin": 3}', '{"origin": {"a": "x"}, "public": {}}', '{"origin": {}}']
)
def test_a_damaged_memory_begins_again(tmp_path: Path, content: str) -> None:
    file = tmp_path / "empty.json"
    file.write_text(content)
    memory = Memory(file)
    assert memory.see("public", {"a"}, 5.0) == {"a": 5.0}
    assert json.loads(file.read_text())["public"] == {"a": 5.0}


def test_a_memory_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Memory(tmp_path / "file" / "empty.json").see("origin", {"a"}, 5.0) == {"a": 5.0}


def test_what_is_needed_first_is_made_first() -> None:
    names = [f"ztf_{night}_programid1" for night in ("20261126", "20261129", "20261127", "20261125", "20000101")]
    ordered = in_order([Topic(name, 1, 1) for name in names], NOW)
    assert [group[0].name[4:12] for group in ordered] == ["20000101", "20261127", "20261129", "20261126", "20261125"]


@given(st.integers(1, 8), st.integers(1, 3), st.integers(1, 4))
def test_replicas_are_on_every_broker_that_is_up_and_the_rest_on_those_that_are_away(
    partitions: int, up: int, away: int
) -> None:
    here, gone = list(range(up)), list(range(10, 10 + away))
    for replicas in range(up + 1, up + away + 1):
        found = placed(Topic("t", partitions, replicas), here, gone)
        assert len(found) == partitions
        for partition in found:
            assert len(set(partition)) == replicas
            assert set(here) <= set(partition) <= {*here, *gone}


@pytest.mark.parametrize(("text", "seconds"), [("00:00", 0), ("22:00", 79_200), ("23:59", 86_340)])
def test_a_time_of_day(text: str, seconds: float) -> None:
    assert command.seconds_of_day(text) == seconds


@pytest.mark.parametrize("text", ["24:00", "1320", "9:00", "22:60", "22:00:00", ""])
def test_a_time_of_day_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ZadsError, match="not a time of day"):
        command.seconds_of_day(text)


class Fake:
    """A keeper whose rounds give what they are told to."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.rounds = list(answers), 0

    def round(self) -> Any:
        self.rounds += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Rests:
    """A rest that takes no time, and stops after some calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
        self.now, self.left = 0.0, calls
        monkeypatch.setattr(service, "time", SimpleNamespace(monotonic=lambda: self.now))

    def __call__(self, seconds: float) -> None:
        self.now += max(seconds, 0.1)
        self.left -= 1
        if self.left < 0:
            raise StopRequested


def test_rounds_follow_each_other_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = object()
    keeper: Any = Fake(*[SimpleNamespace(policy=policy)] * 9)
    rest: Any = Rests(monkeypatch, 30)
    service.run(keeper, lambda: policy, rest, 60.0)  # type: ignore[arg-type, return-value]
    assert keeper.rounds == 3
    assert 120.0 < rest.now < 180.0


def test_a_new_policy_is_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper: Any = Fake(SimpleNamespace(policy="old"), SimpleNamespace(policy="new"))
    rest: Any = Rests(monkeypatch, 3)
    read: Any = lambda: "new"  # noqa: E731
    service.run(keeper, read, rest, 60.0)
    assert keeper.rounds == 2
    assert rest.now <= 20.0


def test_a_policy_that_cannot_be_used_is_read_again_in_the_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper: Any = Fake(PolicyError([]), OSError("gone"), SimpleNamespace(policy="a"))

    def read() -> Any:
        raise OSError("gone")

    service.run(keeper, read, Rests(monkeypatch, 30), 60.0)  # type: ignore[arg-type]
    assert keeper.rounds == 3


def test_a_rest_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    stop = threading.Event()
    rest = Rest(stop, tmp_path / "heartbeat", program="night keeper")
    rest(0.0)
    assert (tmp_path / "heartbeat").exists()
    stop.set()
    with pytest.raises(StopRequested):
        rest(60.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "is not JSON"), ("[]", "does not hold the variables"), ("{}", "topics_night.partitions: is missing")],
)
def test_a_policy_that_cannot_be_used_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    said: str,
) -> None:
    policy, client = tmp_path / "policy.json", tmp_path / "client.properties"
    policy.write_text(content)
    client.write_text("bootstrap.servers=127.0.0.1:9\n")
    monkeypatch.setattr(command, "log_to_stderr", lambda: None)  # it would keep this test's stderr
    arguments = ["nights", f"--policy={policy}", f"--origin={client}", f"--public={client}", "--once"]
    assert cli.run(arguments) == 1
    assert said in capsys.readouterr().err
