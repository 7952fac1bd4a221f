"""How a service that works in rounds rests between steps, shows that it works, and ends when it is asked to."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from zads.watchdog import Watchdog

if TYPE_CHECKING:
    from pathlib import Path

#: No step between two rests takes this long, even if a site answers nothing.
HUNG_SECONDS = 600.0
_BEAT_SECONDS = 5.0


class StopRequested(Exception):
    """The process was asked to end."""


class Rest:
    """Waits between steps, shows that the program works, and ends it when asked.

    `program` is its name for people. `heartbeat` is a file that is touched meanwhile. A watchdog ends the process when
    there is no rest for HUNG_SECONDS.
    """

    def __init__(self, stop: threading.Event, heartbeat: Path | None = None, *, program: str) -> None:
        self._stop = stop
        self._watchdog = Watchdog(program, HUNG_SECONDS, heartbeat=heartbeat)

    def __call__(self, seconds: float) -> None:
        """Wait for some seconds. Raises StopRequested."""
        until = time.monotonic() + seconds
        while True:
            self._watchdog.beat()
            left = until - time.monotonic()
            if self._stop.wait(max(0.0, min(left, _BEAT_SECONDS))):
                raise StopRequested
            if left <= _BEAT_SECONDS:
                return
