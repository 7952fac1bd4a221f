"""Archives as a service: each round archives the nights that have ended, and removes archives that are too old."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import structlog

from zads import metrics
from zads.archive.catalogue import Catalogue, Ends
from zads.archive.making import Maker
from zads.archive.record import Archive
from zads.errors import ZadsError
from zads.rest import Rest, StopRequested
from zads.site import nights
from zads.site.policy import Policy

#: A night is late when it ended so long ago and still is not archived...
LATE_SECONDS = nights.DAY
#: ... although nothing has been added for so long after it had come to rest: late alerts make no night late at once.
DUE_SECONDS = 3600.0
#: A night that could not be archived is tried again after this: each attempt reads it.
RETRY_SECONDS = 3600.0

_log = structlog.get_logger("zads.archive")


@dataclass(frozen=True)
class Timing:
    """When a night is archived: `after` its end (seconds), when nothing was added to it for `quiet` seconds.

    `keep`: the archives of so many nights are kept; 0 for all.
    """

    after: float
    quiet: float
    keep: int = 0


@dataclass
class Quiet:
    """Since when (Unix seconds) each topic has had its present ends, as far as this process knows."""

    _since: dict[str, tuple[Ends, float]] = field(default_factory=dict)

    def see(self, topics: Mapping[str, Ends], now: float) -> dict[str, float]:
        """Note the topics' ends. A clock that has stepped back leaves no moment to come."""
        self._since = {
            topic: (ends, min(before[1], now) if (before := self._since.get(topic)) and before[0] == ends else now)
            for topic, ends in topics.items()
        }
        return {topic: since for topic, (_, since) in self._since.items()}


def due(
    topics: Mapping[str, Ends],
    archived: Mapping[str, Ends | None],
    quiet_since: Mapping[str, float],
    timing: Timing,
    now: float,
) -> list[str]:
    """The nights to archive now, the oldest first, since its records expire first; a pure function.

    `topics`: how far each topic reaches; `archived`: how far it was archived; `quiet_since`: since when (Unix seconds)
    it reaches so far. Nothing is due of a topic without records.
    """
    by_night: dict[str, list[str]] = {}
    for topic in topics:
        if (night := nights.night_of(topic)) is not None:
            by_night.setdefault(night, []).append(topic)
    return [
        night
        for night, members in sorted(by_night.items())
        if now >= nights.begin(night) + nights.DAY + timing.after
        and any(_new(topics[topic], archived.get(topic)) for topic in members)
        and all(now >= quiet_since[topic] + timing.quiet for topic in members)
    ]


def _new(ends: Ends, archived: Ends | None) -> bool:
    return any(ends.values()) and ends != archived


def beyond(archives: Collection[Archive], keep: int) -> list[Archive]:
    """The archives that are not of the newest `keep` nights; none if `keep` is 0."""
    kept = sorted({one.night for one in archives})[-keep:]
    return [one for one in archives if keep and one.night not in kept]


class Archivist:
    """Archives nights in rounds."""

    def __init__(
        self,
        maker: Maker,
        catalogue: Catalogue,
        read_policy: Callable[[], Policy],
        timing: Timing,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._maker, self._catalogue, self._read_policy = maker, catalogue, read_policy
        self._timing, self._clock = timing, clock
        self._quiet = Quiet()
        self._retry: dict[str, float] = {}

    def round(self) -> bool:
        """One round. Returns whether nothing failed. Raises StopRequested."""
        try:
            with self._catalogue.locked():
                return self._round()
        except (ZadsError, OSError) as error:
            metrics.ARCHIVE_FAILED.inc()
            _log.error("no round", reason=str(error))
            return False

    def _round(self) -> bool:
        policy = self._read_policy()
        self._catalogue.tidy()
        self._catalogue.withdraw(policy.allowed("public"))
        now, topics = self._clock(), self._maker.topics()
        self._catalogue.forget_prepared(topics)
        archived = {topic: self._catalogue.ends(topic) for topic in topics}
        quiet_since = self._quiet.see(topics, now)
        wanted = due(topics, archived, quiet_since, self._timing, now)
        failed = 0
        for night in wanted:
            if self._kept(night) and self._retry.get(night, 0.0) <= now:
                failed += not self._archive(night, policy)
        self._catalogue.remove(beyond(self._catalogue.archives(), self._timing.keep))
        self._catalogue.write_index()
        self._report(topics, quiet_since, now)
        if not failed:
            metrics.ARCHIVE_LAST.set(self._clock())
        return not failed

    def _archive(self, night: str, policy: Policy) -> bool:
        try:
            metrics.ARCHIVE_MADE.inc(len(self._maker.make(night, policy)))
        except (ZadsError, OSError) as error:
            metrics.ARCHIVE_FAILED.inc()
            self._retry[night] = self._clock() + RETRY_SECONDS
            _log.error("night not archived", night=night, reason=str(error))
            return False
        self._retry.pop(night, None)
        return True

    def _kept(self, night: str) -> bool:
        """Whether the archive of a night would stay."""
        newer = {one.night for one in self._catalogue.archives() if one.night > night}
        return not self._timing.keep or len(newer) < self._timing.keep

    def _report(self, topics: Mapping[str, Ends], quiet_since: Mapping[str, float], now: float) -> None:
        archived = {topic: self._catalogue.ends(topic) for topic in topics}
        overdue = Timing(after=LATE_SECONDS, quiet=self._timing.quiet + DUE_SECONDS)
        late = due(topics, archived, quiet_since, overdue, now)
        metrics.ARCHIVE_LATE.set(sum(map(self._kept, late)))
        metrics.ARCHIVE_BYTES.set(sum(one.size for one in self._catalogue.archives()))


def run(archivist: Archivist, rest: Rest, interval: float) -> None:
    """Do rounds until stopped, with `interval` seconds between them."""
    try:
        while True:
            archivist.round()
            rest(interval)
    except StopRequested:
        _log.info("stopped")
