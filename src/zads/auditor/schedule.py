"""Which nights are due for an audit at a moment: pure functions of the nights' ends and of the last results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zads import names
from zads.site.nights import begin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zads.auditor.results import Result

Ends = dict[str, dict[str, int]]
"""The end offset of each partition of a night, by site and TOPIC/PARTITION."""

#: After an audit that was not whole the night is audited again, each time after longer. Then a person has to look.
AGAIN_SECONDS = (900.0, 3_600.0, 6 * 3_600.0)


@dataclass
class Quiet:
    """Since when the ends of each night have been what they are: as far as this process has seen."""

    _since: dict[str, tuple[Ends, float]] = field(default_factory=dict)

    def see(self, ends: Mapping[str, Ends], now: float) -> dict[str, float]:
        """Note the nights' ends. Returns for how many seconds those of each have not changed."""
        before = self._since
        self._since = {}
        for night, one in ends.items():
            known, since = before.get(night, (None, now))
            # A clock that has stepped back leaves no moment to come.
            self._since[night] = (one, min(since, now) if known == one else now)
        return {night: now - since for night, (_, since) in self._since.items()}


def due(
    ends: Mapping[str, Ends],
    results: Mapping[str, Result],
    quiet: Mapping[str, float],
    now: float,
    *,
    over_seconds: float,
    quiet_seconds: float,
) -> list[str]:
    """The nights to audit now, the oldest first.

    `ends`: of the nights that have a topic. `over_seconds` after its beginning a night is over. It is due when nothing
    has arrived for `quiet_seconds`, or if a day has passed since its end.
    """
    found = []
    for night in sorted(ends.keys() | results.keys()):
        last = results.get(night)
        if night not in ends and (last is None or last.expires is None or now >= last.expires):
            continue  # its topics were removed in the end, as they are
        age = now - begin(night)
        resting = quiet.get(night, quiet_seconds) >= quiet_seconds
        if age >= over_seconds and (resting or age >= over_seconds + 86_400.0) and _wanted(ends, last, night, now):
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
