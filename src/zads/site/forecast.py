"""How many days a disk suffices, if each day is like the busiest of the last week.

The forecast assumes this:

- each coming day brings as many bytes to the disk as the busiest 24 hours of the last seven days did;
- a topic's records go when its retention ends, at most a day later, because Kafka removes whole segments;
- compacted topics, files that are not Kafka's, and the placement of replicas stay as they are.

Limits of topics by bytes (``retention.bytes``) are not counted, so the disk may hold out longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: Days that the forecast looks ahead.
HORIZON = 365
#: Days whose busiest one is repeated.
WEEK = 7
#: The assumptions in one sentence, for those who read the forecast.
ASSUMED = (
    f"days left: each day brings what the busiest 24 hours of the last {WEEK} days brought; records go when their "
    "retention ends; all else on the disk stays as it is"
)


@dataclass(frozen=True)
class Kept:
    """Bytes on a disk that are kept for equally long.

    ``retention``: days, None for ever. ``ages``: the bytes by age; the first are up to one day old, and so on. The last
    may be of any greater age.
    """

    retention: float | None
    ages: tuple[float, ...]

    def after(self, days: int) -> float:
        """Bytes when `days` more days have passed."""
        busiest = max(self.ages[:WEEK], default=0.0)
        if self.retention is None:
            return sum(self.ages) + busiest * days
        stay = self.retention + 1
        old = sum(size for age, size in enumerate(self.ages) if age + days < stay)
        return old + busiest * min(days, stay)


def days_left(kept: Iterable[Kept], room: float) -> int | None:
    """Whole days until the disk holds more than `room` bytes in addition to the present ones; None if not in HORIZON.

    0 if there is no room now.
    """
    all_kept = list(kept)
    if room <= 0:
        return 0
    present = sum(sum(one.ages) for one in all_kept)
    for days in range(1, HORIZON + 1):
        if sum(one.after(days) for one in all_kept) - present > room:
            return days - 1
    return None
