"""The parts of the board's first page as HTML: each is rendered once for all who see the same."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jinja2

from zads import julian
from zads.board import sky
from zads.board.health import Health
from zads.board.night import BIN_SECONDS, Summary, Visit
from zads.board.stream import Stream
from zads.board.view import View

#: Names of the parts, in the order of the page, and how old each may be in seconds. Maps are large, so they are sent
#: less often.
PARTS = {"now": 2.0, "sky": 10.0, "line": 10.0, "chain": 5.0, "filters": 5.0, "passed": 2.0}
#: Passed alerts on the page, and visits in its table.
PASSED, LISTED = 30, 10
#: Views whose parts are kept.
_VIEWS = 64
#: After so many seconds without a look the picture of the sites is old.
OLD_SECONDS = 60.0
#: A night without an alert for so long is over, or stands still.
QUIET_SECONDS = 120.0
#: ZTF's filters: name, and the class of their marks.
BANDS = {1: "g", 2: "r", 3: "i"}
_LINE_WIDTH, _LINE_HEIGHT = 600.0, 90.0


@dataclass(frozen=True)
class Mark:
    """A visit on the map."""

    x: float
    y: float
    band: str


@dataclass(frozen=True)
class Bar:
    """A visit on the time line: where it begins, and its height."""

    x: float
    height: float
    band: str


@dataclass(frozen=True)
class Tick:
    """A time on the time line, in words."""

    x: float
    label: str


class Parts:
    """Renders parts by view. Threads may share it. ``health`` returns what is well and ill."""

    def __init__(self, environment: jinja2.Environment, stream: Stream, health: Callable[[], Health]) -> None:
        self._environment, self._stream, self._health = environment, stream, health
        self._lock = threading.Lock()
        self._kept: OrderedDict[View, dict[str, tuple[float, str]]] = OrderedDict()

    def of(self, view: View) -> dict[str, str]:
        """All parts for a view by name, as new as PARTS says."""
        with self._lock:  # so that nobody renders what another is rendering
            kept = self._kept.setdefault(view, {})
            self._kept.move_to_end(view)
            while len(self._kept) > _VIEWS:
                self._kept.popitem(last=False)
            now = time.monotonic()
            due = [name for name, age in PARTS.items() if name not in kept or now - kept[name][0] >= age]
            if due:
                values = self._values(view, time.time())
                for name in due:
                    kept[name] = now, self._environment.get_template(f"board/{name}.html").render(values)
            return {name: kept[name][1] for name in PARTS}

    def _values(self, view: View, now: float) -> Mapping[str, Any]:
        summary = self._stream.nights.summary(view, now)
        visits = sorted(summary.visits, key=lambda one: one.jd) if summary else []
        health = self._health()
        return {
            "view": view,
            "now": now,
            "night": summary,
            "trouble": self._stream.trouble,
            "silent": _silence(summary, now),
            "visits": visits,
            "latest": visits[::-1][:LISTED],
            "marks": [Mark(*sky.project(*one.position), band(one.fid)) for one in visits],
            "bars": bars(visits),
            "ticks": ticks(visits),
            "spark": spark(summary.rates) if summary else "",
            "health": health,
            "old": bool(health.seen) and now - health.seen > OLD_SECONDS,
            "counts": self._stream.counted.of_night(summary.night, view.filters) if summary else [],
            "passed": self._stream.alerts.passed(view, PASSED),
        }


def _silence(summary: Summary | None, now: float) -> float | None:
    """For how many seconds nothing has come, if that is long."""
    if summary is None or summary.last is None or now - summary.last < QUIET_SECONDS:
        return None
    return now - summary.last


def band(fid: int) -> str:
    """The name of a filter of the telescope; "other" for one that the survey does not have."""
    return BANDS.get(fid, "other")


def bars(visits: Sequence[Visit]) -> list[Bar]:
    """The visits of a night (in the order of time) on its time line; heights are shares of the largest."""
    span = _span(visits)
    if span is None:
        return []
    first, days = span
    most = max(one.alerts for one in visits)
    return [
        Bar((one.jd - first) / days * _LINE_WIDTH, max(2.0, one.alerts / most * _LINE_HEIGHT), band(one.fid))
        for one in visits
    ]


def ticks(visits: Sequence[Visit]) -> list[Tick]:
    """Three to seven times (UTC) along the time line of visits."""
    span = _span(visits)
    if span is None:
        return []
    first, days = span
    seconds = days * 86_400
    step = next((one for one in (60, 120, 300, 600, 1_800, 3_600, 7_200) if seconds / one <= 6), 14_400)
    start = julian.unix_seconds(first)
    found = []
    moment = -(-start // step) * step
    while moment <= start + seconds:
        label = f"{datetime.fromtimestamp(moment, UTC):%H:%M}"
        found.append(Tick((moment - start) / seconds * _LINE_WIDTH, label))
        moment += step
    return found


def _span(visits: Sequence[Visit]) -> tuple[float, float] | None:
    """The first visit's date and the length of the night so far, in days; at least ten minutes."""
    if not visits:
        return None
    first = visits[0].jd
    return first, max(visits[-1].jd - first, 600 / 86_400)


def spark(rates: Sequence[int]) -> str:
    """The alerts of each bin as an SVG path, 300 by 40."""
    most = max(max(rates), 1)
    points = [(300 * number / (len(rates) - 1), 40 - 38 * value / most) for number, value in enumerate(rates)]
    return sky.path(points)


def seconds(value: float) -> str:
    """A duration in words that people read at a glance."""
    if value < 10:
        return f"{value:.2f} s" if value else "0 s"
    if value < 120:
        return f"{value:.0f} s"
    if value < 7_200:
        return f"{value / 60:.0f} min"
    return f"{value / 3_600:.0f} h" if value < 172_800 else f"{value / 86_400:.0f} days"


def clock(moment: float) -> str:
    """The time of day (UTC) of a moment in Unix seconds."""
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S}"


def exposed(jd: float) -> str:
    """The time of day (UTC) of a Julian date."""
    return clock(julian.unix_seconds(jd))


def date(night: str) -> str:
    """A night as people write it: 2018-11-29."""
    return f"{night[:4]}-{night[4:6]}-{night[6:]}"


FILTERS: dict[str, Callable[..., str]] = {
    "seconds": seconds, "clock": clock, "exposed": exposed, "night": date, "band": band,
}  # fmt: skip
CONSTANTS = {
    "BIN_SECONDS": BIN_SECONDS, "WIDTH": sky.WIDTH, "HEIGHT": sky.HEIGHT, "GRATICULE": sky.graticule(),
    "GALAXY": sky.galaxy(), "HOURS": list(sky.hours()), "LINE_WIDTH": _LINE_WIDTH, "LINE_HEIGHT": _LINE_HEIGHT,
}  # fmt: skip
