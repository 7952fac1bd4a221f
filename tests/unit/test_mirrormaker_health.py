"""The mirror judges its health by metrics as the agent writes them, and waits before it gives up."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

_DIRECTORY = Path(__file__).resolve().parents[2] / "images" / "mirrormaker"


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, _DIRECTORY / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # run.py imports health.py, which lies beside it in the image
    spec.loader.exec_module(module)
    return module


health = _module("health")
run = _module("run")

SOURCE = 'mirrormaker_connector_status{connector="MirrorSourceConnector",status="running"} 1.0\n'
HEARTBEAT = 'mirrormaker_connector_status{connector="MirrorHeartbeatConnector",status="unassigned"} 1.0\n'


def task(status: str) -> str:
    return f'mirrormaker_task_status{{connector="MirrorSourceConnector",status="{status}",task="0"}} 1.0\n'


def test_a_running_task_is_healthy() -> None:
    assert health.complaints(HEARTBEAT + SOURCE + task("running"), 1) == []


def test_no_topic_to_mirror_yet_is_healthy() -> None:
    assert health.complaints(SOURCE, 1) == []


def test_a_failed_task_is_named() -> None:
    assert health.complaints(SOURCE + task("failed"), 1) == [("task MirrorSourceConnector-0 is failed", True)]


@pytest.mark.parametrize("metrics", ["", HEARTBEAT])
def test_a_source_connector_that_was_refused_is_noticed(metrics: str) -> None:
    [complaint] = health.complaints(metrics, 1)
    assert "does not run here" in complaint.text
    assert not complaint.for_good


def test_of_several_processes_one_may_stand_by() -> None:
    assert health.complaints(HEARTBEAT, 2) == []
    assert health.complaints(HEARTBEAT + task("failed"), 2)


class Java:
    """A process that runs until it is asked to end. Each wait for it moves the clock by CHECK_SECONDS."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.ended = 0.0, False
        monkeypatch.setattr(run.time, "monotonic", lambda: self.clock)

    def wait(self, timeout: float) -> int:
        if self.ended:
            return 143
        self.clock += timeout
        raise subprocess.TimeoutExpired("java", timeout)

    def terminate(self) -> None:
        self.ended = True


def unwell_from(
    java: Java, *seconds: tuple[float, float], monkeypatch: pytest.MonkeyPatch, for_good: bool = False
) -> None:
    complaint = health.Complaint("it is not well", for_good)
    monkeypatch.setattr(health, "check", lambda: [complaint] if any(a <= java.clock < b for a, b in seconds) else [])


def test_a_slow_start_is_not_mistaken_for_an_illness(monkeypatch: pytest.MonkeyPatch) -> None:
    java = Java(monkeypatch)
    unwell_from(java, (0, 500), (1000, 9999), monkeypatch=monkeypatch)
    assert run.supervise(java) == 1
    assert 1000 + run.PATIENCE_SECONDS <= java.clock < 1000 + run.PATIENCE_SECONDS + 3 * run.CHECK_SECONDS


def test_a_start_that_comes_to_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    java = Java(monkeypatch)
    unwell_from(java, (0, 9999), monkeypatch=monkeypatch)
    assert run.supervise(java) == 1
    assert run.START_SECONDS < java.clock < run.START_SECONDS + 3 * run.CHECK_SECONDS


def test_a_task_that_failed_for_good_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    java = Java(monkeypatch)
    unwell_from(java, (0, 100), (1000, 9999), monkeypatch=monkeypatch, for_good=True)
    assert run.supervise(java) == 1
    assert 1000 < java.clock < 1000 + run.FAILED_SECONDS + run.CHECK_SECONDS


def test_a_task_that_fails_again_at_once_has_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    java = Java(monkeypatch)
    unwell_from(java, (0, 100), (120, 9999), monkeypatch=monkeypatch, for_good=True)
    assert run.supervise(java) == 1
    assert java.clock > 115 + run.PATIENCE_SECONDS
