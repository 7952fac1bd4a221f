"""Kits are written once, shown without their contents, and removed with their users."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from zads.errors import ZadsError

TEMPLATES = Path(__file__).resolve().parents[2] / "roles/access/templates/kit"
READER = {"name": "reader", "site": "public", "programmes": [1]}
ALICE = {"name": "alice", "site": "public"}
PARTNER = {"name": "partner", "site": "origin", "programmes": [1]}
PASSWORDS = {"reader": "hush-reader", "alice": "hush-alice", "partner": "hush-partner"}

Settle = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def module(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("modules/client_files.py")


@pytest.fixture
def clients(tmp_path: Path) -> Path:
    return tmp_path / "clients"


@pytest.fixture
def settle(module: ModuleType, tmp_path: Path, clients: Path) -> Settle:
    """The module's work at a site, for some users."""
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")

    def run(
        *users: dict[str, Any], site: str = "public", check: bool = False, passwords: dict[str, str] = PASSWORDS
    ) -> dict[str, Any]:
        policy = {
            "topics_night": {"partitions": 1, "replication_factor": 2, "min_insync_replicas": 1, "retention_days": 7},
            "programmes": {1: {"sites": ["origin", "public"]}},
            "users": list(users),
        }
        params = {
            "directory": str(clients), "templates": str(TEMPLATES), "site": site, "bootstrap": ["192.0.2.1:9094"],
            "ca": str(tmp_path / "ca.crt"), "policy": policy, "passwords": passwords,
        }  # fmt: skip
        result: dict[str, Any] = module.settle(params, check=check)
        return result

    return run


def below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_a_second_run_changes_nothing(settle: Settle, clients: Path) -> None:
    first = settle(READER, ALICE, PARTNER)
    assert first["changed"] is True
    assert "reader/librdkafka.properties" in first["written"]
    assert sorted(path.name for path in clients.iterdir()) == [
        "alice",
        "alice.properties",
        "reader",
        "reader.properties",
    ]
    assert settle(READER, ALICE, PARTNER)["changed"] is False


def test_everything_is_its_owners_alone(settle: Settle, clients: Path) -> None:
    settle(READER)
    paths = [clients, *clients.rglob("*")]
    assert {path.stat().st_mode & 0o077 for path in paths} == {0}
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in paths if path.is_dir())
    (clients / "reader/kit.py").chmod(0o644)
    assert settle(READER)["written"] == ["reader/kit.py"]


def test_a_check_says_what_would_change_and_changes_nothing(settle: Settle, clients: Path) -> None:
    assert settle(READER, check=True)["written"]
    assert not clients.exists()
    settle(READER)
    before = below(clients)
    assert settle(ALICE, check=True)["removed"]
    assert below(clients) == before


def test_no_answer_has_a_password(settle: Settle) -> None:
    answers = [settle(READER), settle(READER, passwords={"reader": "hush-other"}), settle(ALICE)]
    assert "hush" not in str(answers)
    assert answers[1]["written"] == [
        "reader.properties", "reader/auth.toml", "reader/java.properties", "reader/librdkafka.properties",
    ]  # fmt: skip


def test_who_is_gone_has_no_kit_any_more(settle: Settle, clients: Path) -> None:
    settle(READER, ALICE)
    settle(READER)
    assert sorted(path.name for path in clients.iterdir()) == ["reader", "reader.properties"]


def test_what_others_put_there_stays(settle: Settle, clients: Path) -> None:
    settle(READER, ALICE)
    (clients / "alice/notes.txt").write_text("mine")
    (clients / "admin-public.properties").write_text("# Super user of the site public\n")
    (clients / "own").mkdir()
    (clients / "own/file").write_text("mine")
    settle(READER)
    assert below(clients / "alice") == {"notes.txt"}
    assert (clients / "admin-public.properties").exists()
    assert (clients / "own/file").exists()


def test_a_file_that_kits_have_no_more_is_removed(settle: Settle, clients: Path) -> None:
    settle(READER)
    (clients / "reader/old.py").write_text("")
    (clients / "reader/.files").write_text((clients / "reader/.files").read_text() + "old.py\n../../outside\n")
    assert settle(READER)["removed"] == ["reader/old.py"]
    assert not (clients / "reader/old.py").exists()


@pytest.mark.parametrize("order", [("origin", "public"), ("public", "origin")])
def test_who_moved_to_the_other_site_keeps_a_whole_kit(settle: Settle, clients: Path, order: tuple[str, str]) -> None:
    settle(READER)
    moved = {**READER, "site": "origin"}
    for site in order:
        settle(moved, site=site)
    assert "site origin" in (clients / "reader/librdkafka.properties").read_text()
    assert "site origin" in (clients / "reader.properties").read_text()
    assert settle(moved, site="origin")["changed"] is False
    assert settle(moved, site="public")["changed"] is False


def test_the_other_sites_kits_are_left_alone(settle: Settle, clients: Path) -> None:
    settle(PARTNER, site="origin")
    settle(READER, PARTNER)
    assert (clients / "partner/README.md").exists()


def test_a_file_of_before_kits_is_removed_with_its_user(settle: Settle, clients: Path) -> None:
    clients.mkdir()
    (clients / "gone.properties").write_text("# How to connect to the site public as gone. Keep it to yourself.\n")
    assert settle(READER)["removed"] == ["gone.properties"]


def test_a_password_that_cannot_be_told_is_refused_before_anything_is_written(settle: Settle, clients: Path) -> None:
    with pytest.raises(ZadsError, match="the password of reader has a control character"):
        settle(READER, passwords={"reader": "a\nb"})
    assert not clients.exists()


@pytest.mark.parametrize("step", ["superfluous", "write", "remove"])
def test_no_other_run_can_begin_meanwhile(
    settle: Settle, clients: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Both sites' runs remove a user who is gone: one would list files that the other has just removed."""
    settle(READER)
    held = []

    def observed(*args: Any) -> Any:
        other = os.open(clients, os.O_RDONLY)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(step)
        finally:
            os.close(other)
        return work(*args)

    work = getattr(module, step)
    monkeypatch.setattr(module, step, observed)
    settle(ALICE)
    assert set(held) == {step}
    assert not (clients / "reader.properties").exists()
