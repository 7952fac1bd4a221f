"""What a site's Kafka defines, as readable JSON, and what differs between two states of it.

Topics (settings and where the replicas are), accounts, limits, grants, and settings that running brokers were given. A
password is not among them: Kafka tells none. Accounts are made again from the secrets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from confluent_kafka import KafkaException

from zads import kafka, names, quotas
from zads.errors import ZadsError
from zads.quotas import Entity
from zads.site import accounts
from zads.site.access import Acl
from zads.site.accounts import Accounts
from zads.site.cluster import Cluster
from zads.site.topics import Topic, topic_changes

#: Kafka's own topics: it makes them when they are needed.
_KAFKAS = "__"


@dataclass(frozen=True)
class Definitions:
    """What a site's Kafka defines.

    `cluster`: the number that Kafka gave the cluster when it was made. `placed`: the brokers that hold each partition
    of a topic. `given`: settings that brokers were given while they run, by broker.
    """

    cluster: str
    topics: dict[str, Topic]
    placed: dict[str, list[list[int]]]
    accounts: Accounts
    limits: dict[Entity, dict[str, float]]
    grants: list[Acl]
    given: dict[int, dict[str, str | None]]

    def text(self) -> bytes:
        """The definitions as readable JSON."""
        whole = {
            "cluster": self.cluster,
            "topics": {
                name: {"settings": topic.config, "partitions": self.placed[name]}
                for name, topic in sorted(self.topics.items())
            },
            "accounts": self.accounts,
            "limits": [{"of": entity, "values": values} for entity, values in sorted(self.limits.items(), key=str)],
            "grants": [asdict(acl) for acl in self.grants],
            "given": {str(number): values for number, values in sorted(self.given.items())},
        }
        return json.dumps(whole, indent=1).encode()

    @classmethod
    def read(cls, text: bytes) -> Definitions:
        """The definitions of a backup. Raises ZadsError if they cannot be read."""
        try:
            whole = json.loads(text)
            placed = {name: about["partitions"] for name, about in whole["topics"].items()}
            return cls(
                str(whole["cluster"]),
                {name: _topic(name, placed[name], about["settings"]) for name, about in whole["topics"].items()},
                placed,
                whole["accounts"],
                {tuple((kind, name) for kind, name in one["of"]): one["values"] for one in whole["limits"]},
                [Acl(**one) for one in whole["grants"]],
                {int(number): values for number, values in whole["given"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ZadsError(f"the backup's definitions of a site cannot be read: {error!r}") from error


def _topic(name: str, placed: list[list[int]], settings: dict[str, str]) -> Topic:
    return Topic(name, len(placed), min(map(len, placed), default=0), settings)


def look(conf: Mapping[str, str]) -> Definitions:
    """What a site defines now, asked as its administrator. Raises ZadsError."""
    try:
        cluster = Cluster(conf)
        metadata = cluster.metadata()
        topics = cluster.topics()
        return Definitions(
            metadata.cluster_id,
            topics,
            {
                name: [about.partitions[number].replicas for number in sorted(about.partitions)]
                for name, about in metadata.topics.items()
                if name in topics
            },
            accounts.present(cluster.client),
            quotas.describe(conf),
            sorted(cluster.acls()),
            {number: cluster.broker_settings(number)[0] for number in sorted(metadata.brokers)},
        )
    except KafkaException as error:
        raise kafka.failure(conf, error.args[0]) from error


def night_topics(there: Definitions) -> dict[str, Topic]:
    """The topics of nights, without the canaries'."""
    return {
        name: topic
        for name, topic in there.topics.items()
        if (parts := names.parse_topic(name)) is not None and parts[0] != names.CANARY_NIGHT
    }


@dataclass(frozen=True)
class Differences:
    """What differs, a line each, and how many nights' topics have come or gone since, which is no difference."""

    lines: list[str]
    came: int
    went: int


def differences(before: Definitions, now: Definitions) -> Differences:
    """What differs between a backup and a site.

    Nights that only one of them has are none, with their grants: the night keeper makes and removes nights. Nor is the
    place of a replica, which follows from the brokers that there are, or a topic of Kafka's own.
    """
    nights = [night_topics(one).keys() for one in (before, now)]
    since = nights[0] ^ nights[1]
    lines = [
        *_topics(_others(before, since), _others(now, since)),
        *_entries("account", _flat(before.accounts), _flat(now.accounts)),
        *_entries("limit", _limits(before), _limits(now)),
        *_entries("grant", _grants(before, since), _grants(now, since)),
        *_entries("given to broker", _given(before), _given(now)),
    ]
    return Differences(lines, len(nights[1] - nights[0]), len(nights[0] - nights[1]))


def _others(there: Definitions, since: Iterable[str]) -> dict[str, Topic]:
    left_out = set(since)
    return {
        name: topic for name, topic in there.topics.items() if name not in left_out and not name.startswith(_KAFKAS)
    }


def _topics(before: Mapping[str, Topic], now: Mapping[str, Topic]) -> Iterator[str]:
    changes = topic_changes(before.values(), now)
    yield from (f"missing: topic {topic.name}" for topic in changes.create)
    yield from (f"new: topic {name}" for name in sorted(now.keys() - before.keys()))
    for name in sorted(before.keys() & now.keys()):
        for what in ("partitions", "replication_factor"):
            was, is_now = getattr(before[name], what), getattr(now[name], what)
            if was != is_now:
                yield f"other: topic {name}: {what.replace('_', ' ')} {was} in the backup, now {is_now}"
    for name, settings in changes.configure.items():
        for key, (is_now, was) in settings.items():
            yield f"other: topic {name}: {key} {was} in the backup, now {is_now}"


def _entries(what: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Lines for entries that were written as text (key -> value)."""
    yield from (f"missing: {what} {key}" for key in sorted(before.keys() - now.keys()))
    yield from (f"new: {what} {key}" for key in sorted(now.keys() - before.keys()))
    for key in sorted(before.keys() & now.keys()):
        if before[key] != now[key]:
            yield f"other: {what} {key}: {before[key]} in the backup, now {now[key]}"


def _flat(there: Accounts) -> dict[str, str]:
    return {f"{user} ({how})": f"{rounds} rounds" for user, hows in there.items() for how, rounds in hows.items()}


def _limits(there: Definitions) -> dict[str, str]:
    return {
        f"{quotas.in_words(entity)}: {key}": f"{value:.0f}"
        for entity, values in there.limits.items()
        for key, value in values.items()
    }


def _grants(there: Definitions, since: Iterable[str]) -> dict[str, str]:
    left_out = set(since)
    return {str(acl): "" for acl in there.grants if not (acl.resource == "topic" and acl.name in left_out)}


def _given(there: Definitions) -> dict[str, str]:
    return {f"{number}: {key}": str(value) for number, values in there.given.items() for key, value in values.items()}
