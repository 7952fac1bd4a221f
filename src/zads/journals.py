"""The journals of our units on many hosts: merged in order of time, every character visible."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zads import output
from zads.errors import ZadsError

#: Units of ours, as a person writes them: kafka, zads-producer, zads-filters-*.
UNIT = re.compile(r"(kafka|zookeeper|zads-[A-Za-z0-9_.@*?-]*)(\.service)?")
_SPAN = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>s|min|m|h|d)")
_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Entry:
    """An entry of a journal. ``microseconds`` since 1970, by the host's clock."""

    microseconds: int
    host: str
    unit: str
    text: str

    def line(self) -> str:
        """The entry in one line that a terminal cannot obey."""
        moment = datetime.datetime.fromtimestamp(self.microseconds / 1e6, datetime.UTC)
        unit = self.unit.removesuffix(".service")
        return output.plain(
            f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z {self.host} {unit} {self.text}"
        )


def unit(text: str) -> str:
    """A unit's name or pattern as systemd writes it. Raises ZadsError if it is not one of ours."""
    if UNIT.fullmatch(text) is None:
        raise ZadsError(
            f"{output.plain(text)!r} is not a unit of ours",
            hint="write kafka, zookeeper, zads-producer, zads-filters-*",
        )
    return text if text.endswith(".service") else f"{text}.service"


def moment(text: str, now: float) -> float:
    """The moment (Unix seconds) that a text names: a span such as 90s, 10min, 2h or 3d before `now`, or a time in UTC.

    Raises ZadsError for any other text.
    """
    if match := _SPAN.fullmatch(text.strip()):
        return now - int(match["count"]) * _SECONDS[match["unit"]]
    try:
        found = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        raise ZadsError(
            f"{output.plain(text)!r} is no time", hint="write 90s, 10min, 2h or 3d, or a time (UTC) as 2018-11-29T04:00"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()


def merged(answers: Mapping[str, Iterable[Mapping[str, object]]], most: int) -> list[Entry]:
    """The newest `most` entries of all hosts, the oldest first. ``answers``: what the module unit_journals returned.

    Entries that a collector has taken name their own host. Lines of one moment stay in the order in which their host
    wrote them.
    """
    entries = [
        Entry(int(str(one["at"])), str(one.get("host", host)), str(one["unit"]), str(one["text"]))
        for host, found in answers.items()
        for one in reversed(list(found))  # they come with the newest first
    ]
    ordered = sorted(entries, key=lambda one: (one.microseconds, one.host))
    return list(dict.fromkeys(ordered))[-most:]  # a sender that begins again repeats its last entry
