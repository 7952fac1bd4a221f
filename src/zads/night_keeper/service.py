"""The keeper as a service: a round, a rest, and so on until it is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from zads.errors import ZadsError
from zads.watchdog import Watchdog

if TYPE_CHECKING:
    from zads.night_keeper.keeper import Keeper, Round
    from zads.site.policy import Policy

#: No step between two rests takes this long, even if a site answers nothing.
HUNG_SECONDS = 600.0
_BEAT_SECONDS = 5.0

_log = structlog.get_logger("zads.night-keeper")


class StopRequested(Exception):
    """The process was asked to end."""


class Rest:
    """Waits between steps, shows that the program works, and ends it when asked.

    `heartbeat` is a file that is touched meanwhile. A watchdog ends the process when there is no rest for HUNG_SECONDS.
    """

    def __init__(self, stop: threading.Event, heartbeat: Path | None = None) -> None:
        self._stop = stop
        self._watchdog = Watchdog("night keeper", HUNG_SECONDS, heartbeat=heartbeat)

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


def run(keeper: Keeper, read_policy: Callable[[], Policy], rest: Rest, interval: float) -> None:
    """Do rounds until stopped, with `interval` seconds between them.

    A new data policy ends the rest between two rounds: what a round did by the old one is corrected at once.
    """
    try:
        while True:
            found = _round(keeper)
            until = time.monotonic() + interval
            while time.monotonic() < until and not _changed(found, read_policy):
                rest(min(_BEAT_SECONDS, interval))
    except StopRequested:
        _log.info("stopped")


def _round(keeper: Keeper) -> Round | None:
    """One round; None if there was no data policy to go by. The next round tries again."""
    try:
        return keeper.round()
    except (ZadsError, OSError, ValueError) as error:
        _log.error("no round: the data policy cannot be used", reason=str(error))
        return None


def _changed(found: Round | None, read_policy: Callable[[], Policy]) -> bool:
    """Whether there is another data policy than that of a round."""
    try:
        return found is not None and read_policy() != found.policy
    except (ZadsError, OSError, ValueError):
        return False  # the next round says why
