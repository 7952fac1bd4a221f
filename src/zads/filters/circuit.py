"""When a filter rests: after failures in a row, deaths of its process, or more time than its owner has."""

from __future__ import annotations

import time
from collections.abc import Callable

FAILURES_IN_A_ROW = 10  # exceptions, after which a circuit opens
FATAL_FAILURES = 3  # hangs, deaths and memory: so many within REST_SECONDS open it as well
REST_SECONDS = 300.0
LONGEST_REST = 3600.0

#: What an owner's filters may take together for each alert, in the long run. The stream brings 33 a second.
SECONDS_AN_ALERT = 0.010
SECONDS_A_BATCH = 0.5
SAVED_SECONDS = 60.0  # at most so much is saved for alerts that take longer


class Circuit:
    """Whether a filter may run: closed (it may), open (it rests), half-open (one more failure opens it again)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._fatal: list[float] = []
        self._until = 0.0
        self._rest = REST_SECONDS
        self.row = 0
        self.state = "closed"
        self.why = ""

    def allows(self) -> bool:
        """Whether the filter may run now; an open circuit whose rest is over becomes half-open."""
        if self.state == "open" and self._clock() >= self._until:
            self.state = "half-open"
            self.row = 0
        return self.state != "open"

    @property
    def stop_at(self) -> int:
        """After how many failures in a row the filter is stopped."""
        return 1 if self.state == "half-open" else FAILURES_IN_A_ROW

    def ran(self, row: int, why: str) -> None:
        """Take note of a run that came to its end with so many failures in a row; `why` is the last one."""
        self.row = row
        if row >= self.stop_at:
            self._open(f"{row} failures in a row, the last: {why}")
        elif self.state == "half-open" and row == 0:
            self.state, self.why, self._rest = "closed", "", REST_SECONDS

    def fatal(self, why: str) -> None:
        """Take note of a run that had to be killed or stopped."""
        now = self._clock()
        self._fatal = [moment for moment in self._fatal if now - moment < REST_SECONDS] + [now]
        if self.state == "half-open" or len(self._fatal) >= FATAL_FAILURES:
            self._open(why)

    def broken(self, why: str) -> None:
        """Open for good: the filter cannot even be loaded."""
        self.state, self.why, self._until = "open", why, float("inf")

    def _open(self, why: str) -> None:
        if self._until == float("inf"):
            return
        if self.state == "half-open":
            self._rest = min(2 * self._rest, LONGEST_REST)
        self.state, self.why, self._until = "open", why, self._clock() + self._rest
        self._fatal.clear()


class Account:
    """The time that an owner's filters have: each alert adds a little, their batches take from it.

    Filters that always stay just below their own limits would otherwise hold up the group for ever.
    """

    def __init__(self) -> None:
        self.seconds = SAVED_SECONDS

    def settle(self, alerts: int, seconds: float) -> bool:
        """Take note of a batch; False when they have taken more than they have, which is then forgiven."""
        self.seconds = min(self.seconds + SECONDS_A_BATCH + SECONDS_AN_ALERT * alerts, SAVED_SECONDS) - seconds
        if self.seconds >= 0:
            return True
        self.seconds = 0.0
        return False
