"""The disks of a site's brokers: what is on them, what is free, how long they suffice, and what is not there.

Everything is asked of the brokers themselves. Sizes are bytes.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public names that its stubs forget to export
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from zads.errors import ZadsError
from zads.site import broker_requests, forecast
from zads.site.broker_requests import Stored
from zads.site.cluster import ANSWER, Cluster
from zads.site.forecast import Kept

#: The role's default of kafka_gate_free_percent.
FREE_PERCENT = 5
_DAY_MS = 86_400_000
_MOST_DAYS = 32  # ages that are counted separately
Partition = tuple[str, int]


@dataclass(frozen=True)
class Records:
    """How the records of a partition are spread over time.

    ``retention``: days, None for ever. ``parts``: the part of the records that is up to one day old, and so on.
    """

    retention: float | None
    parts: tuple[float, ...]


@dataclass(frozen=True)
class Disk:
    """A log directory of a broker. ``total`` and ``free`` are those of its file system; -1 if they are unknown.

    ``days``: how long it suffices until less than the least part is free; None if that is longer than the forecast
    looks ahead. ``state``: ``ok``, ``full`` (less than the least part is free), or ``failed`` (the broker cannot use
    it).
    """

    path: str
    state: str
    total: int
    free: int
    used: int
    days: int | None


@dataclass(frozen=True)
class Broker:
    """A broker's disks. ``offline``: replicas that it should have and that none of its disks has.

    ``problem`` says why nothing is known of it; it has no disks then.
    """

    number: int
    host: str
    disks: tuple[Disk, ...]
    offline: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True)
class Usage:
    """The disks of a site. ``topics``: bytes of each topic on all brokers together, the largest first."""

    brokers: tuple[Broker, ...]
    topics: tuple[tuple[str, int], ...]

    def problems(self) -> list[str]:
        """What is wrong, in words; a forecast is not."""
        found = []
        for broker in self.brokers:
            name = f"broker {broker.number} ({broker.host})"
            if broker.problem:
                found.append(f"{name}: {broker.problem}")
            for disk in broker.disks:
                if disk.state == "failed":
                    found.append(f"{name} cannot use {disk.path}")
                elif disk.state == "full":
                    found.append(f"{disk.path} of {name} is nearly full: {disk.free * 100 // disk.total} % free")
            if broker.offline:
                found.append(f"{name} lacks {len(broker.offline)} replicas, the first is of {broker.offline[0]}")
        return found


def usage(
    brokers: Mapping[int, str],
    placed: Mapping[Partition, Collection[int]],
    answers: Mapping[int, list[Stored] | str],
    records: Mapping[Partition, Records],
    free_percent: int,
) -> Usage:
    """The disks of a site as its brokers describe them.

    ``brokers``: all hosts' names by number. ``placed``: the brokers that should have a replica of each partition.
    ``answers``: what each broker stores, or why it did not answer.
    """
    found, topics = [], dict[str, int]()
    for number, host in sorted(brokers.items()):
        answer = answers.get(number, "is not up")
        directories = [] if isinstance(answer, str) else answer
        there = {place for one in directories if one.directory.usable for place in one.sizes}
        wanted = {place for place, replicas in placed.items() if number in replicas}
        offline = tuple(f"{topic}-{partition}" for topic, partition in sorted(wanted - there))
        disks = tuple(_disk(one, records, free_percent) for one in directories)
        found.append(Broker(number, host, disks, offline, answer if isinstance(answer, str) else ""))
        for one in directories:
            for (topic, _), size in one.sizes.items():
                topics[topic] = topics.get(topic, 0) + size
    return Usage(tuple(found), tuple(sorted(topics.items(), key=lambda one: (-one[1], one[0]))))


def _disk(stored: Stored, records: Mapping[Partition, Records], free_percent: int) -> Disk:
    directory, used = stored.directory, sum(stored.sizes.values())
    if not directory.usable:
        return Disk(directory.path, "failed", directory.total, directory.free, used, 0)
    if directory.total <= 0:  # a broker before Kafka 3.3 does not know
        return Disk(directory.path, "ok", directory.total, directory.free, used, None)
    # As the gate counts: a disk with exactly the least part free is not full.
    room = directory.free - directory.total * free_percent / 100
    days = forecast.days_left(_kept(stored.sizes, records), room)
    return Disk(directory.path, "full" if room < 0 else "ok", directory.total, directory.free, used, days)


def _kept(sizes: Mapping[Partition, int], records: Mapping[Partition, Records]) -> list[Kept]:
    """The bytes of a disk by retention and age. What has no known ages stays, and does not grow."""
    ages: dict[float | None, list[float]] = {}
    for place, size in sizes.items():
        if (about := records.get(place)) is not None:
            sums = ages.setdefault(about.retention, [0.0] * _MOST_DAYS)
            for age, part in enumerate(about.parts):
                sums[age] += size * part
    return [Kept(retention, tuple(sums)) for retention, sums in ages.items()]


def look(conf: Mapping[str, str], brokers: Mapping[int, str], free_percent: int = FREE_PERCENT) -> Usage:
    """Ask a site. ``conf``: its administrator's client; ``brokers``: the hosts' names by number, of the inventory.

    Raises confluent_kafka.KafkaException if no broker answers.
    """
    cluster = Cluster(conf)
    metadata = cluster.metadata()
    answers: dict[int, list[Stored] | str] = {}
    for number, broker in metadata.brokers.items():
        try:
            answers[number] = broker_requests.stored(conf, broker.host, broker.port, ANSWER)
        except ZadsError as error:
            answers[number] = str(error)
    # Topics that were made or removed meanwhile do not count: they are not missing.
    before, after = _placed(metadata), _placed(cluster.metadata())
    placed = {place: replicas for place, (_, replicas) in after.items() if place in before}
    led = {place for place in placed if after[place][0] >= 0}
    unknown = dict.fromkeys(metadata.brokers, "not in the inventory")
    return usage(unknown | dict(brokers), placed, answers, _records(cluster, led), free_percent)


def _placed(metadata: Any) -> dict[Partition, tuple[int, tuple[int, ...]]]:
    """The leader of each partition, below 0 if there is none, and the brokers that should have a replica."""
    return {
        (name, number): (partition.leader, tuple(partition.replicas))
        for name, topic in metadata.topics.items()
        for number, partition in topic.partitions.items()
    }


def _records(cluster: Cluster, partitions: Collection[Partition]) -> dict[Partition, Records]:
    """How the records of the partitions with a retention are spread over the last days."""
    retention = _retention(cluster, {name for name, _ in partitions})
    chosen = [TopicPartition(*place) for place in sorted(partitions) if place[0] in retention]
    longest = max((days for days in retention.values() if days is not None), default=0.0)
    days = min(_MOST_DAYS, math.ceil(max(longest, forecast.WEEK)) + 1)
    now = round(time.time() * 1000)
    starts = cluster.offsets(dict.fromkeys(chosen, OffsetSpec.earliest()))  # type: ignore[no-untyped-call]
    ends = cluster.offsets(dict.fromkeys(chosen, OffsetSpec.latest()))  # type: ignore[no-untyped-call]
    # Offsets of the first record that is younger than one day, than two days, and so on.
    since = [
        cluster.offsets(dict.fromkeys(chosen, OffsetSpec.for_timestamp(now - age * _DAY_MS))) for age in range(1, days)
    ]
    return {
        place: Records(retention[place[0]], parts(starts[place], ends[place], [one.get(place, -1) for one in since]))
        for place in ((one.topic, one.partition) for one in chosen)
        if place in starts and place in ends
    }


def parts(start: int, end: int, since: Iterable[int]) -> tuple[float, ...]:
    """The part of a partition's records of each age in days, the youngest first.

    ``start`` and ``end`` are the partition's offsets. ``since``: the offsets of the first record that is younger than
    one day, than two days, and so on; -1 if there is none.
    """
    if end <= start:
        return ()
    bounds = [end]
    for offset in since:
        bounds.append(bounds[-1] if offset < 0 else min(max(offset, start), bounds[-1]))
    bounds.append(start)
    return tuple((young - old) / (end - start) for young, old in itertools.pairwise(bounds))


def _retention(cluster: Cluster, topics: Collection[str]) -> dict[str, float | None]:
    """The days for which each topic keeps a record, None for ever; compacted topics are left out."""
    if not topics:
        return {}
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in sorted(topics)]
    found: dict[str, float | None] = {}
    answers: Mapping[Any, Any] = cluster.client.describe_configs(asked, request_timeout=ANSWER)
    for resource, answer in answers.items():
        error = answer.exception(2 * ANSWER)
        if error is not None and error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise error
        settings = {} if error else answer.result()  # a topic may have been removed meanwhile
        if settings and "delete" in settings["cleanup.policy"].value:
            milliseconds = int(settings["retention.ms"].value)
            found[resource.name] = None if milliseconds < 0 else milliseconds / _DAY_MS
    return found
