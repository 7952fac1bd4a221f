"""Asks a site for its consumer groups: state, members, positions, and what each has yet to read.

Offsets also count the markers of transactions, which nobody reads. A group that has read everything may seem to be a
record behind in each partition. So where few offsets are left, the records themselves are counted. Where many are left,
the offsets are counted: the number of records may be smaller.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # its stubs forget to export this name

from zads import kafka, names, reading
from zads.reading import Partition
from zads.site.cluster import ANSWER, Cluster

#: If at most this number of offsets is left, the records are counted.
FEW = 16
_AT_ONCE = 8  # groups that are asked for at the same time
_FETCH = 64_000  # bytes of a fetch, of which the first record alone is wanted


@dataclass(frozen=True)
class Member:
    """A member of a group: its program's name for itself, its address, and the number of partitions that it reads."""

    client: str
    host: str
    partitions: int


@dataclass(frozen=True)
class Place:
    """Where a group is in a partition. ``offset``: what it reads next; ``left``: the records that it has yet to read.

    ``committed``: whether the group has said so. Otherwise it has not been in this partition, and begins with the
    oldest record, as our kits do. ``exact``: whether ``left`` counts records, not offsets.
    """

    offset: int
    left: int
    committed: bool
    exact: bool


@dataclass(frozen=True)
class Group:
    """A group. ``state``: Kafka's word in small letters. ``places``: by partition, of topics where it has been.

    ``leaderless``: the partitions of these topics that have no leader. Nothing is known about them.
    """

    name: str
    state: str
    members: tuple[Member, ...] = ()
    places: Mapping[Partition, Place] = field(default_factory=dict)
    leaderless: tuple[Partition, ...] = ()

    @property
    def left(self) -> int:
        """The records that it has yet to read, at most."""
        return sum(place.left for place in self.places.values())

    @property
    def has_read(self) -> bool:
        """Whether it has ever said that it has read something."""
        return any(place.committed for place in self.places.values())

    def topics(self) -> dict[str, dict[int, Place]]:
        """Its places by topic and number of the partition."""
        found: dict[str, dict[int, Place]] = {}
        for (topic, number), place in sorted(self.places.items()):
            found.setdefault(topic, {})[number] = place
        return found


def groups(conf: Mapping[str, str], only: Collection[str] | None = None) -> list[Group]:
    """The groups of a site by name: all, or those of `only` that exist.

    ``conf``: a client that may describe them. Raises confluent_kafka.KafkaException if the site does not answer.
    """
    cluster = Cluster(conf)
    listed = cluster.client.list_consumer_groups(request_timeout=ANSWER).result(2 * ANSWER)
    if listed.errors:
        raise listed.errors[0]
    known = sorted({one.group_id for one in listed.valid} if only is None else {*only})
    described = _described(cluster, known)
    leaders = {
        (name, number): partition.leader
        for name, topic in cluster.metadata().topics.items()
        if not name.startswith("__")
        for number, partition in topic.partitions.items()
    }
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        committed = list(pool.map(lambda name: positions(conf, name, leaders), known))
    topics = {topic for found in committed for topic, _ in found}
    led = {place for place, leader in leaders.items() if leader >= 0}
    starts, ends = _bounds(cluster, [place for place in sorted(led) if place[0] in topics])
    return _counted(conf, described, committed, (starts, ends), sorted(leaders.keys() - led))


def _described(cluster: Cluster, wanted: Collection[str]) -> list[Group]:
    if not wanted:
        return []
    answers = cluster.client.describe_consumer_groups(list(wanted), request_timeout=ANSWER)
    found = []
    for name in wanted:
        about = answers[name].result(2 * ANSWER)
        members = tuple(
            Member(one.client_id, one.host.removeprefix("/"), len(one.assignment.topic_partitions))
            for one in about.members
        )
        found.append(Group(name, about.state.name.lower().replace("_", " "), members))
    return found


