"""A hostile filter harms only its owner: every one of tests/attacks, in the container of a deployment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import attacking
import sandboxed
from attacking import ATTACKS, SECRET
from bench.broker import await_true
from sandboxed import Sandbox
from zads.errors import ZadsError
from zads.filters import launcher, process
from zads.filters.launcher import NurseryLauncher
from zads.filters.nursery import FIRST_USER
from zads.filters.sandbox import Sandbox as FilterSandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One container for all attacks, so that each meets what earlier ones left."""
    with sandboxed.running(tmp_path_factory.mktemp("sandbox")) as started:
        yield started


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[int, str]]]:
    """What the honest filters pass without an attack and without a container."""
    with FilterSandbox(attacking.specs(tmp_path_factory.mktemp("undisturbed"), None)) as filters:
        return attacking.judged(filters)[0]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter limits than a deployment's, for shorter tests."""
    for name, seconds in (("ATTEMPT_SECONDS", 6.0), ("LOAD_SECONDS", 6.0), ("KILL_GRACE", 0.5)):
        monkeypatch.setattr(process, name, seconds)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_changes_nothing_for_others(
    attack: str, undisturbed: dict[str, list[dict[int, str]]], sandbox: Sandbox
) -> None:
    with FilterSandbox(attacking.specs(sandbox.directory, attack), launcher=NurseryLauncher(sandbox.socket)) as filters:
        before = sandbox.state()
        passed, said = attacking.judged(filters)
        users = [user for user in sandbox.users() if user >= FIRST_USER]
        assert len(set(users)) == len(users) >= 2, "the processes of owners have different users"
    assert passed == undisturbed
    assert SECRET not in said
    assert sandbox.state() == before
    await_true(lambda: set(sandbox.users()) == {0}, "all processes of filters to end", 10)


def test_what_filters_could_read_is_theirs(sandbox: Sandbox) -> None:
    with FilterSandbox(
        attacking.specs(sandbox.directory, "reads_secrets"), launcher=NurseryLauncher(sandbox.socket)
    ) as filters:
        verdicts, _ = filters.run(attacking.ALERTS)
    found = "".join(verdicts["attack"].passed.values())
    assert verdicts["attack"].passed
    for name in ("kafka.properties", "ca.crt", "sasl", "zads-filters", "heartbeat"):
        assert name not in found


def test_a_nursery_serves_nobody_but_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxed.os, "getuid", lambda: 12345)  # the user that the nursery serves
    monkeypatch.setattr(launcher, "ANSWER_SECONDS", 5.0)
    with (
        sandboxed.running(tmp_path) as other,
        pytest.raises(ZadsError, match="does not answer"),
        FilterSandbox(attacking.specs(tmp_path, None), launcher=NurseryLauncher(other.socket)),
    ):
        pass


def test_a_worker_whose_nursery_ends_says_so_at_once(tmp_path: Path) -> None:
    with sandboxed.running(tmp_path) as other:
        filters = FilterSandbox(attacking.specs(tmp_path, None), launcher=NurseryLauncher(other.socket))
        filters.run(attacking.ALERTS)
    begun = time.monotonic()
    with pytest.raises(ZadsError, match="does not answer"):
        filters.run(attacking.ALERTS)
    filters.close()
    assert time.monotonic() - begun < 10
