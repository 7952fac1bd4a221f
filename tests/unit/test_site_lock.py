"""One operation at a time has a site's lock: others learn who has it, for how long and why."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from zads.site.lock import Answer, Lock, duration, first_hosts, holders, taking

ROOT = Path(__file__).resolve().parents[2]
SITES = {"origin": ["o3", "o1", "o2"], "public": ["p1"]}
MINE = Lock("mine", "alice@one", "deploy", "", 0)
OTHER = Lock("other", "bob@two", "restart", "disk swap", 3_900)
STALE = Lock("other", "bob@two", "deploy", "", 100_000)


def test_more_than_half_of_a_sites_hosts_are_asked_first_in_one_order() -> None:
    assert first_hosts(SITES) == ["o1", "o2", "p1"]
    assert first_hosts({"origin": ["a", "b", "c", "d"]}) == ["a", "b", "c"]
    assert first_hosts({}) == []


def test_a_site_is_locked_when_more_than_half_of_its_hosts_hold_the_lock() -> None:
    got = taking(SITES, [Answer("o1", MINE), Answer("o2", MINE), Answer("p1", MINE)], "mine", "prod")
    assert got.held == {"origin": ["o1", "o2"], "public": ["p1"]}
    assert got.problems == []


def test_another_operation_is_named_with_its_age_its_reason_and_what_to_do() -> None:
    got = taking({"origin": SITES["origin"]}, [Answer("o1", MINE), Answer("o2", OTHER)], "mine", "prod")
    assert got.held == {"origin": ["o1"]}, "so that it can be given back"
    assert got.problems == [
        "origin is locked: bob@two has held it for 1 h 5 min (restart, reason: disk swap). Wait until that operation "
        "ends; if it has died with its control machine: make unlock ENV=prod REASON='why it may be broken'"
    ]


def test_a_stale_lock_is_refused_too_and_called_stale() -> None:
    (problem,) = taking({"public": ["p1"]}, [Answer("p1", STALE)], "mine", "prod").problems
    assert "bob@two has held it for 1 d 3 h (deploy)" in problem
    assert "it is stale: ask bob@two, then make unlock ENV=prod" in problem


def test_a_host_that_is_away_is_made_up_for_and_two_are_not() -> None:
    away = [Answer(host, failure="no route") for host in ("o1", "o2")]
    there = {"origin": SITES["origin"]}
    assert taking(there, [away[0], Answer("o2", MINE), Answer("o3", MINE)], "mine", "e").problems == []
    (problem,) = taking(there, [*away, Answer("o3", MINE)], "mine", "e").problems
    assert problem.startswith("origin cannot be locked: 1 of its 3 brokers' hosts answer, 2 are needed; o1 (no route)")


def test_who_holds_which_site_is_shown_once() -> None:
    found = holders(SITES, [Answer("o1", OTHER), Answer("o2", OTHER), Answer("p1")])
    assert {site: str(lock) for site, lock in found.items()} == {
        "origin": "bob@two has held it for 1 h 5 min (restart, reason: disk swap)"
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3660, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_a_duration_is_said_in_its_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture(scope="module")
def module(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("modules/site_lock.py")


def call(module: ModuleType, path: Path, state: str, token: str = "", now: float = 0, **more: Any) -> dict[str, Any]:
    params = {"state": state, "token": token, "owner": token, "operation": "deploy", "reason": "", "path": str(path)}
    answer: dict[str, Any] = module.settle({**params, **more}, now, check=False)
    return answer


def test_a_host_gives_its_lock_to_the_first_and_says_its_age(module: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert call(module, path, "taken", "a", 100)["lock"]["token"] == "a"
    second = call(module, path, "taken", "b", 160)
    assert (second["changed"], second["lock"]["owner"], second["lock"]["age"]) == (False, "a", 60)
    assert call(module, path, "released", "b")["changed"] is False
    assert call(module, path, "shown", now=50)["lock"]["age"] == 0, "a clock that was set back"
    assert call(module, path, "released", "a")["lock"] is None
    assert call(module, path, "taken", "b")["lock"]["token"] == "b"


def _take(module: ModuleType, path: Path, start: Any, results: Any, token: str) -> None:
    start.wait()
    results.put(call(module, path, "taken", token)["lock"]["token"])


def test_of_many_at_once_one_has_the_lock(module: ModuleType, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Event(), context.Queue()
    tokens = [f"t{number}" for number in range(12)]
    takers = [context.Process(target=_take, args=(module, tmp_path / "lock", start, results, t)) for t in tokens]
    for taker in takers:
        taker.start()
    start.set()
    winners = {results.get(timeout=30) for _ in takers}
    for taker in takers:
        taker.join(30)
    assert len(winners) == 1
    assert winners <= set(tokens)


def test_a_lock_is_broken_on_purpose_and_its_owner_learns_by_whom(module: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    call(module, path, "taken", "a")
    assert call(module, path, "broken", "x", owner="bob")["changed"] is False, "that lock is not the one which was seen"
    assert call(module, path, "broken", "a", owner="bob", reason="alice is gone")["lock"] is None
    assert call(module, path, "taken", "c")["lock"]["token"] == "c"
    note = call(module, path, "shown", "a")["broken"]
    assert (note["by"], note["reason"]) == ("bob", "alice is gone")
    assert call(module, path, "shown", "c")["broken"] is None


def test_a_damaged_lock_still_locks_and_can_be_broken(module: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for damaged in ("", "{", "[]", '{"token": "a"}'):
        path.write_text(damaged)
        assert call(module, path, "taken", "b")["lock"]["owner"] == "somebody unknown"
    assert call(module, path, "broken", "")["lock"] is None


def test_a_check_leaves_no_trace(module: ModuleType, tmp_path: Path) -> None:
    params = dict.fromkeys(("token", "owner", "operation", "reason"), "")
    for state in ("taken", "shown", "released", "broken"):
        module.settle({**params, "state": state, "path": str(tmp_path / "lock")}, 0, check=True)
    assert list(tmp_path.iterdir()) == []


# scripts/ansible, with a program in place of ansible-playbook.

PLAYBOOK = """#!/bin/sh
echo "$@" >> "$LOG"
marker=$(echo "$@" | sed 's/.*"marker": "\\([^"]*\\)".*/\\1/')
case "$*" in
    *release_lock.yml) rm "$marker" ;;
    *) touch "$marker"; eval "$BODY" ;;