def positions(conf: Mapping[str, str], group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
    """The offsets that a group has committed, by partition.

    A consumer that never joins the group asks for them: the administration client can crash (see `kafka.committed`).
    Raises confluent_kafka.KafkaException if the site does not answer.
    """
    wanted = [TopicPartition(*place) for place in partitions]
    with contextlib.closing(kafka.consumer({**conf, "log_level": "0"}, group)) as consumer:
        answer = kafka.when_led(
            lambda: _sound(consumer.committed(wanted, timeout=ANSWER)), lambda: None, ANSWER, kafka.COORDINATOR_MOVED
        )
    return {(one.topic, one.partition): one.offset for one in answer if one.offset >= 0}


def _sound(answer: list[TopicPartition]) -> list[TopicPartition]:
    for one in answer:
        if one.error is not None and one.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(one.error)
    return answer


def _bounds(cluster: Cluster, partitions: Collection[Partition]) -> tuple[dict[Partition, int], dict[Partition, int]]:
    wanted = [TopicPartition(*place) for place in partitions]
    starts = cluster.offsets(dict.fromkeys(wanted, OffsetSpec.earliest()))  # type: ignore[no-untyped-call]
    return starts, reading.committed_ends(cluster.conf, [place for place in partitions if place in starts])


def _counted(
    conf: Mapping[str, str],
    described: list[Group],
    committed: list[dict[Partition, int]],
    bounds: tuple[Mapping[Partition, int], Mapping[Partition, int]],
    leaderless: Collection[Partition],
) -> list[Group]:
    """The groups with their places. ``bounds``: where the partitions begin and end."""
    starts, ends = bounds
    offsets = [_offsets(found, starts) for found in committed]
    few: dict[Partition, int] = {}
    for found in offsets:
        for place, offset in found.items():
            if 0 < ends.get(place, 0) - offset <= FEW:
                few[place] = min(offset, few.get(place, offset))
    records: dict[Partition, list[int]] = {place: [] for place in few}
    for message in reading.read_to_end(conf, {place: ends[place] for place in few}, starts=few):
        records[reading.place(message)].append(message.offset() or 0)
    return [
        Group(
            one.name,
            one.state,
            one.members,
            {
                place: _place(offset, place in said, ends[place], records.get(place))
                for place, offset in found.items()
                if place in ends
            },
            tuple(place for place in leaderless if place[0] in {topic for topic, _ in said}),
        )
        for one, said, found in zip(described, committed, offsets, strict=True)
    ]


def _offsets(committed: Mapping[Partition, int], starts: Mapping[Partition, int]) -> dict[Partition, int]:
    """What a group reads next, in each partition of the topics in which it has been."""
    topics = {topic for topic, _ in committed}
    return {place: max(committed.get(place, 0), start) for place, start in starts.items() if place[0] in topics}


def _place(offset: int, committed: bool, end: int, records: list[int] | None) -> Place:
    """``records``: the offsets of the last records, or None if they were not read."""
    left = max(end - offset, 0)
    if left > FEW or records is None:
        return Place(offset, left, committed, exact=left == 0)
    return Place(offset, sum(offset <= one < end for one in records), committed, exact=True)


def arrivals(conf: Mapping[str, str], group: Group, seconds: float = reading.ANSWER_SECONDS) -> dict[Partition, float]:
    """When the site took the first record that a group has yet to read (Unix seconds), by partition.

    A partition is left out if it has no such record, or does not answer in `seconds`. One record of each is read.
    """
    waiting = {place: where.offset for place, where in group.places.items() if where.left}
    found: dict[Partition, float] = {}
    small = {"max.partition.fetch.bytes": _FETCH, "queued.max.messages.kbytes": 1024}
    own = kafka.own_group(conf, names.AUDIT_GROUP)
    with contextlib.closing(kafka.consumer({**conf, "log_level": "0"}, own, **small)) as consumer:
        consumer.assign([TopicPartition(*place, offset) for place, offset in waiting.items()])
        until = time.monotonic() + seconds
        while waiting.keys() - found.keys() and time.monotonic() < until:
            for message in reading.arrived(consumer):
                place = reading.place(message)
                if message.error() is None and place not in found:
                    found[place] = message.timestamp()[1] / 1000
                    consumer.pause([TopicPartition(*place)])
    return found


def last_commits(conf: Mapping[str, str], group: str) -> dict[Partition, float]:
    """When a group last committed each of its positions (Unix seconds), by partition.

    Kafka answers no question about this. So the partition of ``__consumer_offsets`` that belongs to the group is read,
    which only operators may do. Raises confluent_kafka.KafkaException, or zads.reading.StalledError.
    """
    topic = "__consumer_offsets"
    there = reading.existing(conf, [topic])
    if not there:
        return {}
    place = (topic, _java_hash(group) % len(there))
    found: dict[Partition, float] = {}
    for message in reading.read_to_end(conf, reading.committed_ends(conf, [place])):
        key: Any = message.key()
        if (of := offset_key(key or b"")) is None or of[0] != group:
            continue
        if message.value() is None:  # the position was forgotten
            found.pop(of[1], None)
        else:
            found[of[1]] = message.timestamp()[1] / 1000
    return found


def offset_key(key: bytes) -> tuple[str, Partition] | None:
    """The group and the partition of a record of ``__consumer_offsets``; None for a record of another kind.

    Source: OffsetCommitKey.json of Kafka 3.9, versions 0 and 1.
    """
    place = 0

    def number(size: int) -> int:
        nonlocal place
        place += size
        if place > len(key):
            raise ValueError("the key ends early")
        return int.from_bytes(key[place - size : place], "big", signed=True)

    def text() -> str:
        nonlocal place
        size = number(2)
        place += size
        if size < 0 or place > len(key):
            raise ValueError("the key ends early")
        return key[place - size : place].decode(errors="replace")

    try:
        if number(2) not in (0, 1):
            return None
        return text(), (text(), number(4))
    except ValueError:
        return None


def _java_hash(text: str) -> int:
    """Java's String.hashCode without its sign, as the broker chooses a group's partition by it."""
    units = text.encode("utf-16-be")
    value = 0
    for high, low in zip(units[::2], units[1::2], strict=True):
        value = (31 * value + (high << 8 | low)) & 0xFFFFFFFF
    signed = value - (1 << 32) if value >= 1 << 31 else value
    return 0 if signed == -(1 << 31) else abs(signed)
