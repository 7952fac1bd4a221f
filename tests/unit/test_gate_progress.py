"""While a gate waits, it says for what; and it says what a broker that is away is doing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

Plugin = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def action(plugin: Plugin) -> ModuleType:
    return plugin("action/kafka_gate.py")


@pytest.fixture(scope="module")
def condition(plugin: Plugin) -> ModuleType:
    return plugin("modules/broker_condition.py")


def test_reasons_are_shown_when_they_change_and_once_a_minute(action: ModuleType) -> None:
    progress = action.Progress(600)
    assert progress.line(3, ["a"]) == "waits, 3 s of at most 600 s: a"
    assert progress.line(13, ["a"]) is None
    assert progress.line(23, ["a", "b"]) == "waits, 23 s of at most 600 s: a; b"
    assert progress.line(82, ["a", "b"]) is None
    assert progress.line(83, ["a", "b"]) is not None


@pytest.fixture
def given() -> list[Any]:
    """What each call of the module gets from the calls before it."""
    return []


@pytest.fixture
def ask(action: ModuleType, given: list[Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the action with given answers of its module, each of which takes as long as it may wait."""

    def run(wait: int, *answers: dict[str, Any]) -> tuple[dict[str, Any], list[int], list[str]]:
        clock, waits, shown = [0.0], [], []
        left = list(answers)

        def execute(module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
            waits.append(module_args["wait"])
            given.append(module_args.get("carried"))
            answer = left.pop(0) if len(left) > 1 else left[0]
            clock[0] += module_args["wait"] if answer.get("failed") else 0
            return answer

        monkeypatch.setattr(action.time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(action, "Display", lambda: SimpleNamespace(display=shown.append))
        monkeypatch.setattr(action.ActionBase, "run", lambda *_: {})
        one = action.ActionModule.__new__(action.ActionModule)
        one._task = SimpleNamespace(args={"wait": wait})
        one._execute_module = execute
        given.clear()
        return one.run(None, {"inventory_hostname": "public-2"}), waits, shown

    return run


def test_an_open_gate_says_nothing(ask: Callable[..., Any]) -> None:
    assert ask(600, {"deferred": False}) == ({"deferred": False}, [3], [])


def test_a_gate_that_stays_closed_ends_at_its_limit_with_its_reasons(ask: Callable[..., Any]) -> None:
    closed = {"failed": True, "msg": "broker 1 may not go down: x", "reasons": ["x"]}
    answer, waits, shown = ask(25, closed)
    assert answer["msg"] == "broker 1 may not go down: x (waited 25 s)"
    assert waits == [3, 10, 10, 2]
    assert shown == ["    public-2 waits, 3 s of at most 25 s: x"]


def test_a_gate_that_opens_lets_the_operation_go_on(ask: Callable[..., Any]) -> None:
    answer, _, shown = ask(600, {"failed": True, "msg": "", "reasons": ["x"]}, {"deferred": True})
    assert answer == {"deferred": True}
    assert len(shown) == 1


def test_an_error_that_is_no_reason_ends_the_wait_at_once(ask: Callable[..., Any]) -> None:
    answer, waits, shown = ask(600, {"failed": True, "msg": "no such file"})
    assert (answer["msg"], waits, shown) == ("no such file", [3], [])


def test_what_one_call_knows_is_given_to_the_next(ask: Callable[..., Any], given: list[Any]) -> None:
    knows = {"failed": True, "msg": "", "reasons": ["x"], "carried": {"left": [1]}}
    answer, _, _ = ask(600, knows, {"failed": True, "msg": "", "reasons": ["y"]}, {"changed": True})
    assert answer == {"changed": True}
    assert given == [None, {"left": [1]}, {"left": [1]}]


@pytest.mark.parametrize("name", ["kafka_reassign", "zookeeper_status"])
def test_every_wait_has_the_same_progress(name: str) -> None:
    plugins = Path(__file__).resolve().parents[2] / "ansible/plugins/action"
    assert (plugins / f"{name}.py").resolve() == (plugins / "kafka_gate.py").resolve()


GONE = "/disk has no data, and this broker has had data there: mount the disk; if it is lost, make replace"
LOADING = "INFO LogManager: Loading logs from log dirs ArrayBuffer(/d/a, /d/b)"
UNCLEAN = "INFO LogManager: Recovering 3 logs from /d/a since no clean shutdown file was found"
CLEAN = "INFO LogManager: Skipping recovery of 3 logs from /d/a since clean shutdown file was found"


def loaded(number: int, whole: int, directory: str = "/d/a") -> str:
    return (
        f"INFO LogManager: Completed load of Log(dir={directory}/night-{number}) with 1 segments in 9ms "
        f"({number}/{whole} completed in {directory})"
    )


@pytest.mark.parametrize(
    ("active", "lines", "says"),
    [
        pytest.param("failed", [], "its unit is failed (dead)", id="failed"),
        pytest.param("activating", [GONE], f"does not start: {GONE}", id="without its data"),
        pytest.param("active", ["INFO KafkaServer: starting"], "starts", id="before its logs"),
        pytest.param("active", [LOADING, CLEAN], "loads its logs", id="after a clean end"),
        pytest.param(
            "active",
            [LOADING, UNCLEAN, loaded(1, 3), loaded(2, 3), loaded(1, 5, "/d/b")],
            "recovers its logs after an unclean end, 3 of 8 done",
            id="recovery on two disks",
        ),
        pytest.param(
            "active", [LOADING, "INFO LogManager: Loaded 8 logs in 99ms"], "starts: its logs are loaded", id="after"
        ),
    ],
)
def test_a_broker_that_is_away_says_what_it_does(
    condition: ModuleType, active: str, lines: list[str], says: str
) -> None:
    assert condition.doing(active, "dead", lines) == says


def test_hosts_are_named_by_their_brokers_numbers(plugin: Plugin) -> None:
    filters = plugin("filter/doing.py")
    hosts = {"a": {"node_id": 1}, "b": {"node_id": "2"}, "c": {"node_id": 3}}
    results = [
        {"item": "a", "doing": ""},
        {"item": "b", "doing": "starts"},
        {"item": "c", "unreachable": True},
    ]
    found = filters.doing(results, hosts)
    assert found == {"2": "starts", "3": "its host does not answer"}
    assert filters.now_doing(found) == "; now broker 2: starts; now broker 3: its host does not answer"
    assert filters.now_doing({}) == ""
