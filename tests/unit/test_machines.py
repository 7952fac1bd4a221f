"""An operation on machines shows its plan first, and does nothing without consent."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import machines
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAN = ("--check", "--tags", "plan")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The options of each run of the playbook."""
    runs: list[tuple[str, ...]] = []

    def play(env: str, playbook: str, *options: str) -> int:
        assert (env, playbook) == ("prod", "remove")
        runs.append(options)
        return 4 if "refused" in options else 0

    monkeypatch.setattr(machines, "play", play)
    monkeypatch.setattr(machines, "agreed", lambda *_: False)
    return runs


def test_without_consent_nothing_follows_the_plan(played: list[tuple[str, ...]]) -> None:
    assert machines.main("prod", "remove", ["-e", "leaving=a"]) == 1
    assert played == [(*PLAN, "-e", "leaving=a")]


def test_with_consent_the_operation_follows(played: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert machines.main("prod", "remove", ["--yes", "-e", "leaving=a"]) == 0
    assert played == [(*PLAN, "-e", "leaving=a"), ("-e", "leaving=a")]
    monkeypatch.setattr(machines, "agreed", lambda *_: True)
    assert machines.main("prod", "remove", []) == 0
    assert played[2:] == [PLAN, ()]


def test_a_check_ends_with_the_plan(played: list[tuple[str, ...]]) -> None:
    assert machines.main("prod", "remove", ["--yes", "--check"]) == 0
    assert played == [PLAN]


def test_a_refused_plan_is_not_carried_out(played: list[tuple[str, ...]]) -> None:
    assert machines.main("prod", "remove", ["--yes", "refused"]) == 4
    assert len(played) == 1


def test_without_a_terminal_nobody_can_agree(capsys: pytest.CaptureFixture[str]) -> None:
    assert machines.agreed("prod", "remove") is False
    assert "YES=1 does not ask" in capsys.readouterr().out


ROTATE = ("rotate_certificates", "rotate_authority", "rotate_passwords")


@pytest.mark.parametrize("name", ["rebalance", "replace", "remove", "plan_versions", "rollback", *ROTATE])
def test_every_play_that_changes_something_is_left_out_of_the_plan(name: str) -> None:
    """The plan runs the plays with the tag `plan`, and those that always run."""
    plays = yaml.safe_load((ROOT / f"ansible/playbooks/{name}.yml").read_text())
    shown = [play["name"] for play in plays if play.get("tags") in ("plan", "always")]
    assert shown, "a plan"
    assert not [
        one
        for one in shown
        if one.startswith(("Move", "Stop", "Restart", "Configure", "Deploy", "Give", "Bring", "Forget", "Go back"))
    ]


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (["WHAT=authority"], ["rotate_authority"]),
        (
            ["WHAT=authority", "SITE=public", "BACK=1"],
            ["rotate_authority", "site_name='public'", "authority_back=true"],
        ),
        (["WHAT=passwords", "USER=zads.*"], ["rotate_passwords", "rotate_users='zads.*'"]),
        (["WHAT=passwords"], ["rotate_passwords"]),
        (["WHAT=certificates", "YES=1"], ["rotate_certificates", "--yes"]),
    ],
)
def test_what_is_rotated_comes_from_the_command_line_and_not_from_the_shell(
    given: list[str], options: list[str]
) -> None:
    """Every shell has a variable USER: the operator's name is no account."""
    shown = made(*given)
    assert all(option in shown for option in options), shown
    assert "operator" not in shown


def test_a_rotation_of_nothing_known_is_refused() -> None:
    for given in ([], ["WHAT=everything"]):
        assert "WHAT= is one of certificates authority passwords" in made(*given)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (["KAFKA=3.8.1"], ["upgrade_kafka=3.8.1", "site_name=origin,public", "images.py kafka kafka-3.8.1"]),
        (["KAFKA=3.8.1", "SITE=public", "LIMIT=a,b"], ["site_name=public", "upgrade_hosts='a,b'"]),
        (["KAFKA=9.9.9"], ["upgrade_kafka=9.9.9", "images.py kafka \n"]),  # nothing is pinned, so nothing is built
        ([], ["KAFKA= says which version"]),
    ],
)
def test_an_upgrade_is_of_all_sites_unless_one_is_named(given: list[str], options: list[str]) -> None:
    shown = made(*given, target="upgrade")
    assert all(option in shown for option in options), shown


def made(*given: str, target: str = "rotate") -> str:
    """What `make` would run, or says."""
    command = ["make", "--dry-run", "--no-print-directory", target, *given]
    environment = {**os.environ, "USER": "operator"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["upgrade", "protocol"])
def test_the_plan_of_an_upgrade_is_a_part_of_its_own(name: str) -> None:
    plays = yaml.safe_load((ROOT / f"ansible/playbooks/{name}.yml").read_text())
    assert plays[0]["ansible.builtin.import_playbook"] == "plan_versions.yml"
    assert not [play["name"] for play in plays if "tags" in play]
