"""Whether the mirror moves: partition by partition, the ends of both sites and the mirror's place between them.

Offsets at origin also count the markers of transactions, and the records of transactions that were aborted. The mirror
copies neither, so after a transaction there are offsets left that it will never take. A partition is judged like this:

1. Its end at origin is the mirror's place: all is copied. This is also so for an idle or an empty partition.
2. The mirror's place has changed since the last look: it moves, and its age is that of the first offset that is left.
3. It has not changed, and there are offsets left: only reading tells whether there is a record among them. If there is
   none, they are markers, and all is copied. The next question begins behind them.
4. A record that has waited for `SILENT_SECONDS` while the place has not changed makes the mirror silent.

The mirror's word is not enough: if it claims a place in a partition that is empty at the public site, nothing is
copied. A topic that has just been made has no place yet, and begins with its first record. One that was removed is
forgotten; if it was made again, the place that is beyond its end counts no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zads.exporter.history import History
from zads.reading import Partition

#: So long a record may wait in a partition where the mirror does not move. A mirror that restarts needs most of it.
SILENT_SECONDS = 20.0


@dataclass(frozen=True)
class Ends:
    """The partitions that the mirror copies: ``starts`` and ``ends`` at origin, ``public`` ends at the public site."""

    starts: Mapping[Partition, int]
    ends: Mapping[Partition, int]
    public: Mapping[Partition, int]


@dataclass(frozen=True)
class Verdict:
    """How far the mirror is. ``behind``: the partitions with a record that waits, and for how long (seconds).

    ``silent``: those of them in which the mirror does not move. ``unread``: offsets that it has yet to copy.
    """

    partitions: int
    behind: Mapping[Partition, float] = field(default_factory=dict)
    silent: tuple[Partition, ...] = ()
    unread: int = 0

    @property
    def age(self) -> float:
        """For how long the oldest record has waited, in seconds."""
        return max(self.behind.values(), default=0.0)


@dataclass
class _Place:
    """The mirror's place in a partition, and since when it has been there.

    ``clear``: from the place up to this offset there are only markers. ``record``: behind that there is a record.
    """

    offset: int
    since: float
    clear: int
    record: bool = False


class MirrorWatch:
    """Judges the mirror from look to look. Times are seconds of one steady clock."""

    def __init__(self) -> None:
        self._history = History()
        self._places: dict[Partition, _Place] = {}
        self._moved: set[Partition] = set()
        self._ends: Mapping[Partition, int] = {}
        self._now = 0.0

    def see(self, now: float, ends: Ends, positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """Take a look in. ``positions``: what the mirror copies next, by its own word; they are older than the ends.

        Returns the partitions that must be read to judge them, and from which offset. Give the answers to `read`.
        """
        self._now, self._ends = now, ends.ends
        self._history.see(ends.ends, now)
        for gone in self._places.keys() - ends.ends.keys():
            del self._places[gone]
        self._moved = set()
        for where in ends.ends:
            offset = _position(where, ends, positions)
            before = self._places.get(where)
            if before is None or before.offset != offset:
                self._places[where] = _Place(offset, now, offset)
                if before is not None:
                    self._moved.add(where)
        return {
            where: place.clear
            for where, place in self._places.items()
            if where not in self._moved and not place.record and place.clear < ends.ends[where]
        }

    def read(self, found: Mapping[Partition, bool]) -> None:
        """Whether there is a committed record between the offset and the end of each of the partitions to read."""
        for where, record in found.items():
            place = self._places[where]
            place.record = record
            if not record:
                place.clear = self._ends[where]

    def verdict(self) -> Verdict:
        """How far the mirror is, by the last look."""
        behind: dict[Partition, float] = {}
        silent, unread = [], 0
        for where, place in self._places.items():
            left = self._ends[where] - place.clear
            # A single offset behind a place that has just changed is nearly always the marker of what was copied.
            if place.record or (where in self._moved and left > 1):
                unread += left
                behind[where] = self._history.age(where, place.clear, self._now)
            if place.record and min(behind[where], self._now - place.since) >= SILENT_SECONDS:
                silent.append(where)
        return Verdict(len(self._places), behind, tuple(sorted(silent)), unread)


def _position(where: Partition, ends: Ends, positions: Mapping[Partition, int]) -> int:
    """What the mirror copies next in a partition, if its word can be believed; else the first record there."""
    start, end = ends.starts.get(where, 0), ends.ends[where]
    said = positions.get(where, start)
    if said > end or ends.public.get(where, 0) <= 0:
        return start
    return max(said, start)
