"""The long runbooks work as written, on the running system."""

from __future__ import annotations

import pytest

from executing import LONG, execute
from local_system import System


@pytest.mark.parametrize("name", LONG)
def test_the_runbook_works_as_written(system: System, name: str) -> None:
    execute(name)
