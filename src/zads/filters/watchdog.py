"""Ends a worker that hangs: its service starts it anew, which nothing else does (an engine only calls it unhealthy)."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from zads import metrics

TURN_SECONDS = 90.0  # in which the loop comes round, whatever the filters do: they are waited for in small steps
_LOOK_SECONDS = 0.5


class Watchdog:
    """Ends the process when the loop does not beat for so long, or a call within `limits` does not come back in time.

    `heartbeat` is a file that is touched at each beat, for people and for the engine to look at.
    """

    def __init__(
        self, call_seconds: float, *, turn_seconds: float = TURN_SECONDS, heartbeat: Path | None = None
    ) -> None:
        self._call, self._turn, self._heartbeat = call_seconds, turn_seconds, heartbeat
        self._call_ends = float("inf")
        self._turn_ends = float("inf")  # the first beat starts the clock
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def beat(self) -> None:
        """The loop has come round."""
        self._turn_ends = time.monotonic() + self._turn
        metrics.beat(self._heartbeat)

    def rest(self) -> None:
        """There is no loop any more."""
        self._turn_ends = float("inf")

    @contextlib.contextmanager
    def limits(self) -> Iterator[None]:
        """What happens inside must end in time."""
        self._call_ends = time.monotonic() + self._call
        try:
            yield
        finally:
            self._call_ends = float("inf")

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            if now > self._call_ends:
                _end(f"the Kafka client hung for {self._call:g} s")
            if now > self._turn_ends:
                _end(f"the worker has not come round for {self._turn:g} s")


def _end(why: str) -> None:
    sys.stderr.write(f"zads: {why}; ending to be started again\n")
    sys.stderr.flush()
    os._exit(1)
