"""Shows that the producer's loop is running, and lets it be stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from zads import metrics
from zads.watchdog import Watchdog

if TYPE_CHECKING:
    import threading
    from pathlib import Path

_log = structlog.get_logger("zads.producer")


class StopRequested(Exception):
    """The process was asked to end."""


class Pulse:
    """Everything in the loop that takes time calls `pause` now and then.

    `heartbeat` is a file that is touched at each pause. `stop` ends the loop at the next pause. `limit_seconds`: once
    `watch` has been called, a watchdog ends the process when there is no pause for that long; 0 means never.
    """

    def __init__(self, heartbeat: Path | None, stop: threading.Event, limit_seconds: float) -> None:
        self._heartbeat, self._stop, self._limit = heartbeat, stop, limit_seconds
        self._watchdog: Watchdog | None = None
        self._warned: set[str] = set()

    def watch(self) -> None:
        """From now on, end the process when the loop hangs in Kafka's client or in the kernel."""
        if self._limit:
            self._watchdog = Watchdog("producer", self._limit)
            self._watchdog.beat()

    def pause(self, seconds: float = 0.0) -> None:
        """Show that the loop is running, and wait. Raises StopRequested."""
        if self._watchdog is not None:
            self._watchdog.beat()
        try:
            metrics.beat(self._heartbeat)
        except OSError as error:
            self.warn_once("the heartbeat cannot be written", reason=error.strerror)
        if self._stop.wait(seconds):
            raise StopRequested

    def warn_once(self, what: str, **facts: Any) -> None:
        """Log a warning, unless it has been logged since `forget` was last called for it."""
        if what not in self._warned:
            self._warned.add(what)
            _log.warning(what, **facts)

    def forget(self, what: str) -> None:
        """Log a warning again when its cause comes back."""
        self._warned.discard(what)
