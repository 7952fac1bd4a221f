"""What is well and what is ill: the brokers of both sites, the mirror between them, and the groups of filters.

The decisions are pure functions over what the sites say. The board may describe the topics of the public programmes at
the origin, and read nothing there: so it compares when each site took the newest record of a partition.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # its stubs forget to export this name

from zads import kafka, names
from zads.board.stream import nights_of
from zads.errors import ZadsError
from zads.filters import status
from zads.progress import UNDER_WAY
from zads.reading import Partition

LOOK_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
#: Alerts that a group of filters may be behind: two visits, as some are always under way.
BEHIND = 20_000


@dataclass(frozen=True)
class Broker:
    """A broker that the inventory names, or that a site names without being asked for: whether it serves."""

    number: int
    name: str
    up: bool


@dataclass(frozen=True)
class Site:
    """A site. ``answers``: whether it does; otherwise ``why`` not. Partitions are those that the board may see."""

    name: str
    answers: bool
    brokers: tuple[Broker, ...] = ()
    leaderless: int = 0
    under_replicated: int = 0
    why: str = ""

    @property
    def ills(self) -> list[str]:
        """What is wrong with it, in words."""
        if not self.answers:
            return [f"{self.name} does not answer: {self.why}"]
        found = [f"{self.name}: the broker {one.name} is away" for one in self.brokers if not one.up]
        if self.leaderless:
            found.append(f"{self.name}: {self.leaderless} partitions have no leader, and cannot be read or written")
        elif self.under_replicated:
            found.append(
                f"{self.name}: {self.under_replicated} partitions have fewer replicas in sync than they should"
            )
        return found


@dataclass(frozen=True)
class Mirror:
    """The mirror. ``seconds``: for how long the oldest newest alert of a partition has not been copied; 0: none.

    ``known``: whether both sites have said enough to tell.
    """

    known: bool
    seconds: float = 0.0

    @property
    def ills(self) -> list[str]:
        """What is wrong with it, in words."""
        if self.seconds > UNDER_WAY:
            return [f"the mirror is behind: alerts that came to the origin {self.seconds:.0f} s ago are not public yet"]
        return []


@dataclass(frozen=True)
class Group:
    """A group of filters: how many alerts its workers have yet to read; None if that is not known."""

    name: str
    behind: int | None

    @property
    def ills(self) -> list[str]:
        """What is wrong with it, in words."""
        if self.behind is not None and self.behind > BEHIND:
            return [f"the filters of {self.name} are {self.behind} alerts behind"]
        return []


@dataclass(frozen=True)
class Health:
    """What was found at the last look. ``sites`` by name; ``seen``: when (Unix seconds), 0: never."""

    sites: dict[str, Site] = field(default_factory=dict)
    mirror: Mirror = Mirror(False)
    groups: tuple[Group, ...] = ()
    seen: float = 0.0

    @property
    def ills(self) -> list[str]:
        """All that is wrong, in words."""
        parts: list[Site | Mirror | Group] = [*self.sites.values(), self.mirror, *self.groups]
        return [line for part in parts for line in part.ills]


def site_of(name: str, metadata: Any, expected: Mapping[int, str], wanted: Collection[str]) -> Site:
    """A site by its metadata. ``expected``: names of the brokers that it must have; ``wanted``: topics to look at."""
    there = metadata.brokers
    brokers = tuple(
        Broker(number, expected.get(number, f"broker {number}"), number in there)
        for number in sorted({*expected, *there})
    )
    partitions = [
        one for topic in wanted if topic in metadata.topics for one in metadata.topics[topic].partitions.values()
    ]
    return Site(
        name,
        True,
        brokers,
        sum(one.leader < 0 for one in partitions),
        sum(len(one.isrs) < len(one.replicas) for one in partitions),
    )


def mirror_of(origin: Mapping[Partition, float], public: Mapping[Partition, float], now: float) -> Mirror:
    """The mirror, by when each site took the newest record of each partition (Unix seconds).

    The public site takes a record after the origin. So where the origin's newest record is younger than the public
    site's, it has not been copied. (One of an aborted transaction never is, until the producer sends it again.)
    """
    late = [now - came for where, came in origin.items() if came > public.get(where, 0.0)]
    return Mirror(True, max(late, default=0.0))


def newest(conf: Mapping[str, str], partitions: Iterable[Partition]) -> dict[Partition, float]:
    """When a site took the newest record of each partition that has one, in Unix seconds.

    Raises confluent_kafka.KafkaException or TimeoutError if the site does not answer.
    """
    spec: Any = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    wanted = {TopicPartition(*where): spec for where in partitions}
    if not wanted:
        return {}
    answers = kafka.admin(conf).list_offsets(wanted, request_timeout=_ANSWER_SECONDS)
    found = {where: answer.result(2 * _ANSWER_SECONDS) for where, answer in answers.items()}
    return {
        (where.topic, where.partition): answer.timestamp / 1000
        for where, answer in found.items()
        if answer.timestamp is not None and answer.timestamp > 0
    }


def programme(topic: str) -> int:
    """The programme of a night's topic; 0 for any other."""
    parsed = names.parse_topic(topic)
    return parsed[1] if parsed else 0


