"""The documentation is true: links lead somewhere, the reference is what the sources say, specs and defaults agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from zads.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    # In running text `make` is also an English word: only code is looked at.
    code = re.findall(r"`([^`\n]+)`|^(?: {4})(.+)$", page.read_text(), re.M)
    named = {match for pair in code for text in pair for match in re.findall(r"(?:^|\s)make ([a-z]+)", text)}
    assert named <= targets


def test_the_reference_is_what_the_sources_say() -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts/docs.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-500:]


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_of_a_role_agree(role: str) -> None:
    """A variable that only one of them has is undocumented, or does nothing."""
    directory = ROOT / "roles" / role
    spec = yaml.safe_load((directory / "meta/argument_specs.yml").read_text())
    options = spec["argument_specs"]["main"].get("options", {})
    file = directory / "defaults" / "main.yml"
    defaults = (yaml.safe_load(file.read_text()) or {}) if file.exists() else {}
    assert {name for name, option in options.items() if not option.get("required")} == set(defaults)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_says_what_each_of_its_variables_is(role: str) -> None:
    spec = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]
    assert spec["short_description"]
    for name, option in spec.get("options", {}).items():
        assert option.get("description"), name
        assert option.get("type"), name


def test_every_runbook_is_in_both_lists_and_the_commands_that_they_name_exist() -> None:
    listed = (ROOT / "docs/runbooks/README.md").read_text()
    pages = {path.name for path in (ROOT / "docs/runbooks").glob("*.md")} - {"README.md"}
    head, _, whole = listed.partition("## All pages")
    for part in (head, whole):
        assert set(re.findall(r"\]\(([\w-]+\.md)\)", part)) == pages
    named = re.findall(r"`(zads|make) ([a-z]+)", head)
    assert {verb for program, verb in named if program == "zads"} <= set(COMMANDS)
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {verb for program, verb in named if program == "make"} <= set(targets)
    assert len(named) > 20
