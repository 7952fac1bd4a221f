"""Shows that the producer's loop is running, ends the process when it hangs, and lets it be stopped."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import structlog

from zads import metrics

if TYPE_CHECKING:
    from pathlib import Path

_log = structlog.get_logger("zads.producer")


class Stopped(Exception):
    """The process was asked to end."""


class Pulse:
    """Everything in the loop that takes time calls `pause` now and then.

    `heartbeat` is a file that is touched at each pause. `stop` ends the loop at the next pause. `limit_seconds`: once
    `watch` has been called, the process ends when there is no pause for that long; 0 means never.
    """

    def __init__(self, heartbeat: Path | None, stop: threading.Event, limit_seconds: float) -> None:
        self._heartbeat, self._stop, self._limit = heartbeat, stop, limit_seconds
        self._last = time.monotonic()
        self._warned: set[str] = set()

    def watch(self) -> None:
        """From now on, end the process when the loop hangs in Kafka's client or in the kernel.

        The service manager starts it again.
        """
        if self._limit:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def pause(self, seconds: float = 0.0) -> None:
        """Show that the loop is running, and wait. Raises Stopped."""
        self._last = time.monotonic()
        try:
            metrics.beat(self._heartbeat)
        except OSError as error:
            self.warn_once("the heartbeat cannot be written", reason=error.strerror)
        if self._stop.wait(seconds):
            raise Stopped

    def warn_once(self, what: str, **facts: Any) -> None:
        """Log a warning, unless it has been logged since `forget` was last called for it."""
        if what not in self._warned:
            self._warned.add(what)
            _log.warning(what, **facts)

    def forget(self, what: str) -> None:
        """Log a warning again when its cause comes back."""
        self._warned.discard(what)

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self._limit / 4))
            if time.monotonic() - self._last > self._limit:
                faulthandler.dump_traceback(sys.stderr)
                sys.stderr.write(f"zads: the producer hung for {self._limit:g} s; ending to be started again\n")
                sys.stderr.flush()
                os._exit(1)
