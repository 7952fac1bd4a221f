"""Decides when a filter rests: after failures in a row or deaths of its process, or when its owner has no time left."""

from __future__ import annotations

import time
from collections.abc import Callable

FAILURES_IN_A_ROW = 10  # exceptions, after which a circuit opens
FATAL_FAILURES = 3  # hangs, deaths and memory within REST_SECONDS, after which it opens as well
REST_SECONDS = 300.0
LONGEST_REST = 3600.0

#: Time that an owner's filters may take together for each alert, in the long run. The stream brings 33 alerts a second.
SECONDS_AN_ALERT = 0.010
SECONDS_A_BATCH = 0.5
SAVED_SECONDS = 60.0  # the most that is saved for alerts that take longer


class Circuit:
    """Whether a filter may run: closed (yes), open (it rests), half-open (yes, but one more failure opens it again)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._fatal: list[float] = []
        self._until = 0.0
        self._rest = REST_SECONDS
        self.in_a_row = 0  # failures
        self.state = "closed"
        self.why = ""

    def allows(self) -> bool:
        """Whether the filter may run now; an open circuit whose rest is over becomes half-open."""
        if self.state == "open" and self._clock() >= self._until:
            self.state = "half-open"
            self.in_a_row = 0
        return self.state != "open"

    @property
    def stop_at(self) -> int:
        """Number of failures in a row after which the filter is stopped."""
        return 1 if self.state == "half-open" else FAILURES_IN_A_ROW

    def ran(self, in_a_row: int, why: str) -> None:
        """Count a run that came to its end: the failures in a row at that moment, and the reason of the last one."""
        self.in_a_row = in_a_row
        if in_a_row >= self.stop_at:
            self._open(f"{in_a_row} failures in a row, the last: {why}")
        elif self.state == "half-open" and in_a_row == 0:
            self.state, self.why, self._rest = "closed", "", REST_SECONDS

    def fatal(self, why: str) -> None:
        """Count a run that had to be killed or stopped."""
        now = self._clock()
        self._fatal = [moment for moment in self._fatal if now - moment < REST_SECONDS] + [now]
        if self.state == "half-open" or len(self._fatal) >= FATAL_FAILURES:
            self._open(why)

    def broken(self, why: str) -> None:
        """Open for good: the filter cannot be loaded."""
        self.state, self.why, self._until = "open", why, float("inf")

    def _open(self, why: str) -> None:
        if self._until == float("inf"):
            return
        if self.state == "half-open":
            self._rest = min(2 * self._rest, LONGEST_REST)
        self.state, self.why, self._until = "open", why, self._clock() + self._rest
        self._fatal.clear()


class Account:
    """The time that an owner's filters have left: each alert adds a little, each batch takes its time from it.

    Without it, filters that always stay just below their own limits would delay the group without end.
    """

    def __init__(self) -> None:
        self.seconds = SAVED_SECONDS

    def settle(self, alerts: int, seconds: float) -> bool:
        """Count a batch. False if the filters have overdrawn the account, which then begins at 0 again."""
        self.seconds = min(self.seconds + SECONDS_A_BATCH + SECONDS_AN_ALERT * alerts, SAVED_SECONDS) - seconds
        if self.seconds >= 0:
            return True
        self.seconds = 0.0
        return False
