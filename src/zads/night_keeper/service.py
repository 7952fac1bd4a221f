"""The keeper as a service: a round, a rest, and so on until it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from zads.errors import ZadsError
from zads.rest import Rest, StopRequested

if TYPE_CHECKING:
    from zads.night_keeper.keeper import Keeper, Round
    from zads.site.policy import Policy

_LOOK_SECONDS = 5.0

_log = structlog.get_logger("zads.night-keeper")


def run(keeper: Keeper, read_policy: Callable[[], Policy], rest: Rest, interval: float) -> None:
    """Do rounds until stopped, with `interval` seconds between them.

    A new data policy ends the rest between two rounds: what a round did by the old one is corrected at once.
    """
    try:
        while True:
            found = _round(keeper)
            until = time.monotonic() + interval
            while time.monotonic() < until and not _changed(found, read_policy):
                rest(min(_LOOK_SECONDS, interval))
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
