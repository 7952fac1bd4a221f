"""What a survey asks of a deployment: its alerts, their sizes and pace, and who reads them. The data of a plan.

The inventory's variable ``survey_load`` states it for a deployment; :data:`EXAMPLES` are surveys whose
numbers are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from zads.plan import measured
from zads.site.entry import Entry, Problem, Site, checked
from zads.site.policy import Policy, PolicyError

Survey = Literal["ztf-2018", "ztf-2-million", "rubin"]

_HOUR = 3600
_WHOLE = 0.001  # by which the programmes' shares may miss 1


class SurveyLoad(Entry):
    """What an inventory says of the survey, in ``survey_load``."""

    alerts_night: int = Field(ge=1, le=10**10, description="the most alerts of a night, such as 1200000")
    alerts_second: float = Field(gt=0, le=10**7, description="the most alerts a second over a minute, such as 1333")
    packet_kb: float = Field(gt=0, le=4000, description="the mean size of a packet in KB, such as 66")
    programmes: dict[int, float] = Field(description="each programme's part of the alerts, such as {1: 0.4, 2: 0.6}")
    night_hours: float = Field(default=10, gt=0, le=24, description="the hours in which alerts come, such as 10")
    catching_up: int = Field(default=2, ge=0, description="how many users of a site read an old night at once")
    filter_part: float = Field(default=0.002, ge=0, le=1, description="the part that a filter passes, such as 0.002")


@dataclass(frozen=True)
class Readers:
    """So many subscribers of one site who read the same programmes there."""

    site: Site
    programmes: frozenset[int]
    count: int = 1


@dataclass(frozen=True)
class Filters:
    """Filters that run: their number, owners, and the groups that they are in, each with as many."""

    count: int = 0
    owners: int = 0
    groups: int = 0


@dataclass(frozen=True)
class Demand:
    """All that a plan is made from. ``public``: the programmes that the data policy puts at the public site."""

    load: SurveyLoad
    public: frozenset[int]
    readers: tuple[Readers, ...]
    filters: Filters = Filters()
    retention_days: float = 7
    replicas: int = 3

    def __post_init__(self) -> None:
        found = list(_wrong(self.load))
        if found:
            raise PolicyError(found)

    @property
    def stored(self) -> float:
        """Bytes of an alert on a disk and on the wire, compressed."""
        return self.load.packet_kb * 1000 * measured.STORED

    @property
    def weight(self) -> float:
        """How many times as much work an alert is as a packet that was measured; at least 1."""
        return max(1.0, self.load.packet_kb / measured.PACKET_KB)

    @property
    def mean(self) -> float:
        """Alerts a second of the largest night, on average."""
        return self.load.alerts_night / (self.load.night_hours * _HOUR)

    def part(self, site: Site) -> float:
        """The part of all alerts that a site holds."""
        return 1.0 if site == "origin" else self._part(self.public)

    def peak(self, site: Site) -> float:
        """Alerts a second that a site receives at the peak."""
        return self.load.alerts_second * self.part(site)

    def read(self, readers: Readers) -> float:
        """The part of all alerts that each of these readers receives."""
        allowed = readers.programmes if readers.site == "origin" else readers.programmes & self.public
        return self._part(allowed)

    def at(self, site: Site) -> Iterator[Readers]:
        """The readers of a site who receive anything."""
        return (one for one in self.readers if one.site == site and one.count and self.read(one))

    def programmes(self, site: Site) -> list[int]:
        """The programmes whose topics a site has."""
        return sorted(set(self.load.programmes) if site == "origin" else self.public & set(self.load.programmes))

    def _part(self, programmes: frozenset[int]) -> float:
        return min(1.0, sum(self.load.programmes.get(number, 0.0) for number in sorted(programmes)))


def _wrong(load: SurveyLoad) -> Iterator[Problem]:
    total, mean = sum(load.programmes.values()), load.alerts_night / (load.night_hours * _HOUR)
    if any(part < 0 for part in load.programmes.values()) or abs(total - 1) > _WHOLE:
        yield Problem(
            "survey_load.programmes",
            f"the parts {load.programmes} do not add up to 1: write the part of each programme",
        )
    if load.alerts_second < mean:
        yield Problem(
            "survey_load.alerts_second",
            f"is {load.alerts_second:g}, less than the night's mean of {mean:.0f}: write the most over a minute",
        )


def of_policy(data: Any, policy: Policy) -> Demand:
    """What an inventory asks for: ``data`` is its variable ``survey_load``. Raises PolicyError with all problems."""
    found: list[Problem] = []
    load = checked(SurveyLoad, "survey_load", data, found)
    if load is not None:
        found += _wrong(load)
        found += [
            Problem(f"survey_load.programmes.{number}", f"is not in programmes: write only {sorted(policy.programmes)}")
            for number in sorted(set(load.programmes) - set(policy.programmes))
        ]
    if load is None or found:
        raise PolicyError(found)
    runs = [one for one in policy.filters if one.runs]
    return Demand(
        load,
        policy.allowed("public"),
        tuple(Readers(user.site, user.programmes) for user in policy.users),
        Filters(len(runs), len({one.owner for one in runs}), len(policy.groups())),
        policy.topics_night.retention_days,
        policy.topics_night.replication_factor,
    )


def changed(demand: Demand, changes: Mapping[str, Any]) -> Demand:
    """The same with other values: names of SurveyLoad's fields, or of Demand's. Raises PolicyError."""
    of_load = {name: value for name, value in changes.items() if name in SurveyLoad.model_fields}
    rest = {name: value for name, value in changes.items() if name not in of_load}
    found: list[Problem] = []
    load = checked(SurveyLoad, "survey_load", demand.load.model_dump() | of_load, found)
    if load is None:
        raise PolicyError(found)
    return replace(demand, load=load, **rest)


_ZTF = {1: 0.4, 2: 0.4, 3: 0.2}  # the programmes' parts of the telescope's time: Bellm et al. 2019
_COLLABORATION = (Readers("origin", frozenset({1, 2, 3}), 1), Readers("origin", frozenset({1, 2}), 2))

#: Surveys by name.
EXAMPLES: dict[Survey, Demand] = {
    # Patterson et al. 2019: 1.2 million alerts a night, 70 GB, 80,000 alerts a minute. Packets: as in docs/bench.md.
    # Seven community brokers read the public stream, and a hundred filters run, as in DMTN-093.
    "ztf-2018": Demand(
        SurveyLoad(alerts_night=1_200_000, alerts_second=1333, packet_kb=66, programmes=_ZTF),
        frozenset({1}),
        (*_COLLABORATION, Readers("public", frozenset({1}), 7)),
        Filters(100, 20, 4),
    ),
    # The best nights of later years have more than two million. The burst grows with the night; packets as of 2023.
    "ztf-2-million": Demand(
        SurveyLoad(alerts_night=2_000_000, alerts_second=2222, packet_kb=77, programmes=_ZTF),
        frozenset({1}),
        (*_COLLABORATION, Readers("public", frozenset({1}), 15)),
        Filters(100, 20, 4),
    ),
    # DMTN-102 and OSS-REQ-0193: 10 million alerts of 82 KB a night, at most 40,000 of an exposure, one each 39 s. All
    # alerts are public: programme 1 stands for them.
    "rubin": Demand(
        SurveyLoad(alerts_night=10_000_000, alerts_second=1026, packet_kb=82, programmes={1: 1.0}),
        frozenset({1}),
        (Readers("origin", frozenset({1}), 1), Readers("public", frozenset({1}), 10)),
        Filters(100, 20, 4),
    ),
}
