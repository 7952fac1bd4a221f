"""Writes to the spool's disk, and waits while that is full or read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from zads import metrics
from zads.sources.spool import DISK_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from zads.producer.pulse import Pulse

RETRY_SECONDS = 2.0

_T = TypeVar("_T")


class Disk:
    """The disk with the spool's `root`."""

    def __init__(self, root: Path, pulse: Pulse) -> None:
        self._root, self._pulse = root, pulse

    def write(self, problem: str, call: Callable[..., _T], *arguments: Any) -> _T:
        """Call a function that writes, repeat the call until the disk accepts it, and return its result.

        `problem` says in the log what cannot be done meanwhile. Raises OSError if waiting does not help.
        """
        while True:
            try:
                result = call(*arguments)
                self._pulse.forget(problem)
                return result
            except OSError as error:
                if error.errno not in DISK_ERRORS:
                    raise
                metrics.PRODUCER_BLOCKED.set(1)
                self._pulse.warn_once(
                    problem, reason=error.strerror, path=str(self._root), remedy="free or repair its disk; it goes on"
                )
                self._pulse.pause(RETRY_SECONDS)
