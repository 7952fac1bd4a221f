"""One command at a time makes or removes the hosts of a checkout."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(root: Path, say: Callable[[str], None] = print) -> Iterator[None]:
    """Hold the lock of the checkout ``root``; a second command waits until the first ends, whatever its result."""
    path = root / ".zads" / "lab.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another command that makes or removes hosts of this checkout")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
