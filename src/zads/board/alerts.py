"""The alerts that the board remembers: the newest of the public site, and those that filters passed.

Its memory is bounded: `MOST` alerts, of which it keeps a few numbers and the place of the record, and `MOST_PASSED` of
what filters passed. A packet is read from Kafka again when somebody opens its page.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import Message

from zads import names, reading
from zads.board.view import View
from zads.errors import ZadsError
from zads.packet import Packet

#: Alerts that are remembered: about 60 MB.
MOST = 100_000
#: What filters passed, of all filters together.
MOST_PASSED = 1_000
#: Alerts of one object in a list.
MOST_LISTED = 100
#: Contents of one alert: the survey may publish it again with other bytes.
_MOST_VERSIONS = 4
#: The longest annotations that are kept, in characters.
_MOST_NOTE = 2_000
_FIELDS = (
    "objectId", "candid", "candidate.jd", "candidate.programid", "candidate.fid", "candidate.ra", "candidate.dec",
    "candidate.magpsf",
)  # fmt: skip


class Place(NamedTuple):
    """Where a record is at the public site."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert, as a record holds it. ``ra`` and ``dec`` are in degrees, ``jd`` is a Julian date (UTC, days).

    ``produced`` and ``arrived`` are Unix seconds: when the producer sent it (None if the record does not say), and when
    the site took the record.
    """

    candid: int
    object_id: str
    programme: int
    night: str
    visit: str
    ra: float
    dec: float
    fid: int
    magnitude: float
    jd: float
    produced: float | None
    arrived: float
    place: Place


@dataclass(frozen=True, slots=True)
class Passed:
    """An alert that a filter passed, with the filter's annotations (JSON, or "")."""

    alert: Alert
    filter: str
    note: str


def alert_of(message: Message) -> Alert:
    """The alert that a record holds. Raises ZadsError if it holds none, or one of another programme than its topic."""
    headers = reading.headers(message)
    packet = Packet.trusted(message.value() or b"")
    record = packet.read(_FIELDS)
    candidate = record["candidate"]
    parsed = names.parse_topic(message.topic() or "")
    if parsed and parsed[1] != candidate["programid"]:
        raise ZadsError(f"{message.topic()} holds an alert of programme {candidate['programid']}")
    if not all(math.isfinite(candidate[name]) for name in ("jd", "ra", "dec", "magpsf")):
        raise ZadsError("its date, position or magnitude is no number")
    return Alert(
        candid=record["candid"],
        object_id=record["objectId"],
        programme=candidate["programid"],
        night=parsed[0] if parsed else names.night_of(candidate["jd"]),
        visit=names.visit_of(candidate["jd"]),
        ra=candidate["ra"],
        dec=candidate["dec"],
        fid=candidate["fid"],
        magnitude=candidate["magpsf"],
        jd=candidate["jd"],
        produced=_seconds(headers.get(names.HEADER_PRODUCED)),
        arrived=message.timestamp()[1] / 1000,
        place=Place(*reading.place(message), message.offset() or 0),
    )


def passed_of(message: Message) -> Passed:
    """The alert that a record of a filter's topic holds. Raises ZadsError if it holds none."""
    name = names.filter_name(message.topic() or "")
    if name is None:
        raise ZadsError(f"{message.topic()} is not the topic of a filter")
    note = reading.headers(message).get(names.HEADER_ANNOTATIONS, b"").decode(errors="replace")[:_MOST_NOTE]
    return Passed(alert_of(message), name, "" if note == "{}" else note)


def _seconds(text: bytes | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


class Alerts:
    """Remembers alerts, the newest of each kind. Threads may share it."""

    def __init__(self, most: int = MOST, most_passed: int = MOST_PASSED) -> None:
        self._most, self._lock = most, threading.Lock()
        self._count = 0
        self._by_candid: OrderedDict[int, tuple[Alert, ...]] = OrderedDict()
        self._by_object: dict[str, tuple[int, ...]] = {}
        self._passed: deque[Passed] = deque(maxlen=most_passed)

    def add(self, alert: Alert) -> None:
        """Remember an alert, and forget the oldest if there are too many. The same record again changes nothing."""
        with self._lock:
            before = self._by_candid.pop(alert.candid, ())
            others = [one for one in before if one.place != alert.place]
            self._by_candid[alert.candid] = (*others[1 - _MOST_VERSIONS :], alert)
            if not before:
                self._by_object[alert.object_id] = (*self._by_object.get(alert.object_id, ()), alert.candid)
            while len(self._by_candid) > self._most:
                self._forget()

    def _forget(self) -> None:
        candid, versions = self._by_candid.popitem(last=False)
        name = versions[0].object_id
        left = tuple(one for one in self._by_object.get(name, ()) if one != candid)
        if left:
            self._by_object[name] = left
        else:
            self._by_object.pop(name, None)

    def add_passed(self, passed: Passed) -> None:
        """Remember what a filter passed. The same record again changes nothing."""
        with self._lock:
            if all(one.alert.place != passed.alert.place for one in self._passed):
                self._passed.append(passed)

    def versions(self, candid: int, view: View) -> list[Alert]:
        """The contents of an alert that this view may see, the newest last; empty if it knows none."""
        with self._lock:
            found = self._by_candid.get(candid, ())
            # An alert that was passed may have left the memory of all alerts before that of passed ones.
            found = found or tuple(one.alert for one in self._passed if one.alert.candid == candid)[-1:]
        return [one for one in found if one.programme in view.programmes]

    def of_object(self, object_id: str, view: View) -> list[Alert]:
        """The alerts of an object that this view may see, the newest first."""
        with self._lock:
            candids = self._by_object.get(object_id, ())
            found = [self._by_candid[one][-1] for one in candids if one in self._by_candid]
            found += [one.alert for one in self._passed if one.alert.object_id == object_id]
        kept = {one.candid: one for one in reversed(found) if one.programme in view.programmes}
        return sorted(kept.values(), key=lambda one: one.jd, reverse=True)[:MOST_LISTED]

    def passed(self, view: View, most: int) -> list[Passed]:
        """The newest alerts that filters passed, of those that this view may see; the newest first."""
        found = [one for one in self._all_passed() if may_see(view, one)]
        return found[: -most - 1 : -1]

    def passed_by(self, candid: int, view: View) -> list[Passed]:
        """What filters passed of one alert, in the order of arrival."""
        return [one for one in self._all_passed() if one.alert.candid == candid and may_see(view, one)]

    def _all_passed(self) -> list[Passed]:
        """In the order of arrival: one filter's are read after another's when the board begins."""
        with self._lock:
            return sorted(self._passed, key=lambda one: one.alert.arrived)


def may_see(view: View, passed: Passed) -> bool:
    """Whether somebody may see that a filter passed an alert."""
    return passed.filter in view.filters and passed.alert.programme in view.programmes