class Doctor(threading.Thread):
    """Looks at both sites every LOOK_SECONDS until `close`. ``health`` is what it has found.

    ``confs``: properties of a client by site. These return what is so now, ``expected``: the brokers' names by site and
    number; ``programmes``: those of the public site; ``groups``: the groups of filters, and the programmes that each
    reads; ``ends``: the offsets behind what the board has read.
    """

    def __init__(
        self,
        confs: Mapping[str, Mapping[str, str]],
        expected: Callable[[], Mapping[str, Mapping[int, str]]],
        programmes: Callable[[], Collection[int]],
        groups: Callable[[], Mapping[str, Collection[int]]],
        ends: Callable[[], Mapping[Partition, int]],
    ) -> None:
        super().__init__(name="doctor", daemon=True)
        self.health = Health()
        self._confs, self._expected, self._programmes = confs, expected, programmes
        self._groups, self._ends = groups, ends
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look until `close`."""
        while not self._stopping.is_set():
            self.health = self._look()
            self._stopping.wait(LOOK_SECONDS)

    def close(self) -> None:
        """End the looking."""
        self._stopping.set()
        if self.ident is not None:
            self.join()

    def _look(self) -> Health:
        sites: dict[str, Site] = {}
        partitions: dict[str, set[Partition]] = {}
        for name, conf in self._confs.items():
            sites[name], partitions[name] = self._site(name, conf)
        return Health(sites, self._mirror(sites, partitions), self._behind(sites), time.time())

    def _site(self, name: str, conf: Mapping[str, str]) -> tuple[Site, set[Partition]]:
        try:
            metadata = kafka.admin(conf).list_topics(timeout=_ANSWER_SECONDS)
        except KafkaException as error:
            return Site(name, False, why=error.args[0].str()), set()
        topics = [one for one, about in metadata.topics.items() if about.error is None]
        nights = nights_of(topics, self._programmes())
        site = site_of(name, metadata, self._expected().get(name, {}), nights)
        return site, {(topic, number) for topic in nights for number in metadata.topics[topic].partitions}

    def _mirror(self, sites: Mapping[str, Site], partitions: Mapping[str, set[Partition]]) -> Mirror:
        if any(name not in sites or not sites[name].answers for name in ("origin", "public")):
            return Mirror(False)
        both = {name: partitions[name] for name in ("origin", "public")}
        try:
            origin, public = (newest(self._confs[name], wanted) for name, wanted in both.items())
        except (KafkaException, TimeoutError):
            for name in both:  # a client may have kept the old leader of a partition
                kafka.forget_admin(self._confs[name])
            return Mirror(False)
        return mirror_of(origin, public, time.time())

    def _behind(self, sites: Mapping[str, Site]) -> tuple[Group, ...]:
        ends, found = dict(self._ends()), []
        for group, programmes in sorted(self._groups().items()):
            read = {where: end for where, end in ends.items() if programme(where[0]) in programmes}
            behind = None
            if sites["public"].answers:
                with contextlib.suppress(KafkaException, ZadsError):
                    behind = status.lag(self._confs["public"], names.filters_principal(group), read)
            found.append(Group(group, behind))
        return tuple(found)
