"""Every runbook works as written, on the running system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_system import ROOT, System, run

RUNBOOKS = sorted(path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md") if path.stem != "README")


@pytest.fixture
def inventory_as_it_was() -> Iterator[None]:
    """Checks that a runbook restores the inventory and the schemas, and restores them for a runbook that fails."""
    before = _contents()
    yield
    after = _contents()
    for path in after.keys() - before.keys():
        path.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    assert after == before, "the runbook does not undo what it changes in the inventory or the schemas"


def _contents() -> dict[Path, bytes]:
    places = (ROOT / "inventories" / "local", ROOT / "schemas")
    return {path: path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", RUNBOOKS)
def test_the_runbook_works_as_written(system: System, inventory_as_it_was: None, name: str) -> None:
    run("scripts/with-engine", ".venv/bin/python", "scripts/runbook.py", "local", name)
