"""A program's files are written whole, differences are shown without secrets, and the needs of units are reported."""

from __future__ import annotations

import getpass
import grp
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

RUNS = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}


@pytest.fixture(scope="module")
def module(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("modules/host_files.py")


Settle = Callable[..., dict[str, Any]]


@pytest.fixture
def settle(module: ModuleType) -> Settle:
    """The module's work, with everything owned by who runs the tests."""

    def run(check: bool = False, units: dict[str, dict[str, str]] | None = None, **given: Any) -> dict[str, Any]:
        params = {
            "owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name,
            "directories": [], "files": [], "secrets": [], "contents": {}, "purge": [], "kept": [], "applied": [],
            **given,
        }  # fmt: skip
        result: dict[str, Any] = module.settle(params, units or {}, check=check)
        return result

    return run


def entry(path: Path, content: str | None = None, mode: str = "0640") -> dict[str, Any]:
    one = {"path": str(path), "owner": None, "group": None, "mode": mode}
    return one if content is None else {**one, "content": content}


def test_directories_and_files_are_made_and_a_second_run_changes_nothing(settle: Settle, tmp_path: Path) -> None:
    wanted = {
        "directories": [entry(tmp_path / "a/b", mode="2750")],
        "files": [entry(tmp_path / "a/b/c", "one\n")],
        "secrets": [entry(tmp_path / "a/b/d", mode="0400")],
        "contents": {str(tmp_path / "a/b/d"): "hush\n"},
    }
    assert settle(**wanted)["changed"] is True
    assert (tmp_path / "a/b").stat().st_mode & 0o7777 == 0o2750
    assert (tmp_path / "a/b/c").stat().st_mode & 0o7777 == 0o640
    assert (tmp_path / "a/b/d").stat().st_mode & 0o7777 == 0o400
    assert (tmp_path / "a/b/c").read_text() == "one\n"
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == ["c", "d"]
    assert settle(**wanted)["changed"] is False


def test_a_check_shows_each_files_lines_and_changes_nothing(settle: Settle, tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("min=1\n")
    path.chmod(0o640)
    result = settle(check=True, files=[entry(path, "min=2\n")])
    (difference,) = result["diff"]
    assert difference["before"].endswith("0640\nmin=1\n")
    assert difference["after"].endswith("0640\nmin=2\n")
    assert path.read_text() == "min=1\n"


def test_another_mode_alone_is_a_change_that_is_seen(settle: Settle, tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("x")
    path.chmod(0o666)
    (difference,) = settle(files=[entry(path, "x")])["diff"]
    assert "0666" in difference["before"]
    assert "0640" in difference["after"]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_secret_is_told_to_differ_and_never_shown(settle: Settle, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old secret")
    path.chmod(0o400)
    result = settle(secrets=[entry(path, mode="0400")], contents={str(path): "new secret"})
    assert result["diff"][0]["before"] != result["diff"][0]["after"]
    assert "old secret" not in str(result)
    assert "new secret" not in str(result)
    assert path.read_text() == "new secret"


def test_secrets_and_their_contents_name_the_same_paths(settle: Settle, tmp_path: Path) -> None:
    for given in (
        {"secrets": [entry(tmp_path / "key", mode="0400")]},
        {"contents": {str(tmp_path / "key"): "x"}},
    ):
        with pytest.raises(ValueError, match=f"name the same paths: {tmp_path}/key"):
            settle(check=True, **given)


def test_a_purge_removes_what_is_not_named_and_nothing_else(settle: Settle, tmp_path: Path) -> None:
    for name in ("groups/kept/filters/f", "groups/kept/filters/g", "groups/gone/filters/h", "other/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    purge = [f"{tmp_path}/groups/*", f"{tmp_path}/groups/*/filters/*"]
    wanted = {"files": [entry(tmp_path / "groups/kept/filters/f", "x")], "purge": purge}
    gone = [str(tmp_path / "groups/gone"), str(tmp_path / "groups/kept/filters/g")]
    assert settle(check=True, **wanted)["removed"] == gone
    assert (tmp_path / "groups/gone").exists()
    assert settle(**wanted)["removed"] == gone
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "groups/kept/filters/f",
        "other/x",
    ]


def test_an_unknown_owner_is_named(settle: Settle, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="nobody_of_that_name"):
        settle(files=[{**entry(tmp_path / "x", "x"), "owner": "nobody_of_that_name"}])
    assert settle(check=True, files=[{**entry(tmp_path / "x", "x"), "owner": "nobody_of_that_name"}])["changed"]


@pytest.fixture
def unit(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a unit runs that started with the file `settings` and reads `live/filter` again on a reload."""
    monkeypatch.setattr(module, "RUN", tmp_path)
    (tmp_path / "live").mkdir()
    (tmp_path / "filters-1").mkdir()
    for path, listing in (("settings", "started-with"), ("live/filter", "reloaded-with")):
        (tmp_path / path).write_text("x")
        (tmp_path / path).chmod(0o640)
        line = f"{hashlib.sha256(b'x').hexdigest()}  {tmp_path / path}\n"
        (tmp_path / "filters-1" / listing).write_text(line)
    return tmp_path


def needs(settle: Settle, check: bool = False, files: list[Any] | None = None, **state: str) -> str | None:
    result = settle(check=check, files=files or [], units={"filters@1.service": {**RUNS, **state}})
    need: str | None = result["needs"].get("filters@1.service")
    return need


def test_a_unit_that_runs_with_what_is_there_needs_nothing(settle: Settle, unit: Path) -> None:
    assert needs(settle) is None


def test_a_unit_that_does_not_run_or_would_not_after_a_reboot_is_started(settle: Settle, unit: Path) -> None:
    assert needs(settle, ActiveState="failed") == "started"
    assert needs(settle, UnitFileState="disabled") == "started"


def test_a_file_edited_by_hand_and_one_about_to_be_written_both_restart(settle: Settle, unit: Path) -> None:
    assert needs(settle, check=True, files=[entry(unit / "settings", "new")]) == "restarted"
    (unit / "settings").write_text("by hand")
    assert needs(settle) == "restarted"
    # The deployment puts it back: the unit still runs with what is wanted.
    assert needs(settle, files=[entry(unit / "settings", "x")]) is None


def test_a_file_that_the_running_unit_has_taken_already_needs_nothing(settle: Settle, unit: Path) -> None:
    given = {
        "files": [entry(unit / "settings", "new")],
        "applied": [str(unit / "settings")],
        "units": {"filters@1.service": RUNS},
    }
    listing = unit / "filters-1" / "started-with"
    before = listing.read_text()
    assert settle(check=True, **given)["needs"] == {}
    assert listing.read_text() == before
    assert settle(**given)["needs"] == {}
    assert listing.read_text() == f"{hashlib.sha256(b'new').hexdigest()}  {unit / 'settings'}\n"
    assert needs(settle) is None, "and it stays so"
    (unit / "settings").write_text("by hand")
    assert needs(settle) == "restarted"


def test_a_file_that_was_taken_already_does_not_hide_another(settle: Settle, unit: Path) -> None:
    other = unit / "other"
    other.write_text("x")
    listing = unit / "filters-1" / "started-with"
    listing.write_text(listing.read_text() + f"{hashlib.sha256(b'older').hexdigest()}  {other}\n")
    given = {"files": [entry(unit / "settings", "new")], "applied": [str(unit / "settings")]}
    assert settle(units={"filters@1.service": RUNS}, **given)["needs"] == {"filters@1.service": "restarted"}


def test_a_unit_that_never_said_what_it_started_with_is_restarted(settle: Settle, unit: Path) -> None:
    (unit / "filters-1" / "started-with").unlink()
    assert needs(settle) == "restarted"


def test_what_is_read_again_on_a_reload_only_reloads(settle: Settle, unit: Path) -> None:
    assert needs(settle, check=True, files=[entry(unit / "live/filter", "new")]) == "reloaded"
    assert needs(settle, check=True, files=[entry(unit / "live/another", "new")]) == "reloaded"
    (unit / "live/filter").unlink()
    assert needs(settle) == "reloaded"


def test_a_file_that_another_task_has_brought_reloads_and_is_not_purged(settle: Settle, unit: Path) -> None:
    (unit / "live/catalogue").write_text("x")
    given = {"purge": [f"{unit}/live/*"], "files": [entry(unit / "live/filter", "x")]}
    units = {"filters@1.service": RUNS}
    kept = settle(check=True, kept=[str(unit / "live/catalogue")], units=units, **given)
    assert (kept["removed"], kept["needs"]) == ([], {"filters@1.service": "reloaded"})
    assert settle(check=True, units=units, **given)["removed"] == [str(unit / "live/catalogue")]


def test_a_check_before_the_first_deployment_asks_nothing_of_a_unit_that_is_not_there(
    settle: Settle, unit: Path
) -> None:
    assert needs(settle, check=True, LoadState="not-found", ActiveState="inactive") is None
    assert needs(settle, LoadState="not-found", ActiveState="inactive") == "started"