esac
"""


@pytest.fixture
def front(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Starts scripts/ansible in a tree of its own; the playbook's body is a shell command."""
    for directory in ("scripts", ".venv/bin", "inventories/x"):
        (tmp_path / directory).mkdir(parents=True)
    shutil.copy(ROOT / "scripts/ansible", tmp_path / "scripts/ansible")
    (tmp_path / "inventories/x/hosts.yml").touch()
    program = tmp_path / ".venv/bin/ansible-playbook"
    program.write_text(PLAYBOOK)
    program.chmod(0o755)

    def start(body: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(tmp_path / "scripts/ansible"), "x", "deploy", "--diff"],
            env={**os.environ, "LOG": str(tmp_path / "log"), "BODY": body}, start_new_session=True,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def lines(directory: Path) -> list[str]:
    log = directory / "log"
    return [line.rpartition("/")[2] for line in log.read_text().splitlines()] if log.exists() else []


def test_a_run_that_gives_its_locks_back_is_one_run(front: Callable[..., Any], tmp_path: Path) -> None:
    assert front('rm "$marker"').wait(20) == 0
    assert lines(tmp_path) == ["deploy.yml"]


def test_locks_are_given_back_after_a_failure_and_its_status_stays(front: Callable[..., Any], tmp_path: Path) -> None:
    assert front("exit 3").wait(20) == 3
    assert lines(tmp_path) == ["deploy.yml", "release_lock.yml"]
    assert list((tmp_path / ".zads/x").glob("lock-*")) == []


@pytest.mark.parametrize(
    ("number", "ended_by"),
    [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGTERM), (signal.SIGHUP, signal.SIGTERM)],
)
def test_locks_are_given_back_after_an_interruption(
    front: Callable[..., Any], tmp_path: Path, number: signal.Signals, ended_by: signal.Signals
) -> None:
    process = front("exec sleep 30")
    deadline = time.monotonic() + 20
    while not list((tmp_path / ".zads/x").glob("lock-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    # A terminal sends Ctrl-C, and its own end, to all processes.
    process.send_signal(number) if number == signal.SIGTERM else os.killpg(process.pid, number)
    assert process.wait(20) == 128 + ended_by
    assert lines(tmp_path) == ["deploy.yml", "release_lock.yml"]
