"""The nights that the board follows: their visits, how fast alerts come, and how long they took."""

from __future__ import annotations

import math
import threading
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field

from zads.board.alerts import Alert
from zads.board.view import View
from zads.subscriber import percentiles

#: Visits that are remembered. A night has at most 1,200 exposures.
MOST_VISITS = 3_000
#: A bin of the arrivals, and how many are kept: half an hour.
BIN_SECONDS = 10
BINS = 180
#: The present rate is the mean over this many seconds.
RATE_SECONDS = 30
#: Latencies are of this many of a programme's newest alerts.
RECENT = 500
_RAD = math.pi / 180


@dataclass
class Visit:
    """An exposure: how many of its alerts have come, and when (Unix seconds).

    Its position is the mean of the directions of its alerts.
    """

    name: str
    night: str
    programme: int
    fid: int
    jd: float
    first: float
    last: float
    alerts: int = 0
    _direction: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])

    def add(self, alert: Alert) -> None:
        """Count one of its alerts."""
        self.alerts += 1
        self.first, self.last = min(self.first, alert.arrived), max(self.last, alert.arrived)
        ra, dec = alert.ra * _RAD, alert.dec * _RAD
        for number, part in enumerate((math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec))):
            self._direction[number] += part

    @property
    def position(self) -> tuple[float, float]:
        """Right ascension and declination in degrees."""
        x, y, z = self._direction
        return math.atan2(y, x) / _RAD % 360, math.atan2(z, math.hypot(x, y)) / _RAD


@dataclass(frozen=True)
class Summary:
    """A night as a view sees it.

    ``rates``: alerts in each bin of BIN_SECONDS, the newest last. ``rate``: alerts a second now. ``latency``: the
    percentiles of the seconds from the producer to the public site; None if nothing has come. ``last``: when the last
    alert came (Unix seconds), None if none did. ``whole``: whether the board has read the night from its beginning.
    """

    night: str
    visits: list[Visit]
    alerts: int
    rates: list[int]
    rate: float
    latency: dict[str, float] | None
    last: float | None
    whole: bool


class Nights:
    """Counts the alerts of the newest nights by programme. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._visits: OrderedDict[tuple[int, str], Visit] = OrderedDict()
        self._counts: Counter[tuple[str, int]] = Counter()
        self._bins: dict[int, Counter[int]] = {}
        self._latencies: dict[int, deque[float]] = {}
        self._last: dict[int, float] = {}
        self._cut: set[tuple[str, int]] = set()

    def begins_late(self, night: str, programme: int) -> None:
        """Note that the first alerts of a night have not been read."""
        with self._lock:
            self._cut.add((night, programme))

    def add(self, alert: Alert) -> None:
        """Count an alert."""
        with self._lock:
            key = alert.programme, alert.visit
            visit = self._visits.get(key)
            if visit is None:
                times = alert.arrived, alert.arrived
                visit = Visit(alert.visit, alert.night, alert.programme, alert.fid, alert.jd, *times)
                self._visits[key] = visit
                while len(self._visits) > MOST_VISITS:
                    _, old = self._visits.popitem(last=False)
                    self._cut.add((old.night, old.programme))
            visit.add(alert)
            self._counts[alert.night, alert.programme] += 1
            self._last[alert.programme] = max(alert.arrived, self._last.get(alert.programme, 0.0))
            bins = self._bins.setdefault(alert.programme, Counter())
            bins[int(alert.arrived // BIN_SECONDS)] += 1
            if len(bins) > 2 * BINS:
                for old_bin in sorted(bins)[:-BINS]:
                    del bins[old_bin]
            if alert.produced is not None:
                self._latencies.setdefault(alert.programme, deque(maxlen=RECENT)).append(alert.arrived - alert.produced)

    def summary(self, view: View, now: float) -> Summary | None:
        """The newest night of which this view has an alert; None if there is none. ``now``: Unix seconds."""
        with self._lock:
            mine = [visit for visit in self._visits.values() if visit.programme in view.programmes]
            if not mine:
                return None
            night = max(visit.night for visit in mine)
            programmes = sorted(view.programmes)
            present = int(now // BIN_SECONDS)
            rates = [
                sum(self._bins.get(one, Counter())[number] for one in programmes)
                for number in range(present - BINS + 1, present + 1)
            ]
            bins = RATE_SECONDS // BIN_SECONDS
            # The last bin has only begun.
            rate = sum(rates[-bins - 1 : -1]) / RATE_SECONDS
            last = [self._last[one] for one in programmes if one in self._last]
            return Summary(
                night,
                [visit for visit in mine if visit.night == night],
                sum(self._counts[night, one] for one in programmes),
                rates,
                rate,
                percentiles(value for one in programmes for value in self._latencies.get(one, ())),
                max(last, default=None),
                not any((night, one) in self._cut for one in programmes),
            )
