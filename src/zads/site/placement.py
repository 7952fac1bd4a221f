"""Which brokers get which replicas: a few moves from the present placement to a balanced one.

A pure function of described partitions. What counts, in this order: replicas only where they may be; a partition's
replicas over as many racks as possible; each topic even over the brokers, since one night's topics have nearly all the
traffic; all topics together even; then the same for preferred leaders. Each step moves one replica and improves one of
these without harm to those before it, so the search ends, and a balanced placement stays as it is.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from zads.errors import ZadsError
from zads.site.broker_requests import Place

Replicas = tuple[int, ...]  # numbers of brokers, the preferred leader first


class PlanError(ZadsError):
    """There is no plan: the brokers that are there cannot have all replicas."""


@dataclass(frozen=True)
class Move:
    """A partition that gets other replicas, or the same in another order."""

    topic: str
    number: int
    before: Replicas
    after: Replicas

    @property
    def place(self) -> Place:
        """The partition."""
        return self.topic, self.number

    @property
    def adds(self) -> Replicas:
        """The brokers that copy the partition; none if only the preferred leader changes."""
        return tuple(broker for broker in self.after if broker not in self.before)

    def __str__(self) -> str:
        return f"{self.topic}-{self.number}: {_listed(self.before)} becomes {_listed(self.after)}"


def plan(present: Mapping[Place, Replicas], racks: Mapping[int, str], *, spread: bool = True) -> list[Move]:
    """The moves that give partitions a balanced placement on the brokers of ``racks`` (each with its rack, or "").

    ``present``: the brokers of each partition's replicas. Each partition keeps its number of replicas. Without
    ``spread``, replicas stay on brokers of ``racks``; only those on other brokers move. Preferred leaders are balanced
    either way, which copies nothing. Raises PlanError if there are fewer brokers than replicas.
    """
    most = max(present.items(), key=lambda one: len(one[1]), default=None)
    if most and len(most[1]) > len(racks):
        (topic, number), replicas = most
        raise PlanError(
            f"{topic}-{number} has {len(replicas)} replicas, and {len(racks)} brokers would be left",
            hint="add a broker first",
        )
    layout = _Layout(present, racks)
    layout.leave()
    if spread:
        layout.spread()
    layout.lead()
    return [
        Move(*place, tuple(present[place]), tuple(replicas))
        for place, replicas in sorted(layout.replicas.items())
        if tuple(replicas) != tuple(present[place])
    ]


class _Layout:
    """A placement that changes step by step, and how many replicas each broker has: of each topic, and of all."""

    def __init__(self, present: Mapping[Place, Replicas], racks: Mapping[int, str]) -> None:
        self.before = {place: frozenset(replicas) for place, replicas in present.items()}
        self.replicas = {place: list(present[place]) for place in sorted(present)}
        self.brokers = sorted(racks)
        # A broker without a rack is a rack of its own.
        self.rack = {number: rack or f"broker {number}" for number, rack in racks.items()}
        self.total: Counter[int] = Counter()
        self.topic: dict[str, Counter[int]] = {}
        self.places: dict[str, list[Place]] = {}
        for place, replicas in self.replicas.items():
            self.places.setdefault(place[0], []).append(place)
            self.topic.setdefault(place[0], Counter()).update(replicas)
            self.total.update(replicas)

    def leave(self) -> None:
        """Move the replicas that are on brokers where none may be."""
        for place, replicas in self.replicas.items():
            for source in [broker for broker in replicas if broker not in self.rack]:
                self._move(place, source, min(self._others(place), key=lambda to: self._cost(place, source, to)))

    def spread(self) -> None:
        """Move replicas until neither racks nor brokers can be used more evenly."""
        while self._separate() or self._level_topics() or self._level_all():
            pass

    def _separate(self) -> bool:
        """Move replicas that share a rack while another rack has fewer of the partition. Says if any moved."""
        moved = False
        for place, replicas in self.replicas.items():
            while options := [
                (self._cost(place, source, target), source, target)
                for source in replicas
                for target in self._others(place)
                if self._crowding(place, source, target) < self._crowding(place)
            ]:
                _, source, target = min(options)
                self._move(place, source, target)
                moved = True
        return moved

    def _level_topics(self) -> bool:
        """Move replicas of each topic from brokers with more of it to brokers with fewer. Says if any moved."""
        moved = False
        for topic, places in self.places.items():
            while self._level(places, self.topic[topic], lambda *_: True):
                moved = True
        return moved

    def _level_all(self) -> bool:
        """Move one replica from a broker with more of them to one with fewer, if its topic stays even."""

        def topic_stays_even(place: Place, source: int, target: int) -> bool:
            load = self.topic[place[0]]
            return load[source] > load[target]

        return self._level(self.replicas, self.total, topic_stays_even)

    def _level(
        self, places: Collection[Place], load: Mapping[int, int], allowed: Callable[[Place, int, int], bool]
    ) -> bool:
        """Move one replica between the two brokers whose load differs most, of those between which one may move."""
        pairs = [(source, target) for source in self.brokers for target in self.brokers]
        pairs = [(source, target) for source, target in pairs if load[source] - load[target] >= 2]
        pairs.sort(key=lambda pair: (load[pair[1]] - load[pair[0]], self.total[pair[1]] - self.total[pair[0]], pair))
        for source, target in pairs:
            options = [
                (self._cost(place, source, target), place)
                for place in places
                if source in self.replicas[place]
                and target not in self.replicas[place]
                and allowed(place, source, target)
                and self._crowding(place, source, target) <= self._crowding(place)
            ]
            if options:
                self._move(min(options)[1], source, target)
                return True
        return False

    def lead(self) -> None:
        """Change preferred leaders until brokers have equally many, of each topic and of all."""
        while self._lead_topics() or self._lead_all():
            pass

    def _lead_topics(self) -> bool:
        changed = False
        for places in self.places.values():
            while self._shift_lead(places):
                changed = True
        return changed

    def _shift_lead(self, places: Iterable[Place]) -> bool:
        """Take one leadership of a topic from a broker with more to one with fewer, if need be by others between."""
        leads = Counter(dict.fromkeys(self.brokers, 0))
        leads.update(self.replicas[place][0] for place in places)
        for source in sorted(self.brokers, key=lambda broker: (-leads[broker], broker)):
            if path := self._path(list(places), source, leads):
                for place, broker in path:
                    self._prefer(place, broker)
                return True
        return False

    def _path(self, places: list[Place], source: int, leads: Mapping[int, int]) -> list[tuple[Place, int]]:
        """The fewest changes of leaders that take one from ``source`` and give one to a broker with two fewer."""
        came: dict[int, tuple[Place, int]] = {}  # a broker, the partition that it would lead, the leader before it
        waiting = deque([source])
        while waiting:
            at = waiting.popleft()
            if leads[source] - leads[at] >= 2:
                path = []
                while at != source:
                    place, former = came[at]
                    path.append((place, at))
                    at = former
                return path
            for place in places:
                if self.replicas[place][0] == at:
                    for follower in self.replicas[place][1:]:
                        if follower != source and follower not in came:
                            came[follower] = place, at
                            waiting.append(follower)
        return []

    def _lead_all(self) -> bool:
        """Take one leadership from a broker with more of all topics to one with fewer, if its topic stays even."""
        leads = Counter(dict.fromkeys(self.brokers, 0))
        leads.update(replicas[0] for replicas in self.replicas.values() if replicas)
        of_topic = {
            topic: Counter(self.replicas[place][0] for place in places) for topic, places in self.places.items()
        }
        options = [
            (leads[follower] - leads[replicas[0]], place, follower)
            for place, replicas in self.replicas.items()
            for follower in replicas[1:]
            if leads[replicas[0]] - leads[follower] >= 2
            and of_topic[place[0]][replicas[0]] > of_topic[place[0]][follower]
        ]
        if options:
            _, place, follower = min(options)
            self._prefer(place, follower)
        return bool(options)

    def _prefer(self, place: Place, broker: int) -> None:
        others = [one for one in self.replicas[place] if one != broker]
        self.replicas[place] = [broker, *others]

    def _move(self, place: Place, source: int, target: int) -> None:
        replicas = self.replicas[place]
        replicas[replicas.index(source)] = target
        for load in (self.total, self.topic[place[0]]):
            load[source] -= 1
            load[target] += 1

    def _others(self, place: Place) -> list[int]:
        return [broker for broker in self.brokers if broker not in self.replicas[place]]

    def _crowding(self, place: Place, source: int | None = None, target: int | None = None) -> int:
        """How crowded racks are with a partition's replicas, if one moved from ``source`` to ``target``.

        It is the sum of the squares of the racks' counts: least when they differ least.
        """
        brokers = [target if broker == source else broker for broker in self.replicas[place]]
        counts = Counter(self.rack[broker] for broker in brokers if broker in self.rack)
        return sum(count * count for count in counts.values())

    def _cost(self, place: Place, source: int, target: int) -> tuple[int, ...]:
        """What speaks against a move, the most important first.

        A crowded rack; a copy that would not be needed otherwise; a loaded broker as the target, or a less loaded one
        as the source; another preferred leader.
        """
        before = self.before[place]
        load = self.topic[place[0]]
        return (
            self._crowding(place, source, target),
            (target not in before) - (source not in before),
            load[target] - load[source],
            self.total[target] - self.total[source],
            self.replicas[place][0] == source,
            target,
        )


def _listed(brokers: Replicas) -> str:
    return ",".join(map(str, brokers)) or "none"
