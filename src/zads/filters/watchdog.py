"""Ends a worker that hangs, so that its service starts it again: an engine would only call it unhealthy."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from zads import metrics

TURN_SECONDS = 90.0  # for one turn of the loop, whatever the filters do: the worker waits for them in small steps
_LOOK_SECONDS = 0.5


class Watchdog:
    """Ends the process if there is no beat for `turn_seconds`, or if a call within `limits` takes over `call_seconds`.

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
        """Report that the loop has begun another turn."""
        self._turn_ends = time.monotonic() + self._turn
        metrics.beat(self._heartbeat)

    def rest(self) -> None:
        """Stop expecting beats: the loop has ended."""
        self._turn_ends = float("inf")

    @contextlib.contextmanager
    def limits(self) -> Iterator[None]:
        """A context whose body must end within `call_seconds`."""
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
                _end(f"the worker made no progress for {self._turn:g} s")


def _end(why: str) -> None:
    sys.stderr.write(f"zads: {why}; ending to be started again\n")
    sys.stderr.flush()
    os._exit(1)
