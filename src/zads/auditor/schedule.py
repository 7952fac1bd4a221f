"""Which nights are due for an audit at a moment: pure functions of the nights' ends and of the last results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zads import names
from zads.site.nights import begin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from zads.auditor.results import Result

Ends = dict[str, dict[str, int]]
"""The end offset of each partition of a night, by site and TOPIC/PARTITION."""

#: After an audit that was not whole the night is audited again, each time after longer. Then a person has to look.
AGAIN_SECONDS = (900.0, 3_600.0, 6 * 3_600.0)
#: After so many seconds a night is audited though alerts go on coming.
_PATIENCE = 86_400.0


@dataclass(frozen=True)
class _Seen:
    """The ends of a night, since when they have been so, and since when the night has not rested."""

    ends: Ends
    since: float
    restless: float


@dataclass
class Quiet:
    """Which nights rest, as far as this process has seen: nothing has come for so many seconds."""

    seconds: float
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def see(self, ends: Mapping[str, Ends], now: float) -> set[str]:
        """Note the nights' ends. Returns the nights that rest, and those that have not rested for a day.

        In the midst of a delivery the sites and the filters differ, so that an audit would raise a false alarm.
        """
        before, self._seen = self._seen, {}
        resting = set()
        for night, one in ends.items():
            last = before.get(night, _Seen(one, now, now))
            # A clock that has stepped back leaves no moment to come.
            since = min(last.since, now) if last.ends == one else now
            restless = min(last.restless, now)
            if now - since >= self.seconds or now - restless >= _PATIENCE:
                resting.add(night)
                restless = now
            self._seen[night] = _Seen(one, since, restless)
        return resting


def due(
    ends: Mapping[str, Ends],
    results: Mapping[str, Result],
    resting: Collection[str],
    now: float,
    *,
    over_seconds: float,
) -> list[str]:
    """The nights to audit now, the oldest first.

    `ends`: of the nights that have a topic. `over_seconds` after its beginning a night is over. It is due when it
    rests too.
    """
    found = []
    for night in sorted(ends.keys() | results.keys()):
        last = results.get(night)
        if night not in ends and (last is None or last.expires is None or now >= last.expires):
            continue  # its topics were removed in the end, as they are
        rests = night in resting or night not in ends
        if rests and now - begin(night) >= over_seconds and _wanted(ends, last, night, now):
            found.append(night)
    return found


def _wanted(ends: Mapping[str, Ends], last: Result | None, night: str, now: float) -> bool:
    if last is None:
        return True
    if last.status == "late" or (last.expires is not None and now >= last.expires):
        return False
    if last.ends != ends.get(night, {}):
        return True
    if last.status == "whole" or last.tries > len(AGAIN_SECONDS):
        return False
    # A clock that was wrong at the last audit must not put the next one off for ever.
    waited = now - last.audited
    return waited < 0 or waited >= AGAIN_SECONDS[last.tries - 1]


def nights_of(topics: Iterable[str]) -> set[str]:
    """The nights of some topics, without the canaries'."""
    found = {parts[0] for name in topics if (parts := names.parse_topic(name))}
    return found - {names.CANARY_NIGHT}
