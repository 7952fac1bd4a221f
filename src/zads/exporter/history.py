"""Since when a partition has had an offset, from the ends that it was seen to have.

So the age of the first record that somebody has yet to read is known without reading it, and by one clock alone. It is
known only as far back as the exporter has watched: after a restart an age begins anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping

from zads.reading import Partition

#: Ends that are remembered of each partition. When there are more, every second one is forgotten, but not the newest.
MOST = 240


class History:
    """The ends of partitions, as they were seen."""

    def __init__(self) -> None:
        self._seen: dict[Partition, deque[tuple[int, float]]] = {}

    def see(self, ends: Mapping[Partition, int], now: float) -> None:
        """Note the ends at a moment (seconds of any steady clock). Partitions that are not there are forgotten."""
        for gone in self._seen.keys() - ends.keys():
            del self._seen[gone]
        for place, end in ends.items():
            seen = self._seen.setdefault(place, deque())
            if seen and end < seen[-1][0]:  # the topic was removed and made again
                seen.clear()
            if not seen or end > seen[-1][0]:
                seen.append((end, now))
            if len(seen) > MOST:
                newest = seen[-1]
                self._seen[place] = deque([*list(seen)[:-1:2], newest])

    def age(self, place: Partition, offset: int, now: float) -> float:
        """For how many seconds a partition has had a record at an offset, at least; 0 if it has none there."""
        seen = self._seen.get(place, ())
        number = bisect_right([end for end, _ in seen], offset)
        return now - seen[number][1] if number < len(seen) else 0.0
