"""Every runbook works as written, on the running system; drill_runbooks.py executes the long ones."""

from __future__ import annotations

import pytest

from executing import LONG, RUNBOOKS, execute
from local_system import System


def test_every_long_runbook_exists() -> None:
    assert set(LONG) < set(RUNBOOKS)


@pytest.mark.parametrize("name", [name for name in RUNBOOKS if name not in LONG])
def test_the_runbook_works_as_written(system: System, name: str) -> None:
    execute(name)
