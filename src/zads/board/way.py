"""The way of one alert, hop by hop, as far as the public site's records tell it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from zads import julian
from zads.board.alerts import Alert, Passed, Place
from zads.board.parts import seconds

#: A night that is played again was exposed long before: then the time in between says nothing.
_SAME_NIGHT = 86_400.0


@dataclass(frozen=True)
class Hop:
    """A hop: when (UTC), how long after the one before, the record's place, and what a filter said (JSON)."""

    name: str
    when: str
    after: str = ""
    where: str = ""
    note: str = ""


def hops(alert: Alert, passed: Iterable[Passed]) -> Iterator[Hop]:
    """The hops of an alert in order: exposure, producer, public site, and the filters that passed it."""
    exposed = julian.unix_seconds(alert.jd)
    yield Hop("exposed", _moment(exposed), where=f"visit {alert.visit}")
    before = exposed
    if alert.produced is not None:
        yield Hop("sent by the producer", _moment(alert.produced), _after(alert.produced - before))
        before = alert.produced
    yield Hop("at the public site", _moment(alert.arrived), _after(alert.arrived - before), _where(alert.place))
    for one in passed:
        after = _after(one.alert.arrived - alert.arrived)
        yield Hop(f"passed by {one.filter}", _moment(one.alert.arrived), after, _where(one.alert.place), one.note)


def _moment(moment: float) -> str:
    if not math.isfinite(moment) or not 0 <= moment < 4e9:
        return ""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _after(duration: float) -> str:
    """A duration in words; nothing for one that only says that a night was played again, or that clocks differ."""
    return seconds(duration) if 0 <= duration < _SAME_NIGHT else ""


def _where(place: Place) -> str:
    return f"{place.topic}, partition {place.partition}, offset {place.offset}"
