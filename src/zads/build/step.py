"""One step of a build: a program that is run, and the end of its output when it fails."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence

from zads.errors import ZadsError

#: Gets one line for each step that takes time.
Say = Callable[[str], None]
#: Lines of a failed program's output that its error quotes.
QUOTED_LINES = 15


def run(command: Sequence[str], failure: str, *, hint: str = "", environment: Mapping[str, str] | None = None) -> None:
    """Run a program and wait for it. Raises ZadsError, ``failure`` and the end of the output, if it fails."""
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = (result.stdout + result.stderr).strip().splitlines()
        raise ZadsError(f"{failure}: " + "\n".join(lines[-QUOTED_LINES:]), hint=hint)
