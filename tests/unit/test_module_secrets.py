"""No module of ours writes a secret into a host's journal or into its answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PLUGINS = Path(__file__).parents[2] / "ansible" / "plugins"
MODULES = sorted(path.name for path in (PLUGINS / "modules").glob("*.py"))
SECRETIVE = ("password", "secret", "content", "key", "token", "users")
#: Options that sound like secrets but hold none: names, paths, a word, a number, a file that everybody may read.
HARMLESS = {
    ("host_files", "secrets"), ("host_files", "files.content"), ("preflight_inventory", "secrets"),
    ("preflight_inventory", "secrets_source"), ("preflight_inventory", "users"), ("site_secrets", "passwords"),
    ("site_secrets", "password_days"), ("site_secrets", "anew_passwords"), ("site_lock", "token"),
}  # fmt: skip


@pytest.fixture(params=MODULES)
def options(
    request: pytest.FixtureRequest,
    plugin: Callable[[str], ModuleType],
    accepted: Callable[[ModuleType], dict[str, Any]],
) -> tuple[str, dict[str, Any]]:
    """A module's name and the specification of its options."""
    return request.param.removesuffix(".py"), accepted(plugin(f"modules/{request.param}"))


def leaves(spec: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every option and every option of an option, by its path."""
    for name, option in spec.items():
        yield path + name, option
        yield from leaves(option.get("options", {}), f"{path}{name}.")


def test_what_is_hidden_is_a_whole_option(options: tuple[str, dict[str, Any]]) -> None:
    """Ansible finds a part of an option in the log only if Python writes it unchanged, so not a text with line ends."""
    name, spec = options
    parts = [path for path, option in leaves(spec) if "." in path and option.get("no_log")]
    assert parts == [], f"{name}: hide the whole option"


def test_every_option_that_sounds_of_a_secret_is_hidden_or_known_to_hold_none(
    options: tuple[str, dict[str, Any]],
) -> None:
    name, spec = options
    shown = {
        (name, path)
        for path, option in leaves(spec)
        if any(word in path.rpartition(".")[2] for word in SECRETIVE) and not option.get("no_log")
    }
    assert shown - HARMLESS == set()


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a module would write into the journal."""
    from ansible.module_utils.basic import AnsibleModule

    lines: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _self, text, log_args=None: lines.append(f"{text} {log_args}"))
    return lines


KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEG\nCCqGSM49AwEHBG0wawIBAQQg\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("place", ["key", "no/directory/key"], ids=["written", "failing"])
def test_no_line_of_a_secret_is_in_the_journal_or_the_answer(
    plugin: Callable[[str], ModuleType], journal: list[str], tmp_path: Path, place: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from ansible.module_utils.testing import patch_module_args

    path = str(tmp_path / place)
    args = {
        "secrets": [{"path": path, "owner": "nobody_of_that_name" if "no/" in place else None}],
        "contents": {path: KEY},
        "group": "root",
        "_ansible_diff": True,
        "_ansible_verbosity": 4,
    }
    with patch_module_args(args), pytest.raises(SystemExit):
        plugin("modules/host_files.py").main()
    written = "\n".join(journal) + capsys.readouterr().out
    assert path in written
    assert json.dumps(path) in written, "paths are no secrets: people see what is being written"
    assert [line for line in KEY.splitlines() if line in written] == []
