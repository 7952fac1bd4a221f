"""A site's brokers and partitions as figures, and the ends and ages of its nights."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public names that its stubs forget to export
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from zads import kafka, names
from zads.exporter import figures
from zads.exporter.figures import Found
from zads.site.cluster import ANSWER, Cluster
from zads.site.policy import Site

#: Nights of which each site tells ends and ages: the newest ones. Others are in no figure.
NIGHTS = 12
#: Seconds for which a topic's minimum of replicas in sync is remembered: only a deployment changes it.
REMEMBERED = 300.0


@dataclass(frozen=True)
class Partition:
    """A partition: its topic, its leader (-1: none), and the numbers of its replicas and of those in sync."""

    topic: str
    leader: int
    replicas: tuple[int, ...]
    in_sync: frozenset[int]


def describe(
    site: Site,
    expected: Mapping[int, str],
    up: Collection[int],
    controller: int,
    partitions: Collection[Partition],
    minimum: Mapping[str, int],
) -> Found:
    """The figures of a site's brokers and partitions.

    ``expected``: the inventory's brokers, their hosts by number. ``minimum``: of replicas in sync, by topic; 1 for a
    topic that it lacks.
    """
    found: Found = {(figures.SITE_UP, (site,)): 1.0}
    found[figures.CONTROLLER, (site,)] = controller if controller in up else -1
    for number in sorted({*expected, *up}):
        labels = (site, str(number), expected.get(number, "not in the inventory"))
        own = [one for one in partitions if number in one.replicas]
        found[figures.BROKER_UP, labels] = number in up
        found[figures.BROKER_LEADERS, labels] = sum(one.leader == number for one in partitions)
        found[figures.BROKER_REPLICAS, labels] = len(own)
        found[figures.BROKER_BEHIND, labels] = sum(number not in one.in_sync for one in own)
    lacking = [one for one in partitions if len(one.in_sync) < len(one.replicas)]
    found[figures.PARTITIONS, (site,)] = len(partitions)
    found[figures.UNDER_REPLICATED, (site,)] = len(lacking)
    found[figures.AT_MINIMUM, (site,)] = sum(len(one.in_sync) == minimum.get(one.topic, 1) for one in lacking)
    found[figures.UNDER_MINIMUM, (site,)] = sum(len(one.in_sync) < minimum.get(one.topic, 1) for one in lacking)
    found[figures.LEADERLESS, (site,)] = sum(one.leader < 0 for one in partitions)
    return found


@dataclass
class Brokers:
    """Looks at a site. ``conf``: a client that may describe it; ``expected``: says the inventory's brokers."""

    site: Site
    conf: Mapping[str, str]
    expected: Callable[[], Mapping[int, str]]
    _minimum: dict[str, int] = field(default_factory=dict)
    _asked: float = float("-inf")

    def look(self) -> Found:
        """The figures now. Raises confluent_kafka.KafkaException if the site does not answer."""
        cluster = Cluster(self.conf)
        metadata = cluster.metadata()
        partitions = [
            Partition(name, one.leader, tuple(one.replicas), frozenset(one.isrs))
            for name, topic in metadata.topics.items()
            for one in topic.partitions.values()
        ]
        self._remember(cluster, metadata.topics)
        found = describe(
            self.site, self.expected(), metadata.brokers, metadata.controller_id, partitions, self._minimum
        )
        return found | self._nights(cluster, metadata)

    def lost(self) -> Found:
        """What is known of a site that does not answer."""
        return {(figures.SITE_UP, (self.site,)): 0.0}

    def _remember(self, cluster: Cluster, topics: Collection[str]) -> None:
        """Ask for the minimum of replicas in sync of new topics, and now and then of all."""
        if time.monotonic() - self._asked > REMEMBERED:
            self._minimum, self._asked = {}, time.monotonic()
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in sorted({*topics} - {*self._minimum})]
        answers = cluster.client.describe_configs(asked, request_timeout=ANSWER) if asked else {}
        for resource, answer in answers.items():
            error = answer.exception(2 * ANSWER)
            if error is None:
                self._minimum[resource.name] = int(answer.result()["min.insync.replicas"].value)
            elif error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # it was removed meanwhile
                raise error

    def _nights(self, cluster: Cluster, metadata: Any) -> Found:
        nights = {name: parsed for name in metadata.topics if (parsed := names.parse_topic(name))}
        newest = sorted({night for night, _ in nights.values()} - {names.CANARY_NIGHT})[-NIGHTS:]
        places = [
            TopicPartition(name, number)
            for name, (night, _) in nights.items()
            if night in newest
            for number, one in metadata.topics[name].partitions.items()
            if one.leader >= 0
        ]
        ends = cluster.offsets(dict.fromkeys(places, OffsetSpec.latest()))  # type: ignore[no-untyped-call]
        found: Found = {}
        for (topic, _), end in ends.items():
            night, programme = nights[topic]
            key = (figures.NIGHT_END, (self.site, night, str(programme)))
            found[key] = found.get(key, 0.0) + end
        for topic, moment in newest_records(self.conf, places).items():
            night, programme = nights[topic]
            found[figures.NIGHT_NEWEST, (self.site, night, str(programme))] = moment
        return found


def newest_records(conf: Mapping[str, str], places: Collection[TopicPartition]) -> dict[str, float]:
    """When a site took the last record of each topic (Unix seconds, by its brokers' clocks); empty ones are left out.

    It asks for the largest timestamp (KIP-734), which takes no right to read. Raises confluent_kafka.KafkaException.
    """
    if not places:
        return {}

    def ask() -> dict[str, float]:
        spec: Any = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
        answers = kafka.admin(conf).list_offsets(dict.fromkeys(places, spec), request_timeout=ANSWER)
        found: dict[str, float] = {}
        for place, answer in answers.items():
            error = answer.exception(2 * ANSWER)
            if error is not None and error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise error
            if error is None and answer.result().timestamp > 0:
                found[place.topic] = max(found.get(place.topic, 0.0), answer.result().timestamp / 1000)
        return found

    return kafka.when_led(ask, lambda: kafka.forget_admin(conf), ANSWER)
