"""Ends a program that hangs, so that its service starts it again: an engine would only call it unhealthy."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import tempfile
import threading
import time
from typing import TYPE_CHECKING

from zads import logs, metrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOOK_SECONDS = 0.5
_NEVER = float("inf")


class Watchdog:
    """Ends the process if there is no beat for `turn_seconds`, or if a call within `limits` takes over `call_seconds`.

    Before it does, it writes to standard error where each thread is and which limit of `program` was exceeded.
    `heartbeat` is a file that is touched at each beat, for people and for the engine to look at.
    """

    def __init__(
        self, program: str, turn_seconds: float, *, call_seconds: float = _NEVER, heartbeat: Path | None = None
    ) -> None:
        self._program, self._turn, self._call, self._heartbeat = program, turn_seconds, call_seconds, heartbeat
        self._call_ends = self._turn_ends = _NEVER  # the first beat starts the clock
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def beat(self) -> None:
        """Report that the loop has begun another turn. Raises OSError if the heartbeat cannot be written."""
        self._turn_ends = time.monotonic() + self._turn
        metrics.beat(self._heartbeat)

    def rest(self) -> None:
        """Stop expecting beats: the loop has ended."""
        self._turn_ends = _NEVER

    @contextlib.contextmanager
    def limits(self) -> Iterator[None]:
        """A context whose body must end within `call_seconds`."""
        self._call_ends = time.monotonic() + self._call
        try:
            yield
        finally:
            self._call_ends = _NEVER

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            if now > self._call_ends:
                _end(f"the Kafka client hung for {self._call:g} s")
            if now > self._turn_ends:
                _end(f"the {self._program} made no progress for {self._turn:g} s")


def _end(why: str) -> None:
    logs.line("critical", f"{why}; ending to be started again", threads=_threads())
    os._exit(1)


def _threads() -> str:
    """Where each thread is. Python writes it to a file only."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read().decode(errors="replace")
