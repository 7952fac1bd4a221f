"""The mirror's own judgement of its health, on metrics as the agent writes them."""

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).resolve().parents[2] / "images" / "mirrormaker" / "health.py"
_SPEC = importlib.util.spec_from_file_location("mirrormaker_health", _PATH)
assert _SPEC
assert _SPEC.loader
health = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(health)

SOURCE = 'mirrormaker_connector_status{connector="MirrorSourceConnector",status="running"} 1.0\n'
HEARTBEAT = 'mirrormaker_connector_status{connector="MirrorHeartbeatConnector",status="unassigned"} 1.0\n'


def task(status: str) -> str:
    return f'mirrormaker_task_status{{connector="MirrorSourceConnector",status="{status}",task="0"}} 1.0\n'


def test_a_running_task_is_healthy() -> None:
    assert health.complaints(HEARTBEAT + SOURCE + task("running"), 1) == []


def test_no_topic_to_mirror_yet_is_healthy() -> None:
    assert health.complaints(SOURCE, 1) == []


def test_a_failed_task_is_named() -> None:
    assert health.complaints(SOURCE + task("failed"), 1) == ["task MirrorSourceConnector-0 is failed"]


@pytest.mark.parametrize("metrics", ["", HEARTBEAT])
def test_a_source_connector_that_was_refused_is_noticed(metrics: str) -> None:
    assert "does not run here" in health.complaints(metrics, 1)[0]


def test_of_several_processes_one_may_stand_by() -> None:
    assert health.complaints(HEARTBEAT, 2) == []
    assert health.complaints(HEARTBEAT + task("failed"), 2)
