"""A hostile filter harms only its owner: each of tests/attacks, run as `zads filter test` runs filters."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import attacking
from attacking import ATTACKS, SECRET
from zads.filters import circuit, process
from zads.filters.sandbox import Sandbox

SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGIO, signal.SIGALRM)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[int, str]]]:
    """What the honest filters pass without an attack."""
    with Sandbox(attacking.specs(tmp_path_factory.mktemp("undisturbed"), None)) as sandbox:
        return attacking.judged(sandbox)[0]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter limits than a deployment's, for shorter tests."""
    for name, seconds in (("ATTEMPT_SECONDS", 6.0), ("LOAD_SECONDS", 6.0), ("KILL_GRACE", 0.5)):
        monkeypatch.setattr(process, name, seconds)


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """Signals that this process receives."""
    received: list[int] = []
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in SIGNALS}
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_changes_nothing_for_others(
    attack: str, undisturbed: dict[str, list[dict[int, str]]], signals: list[int], tmp_path: Path
) -> None:
    heartbeat = tmp_path / "heartbeat"
    heartbeat.touch()
    beaten, limits, opened = (
        heartbeat.stat(),
        resource.getrlimit(resource.RLIMIT_NOFILE),
        len(list(Path("/proc/self/fd").iterdir())),
    )
    begun = time.monotonic()
    with Sandbox(attacking.specs(tmp_path, attack)) as sandbox:
        passed, said = attacking.judged(sandbox)
    assert passed == undisturbed
    assert SECRET not in said
    assert signals == []
    assert heartbeat.stat() == beaten
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
    assert len(list(Path("/proc/self/fd").iterdir())) == opened, "no descriptor is left behind"
    assert time.monotonic() - begun < 60


def test_an_owner_whose_filter_opens_everything_goes_on_without_it(tmp_path: Path) -> None:
    with Sandbox(attacking.specs(tmp_path, "opens_import")) as sandbox:
        verdicts, _ = sandbox.run(attacking.ALERTS)
        assert "too many files" in sandbox.circuits["attack"].why
    assert verdicts["beside"].passed == verdicts["first"].passed != {}


@pytest.mark.usefixtures("hurried")
def test_filters_just_below_every_limit_are_stopped_when_their_owners_time_is_used_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It waits for 4.8 s, of which a quarter counts. The stream leaves it 0.6 s.
    monkeypatch.setattr(circuit, "SAVED_SECONDS", 0.5)
    with Sandbox(attacking.specs(tmp_path, "slow")) as sandbox:
        for _ in range(8):
            sandbox.run(attacking.ALERTS)
            if sandbox.circuits["attack"].state == "open":
                break
        assert "more time than the stream leaves" in sandbox.circuits["attack"].why
        assert sandbox.circuits["beside"].state == sandbox.circuits["first"].state == "closed"
