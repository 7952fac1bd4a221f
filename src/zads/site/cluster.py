"""A site's Kafka, as its administrator or a program with some of the administrator's rights sees and changes it.

Every method raises confluent_kafka.KafkaException when the cluster refuses or does not answer. A caller compares before
it changes anything, so it can repeat its work while a broker or the controller moves (`passing`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public names that its stubs forget to export
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

from zads import kafka
from zads.errors import ZadsError
from zads.site.access import Acl
from zads.site.topics import Topic, TopicChanges

ANSWER = 30  # seconds that a request may take
SPREAD = 60  # seconds until every broker knows of a new topic
PAUSE = 0.3
# Errors that a client gets while a broker or the controller moves.
_PASSING = {
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError.NOT_CONTROLLER,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    # Errors after a lost answer: the request was repeated, or the broker that was asked does not know the topic yet.
    KafkaError.TOPIC_ALREADY_EXISTS,
}

# librdkafka calls the resource type of the cluster itself "broker".
RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "cluster": ResourceType.BROKER,
    "transactional_id": ResourceType.TRANSACTIONAL_ID,
}
RESOURCE_NAMES = {kind: name for name, kind in RESOURCES.items()}


class Cluster:
    """A site's Kafka, reached by the properties ``conf`` of a client.

    ``answered``: whether it has answered at all; ``altered``: whether this object has asked it to change something.
    """

    def __init__(self, conf: Mapping[str, str]) -> None:
        # Without this librdkafka also writes every failed connection to standard error.
        self.conf = {**conf, "log_level": "0"}
        self.client: Any = kafka.admin(self.conf)
        self.answered = False
        self.altered = False

    def metadata(self) -> Any:
        """Brokers, topics and partitions."""
        metadata = self.client.list_topics(timeout=ANSWER)
        self.answered = True
        return metadata

    def settle(self, answers: Mapping[Any, Any], *, accepted: Collection[int] = ()) -> None:
        """Wait for all answers to an alteration, then raise the first failure that is not ``accepted``, if any."""
        self.altered = True
        failed = [error for answer in answers.values() if (error := answer.exception(ANSWER + SPREAD))]
        failed = [error for error in failed if _code(error) not in accepted]
        if failed:
            raise failed[0]

    # topics

    def topics(self, names: Iterable[str] | None = None) -> dict[str, Topic]:
        """Topics by name (all, or those of ``names`` that exist), each with the settings made for it."""
        there = self.metadata().topics
        chosen = sorted(there if names is None else set(names) & set(there))
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in chosen]
        settings = {}
        if resources:
            for resource, answer in self.client.describe_configs(resources, request_timeout=ANSWER).items():
                own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
                entries = answer.result(ANSWER).values()
                settings[resource.name] = {entry.name: entry.value for entry in entries if entry.source == own}
        return {
            name: Topic(
                name,
                len(there[name].partitions),
                min((len(partition.replicas) for partition in there[name].partitions.values()), default=0),
                settings[name],
            )
            for name in chosen
        }

    def create_topics(self, wanted: Collection[Topic], *, with_absent_brokers: bool = False) -> None:
        """Create topics, and wait until each has a leader for every partition.

        Kafka places replicas on brokers that are up. If there are fewer than replicas, this waits for the missing ones.
        ``with_absent_brokers``: it does not wait, but gives replicas to brokers that are away, which fill them when
        they return. Raises ZadsError if there are not enough brokers.
        """
        replicas = max(topic.replication_factor for topic in wanted)
        up, away = self.brokers()
        if with_absent_brokers and len(up) < replicas <= len(up) + len(away):
            new = [
                NewTopic(one.name, one.partitions, replica_assignment=placed(one, up, away), config=one.config)
                for one in wanted
            ]
        else:
            self._await_brokers(replicas)
            new = [NewTopic(one.name, one.partitions, one.replication_factor, config=one.config) for one in wanted]
        self.settle(self.client.create_topics(new, operation_timeout=ANSWER, request_timeout=ANSWER))
        self._await_partitions({topic.name: topic.partitions for topic in wanted})

    def grow_topics(self, counts: Mapping[str, int]) -> None:
        """Give topics more partitions, and wait until the new ones have leaders."""
        new = [NewPartitions(name, count) for name, count in counts.items()]
        self.settle(self.client.create_partitions(new, operation_timeout=ANSWER, request_timeout=ANSWER))
        self._await_partitions(counts)

    def set_topics(self, settings: Mapping[str, Mapping[str, str | None]]) -> None:
        """Change settings of topics; None goes back to the broker's default."""
        resources = [
            ConfigResource(ResourceType.TOPIC, name, incremental_configs=_entries(values))
            for name, values in settings.items()
        ]
        self.settle(self.client.incremental_alter_configs(resources, request_timeout=ANSWER))

    def change_topics(self, changes: TopicChanges) -> None:
        """Create, grow and configure topics."""
        if changes.create:
            self.create_topics(changes.create)
        if changes.grow:
            self.grow_topics({name: new for name, (_, new) in changes.grow.items()})
        if changes.configure:
            self.set_topics(
                {name: {key: new for key, (_, new) in keys.items()} for name, keys in changes.configure.items()}
            )

    def delete_topics(self, names: Collection[str]) -> None:
        """Delete topics with all that they hold; one that is gone already is no failure."""
        answers = self.client.delete_topics(list(names), operation_timeout=ANSWER, request_timeout=ANSWER)
        self.settle(answers, accepted={KafkaError.UNKNOWN_TOPIC_OR_PART})

    def empty_topics(self, names: Collection[str]) -> set[str]:
        """Those of the topics that hold no record, not even one of an open transaction."""
        there = self.metadata().topics
        partitions = [
            TopicPartition(name, number) for name in names if name in there for number in there[name].partitions
        ]
        starts = self.offsets(dict.fromkeys(partitions, OffsetSpec.earliest()))  # type: ignore[no-untyped-call]
        ends = self.offsets(dict.fromkeys(partitions, OffsetSpec.latest()))  # type: ignore[no-untyped-call]
        # A partition whose offsets are unknown counts as one that holds a record.
        places = {(one.topic, one.partition) for one in partitions}
        empty = {place for place in places if place in starts and ends.get(place) == starts[place]}
        return {topic for topic, _ in places} - {topic for topic, _ in places - empty}

    def offsets(self, wanted: Mapping[TopicPartition, Any]) -> dict[tuple[str, int], int]:
        """The offset that an OffsetSpec names in each partition; a partition that is gone is left out."""
        if not wanted:
            return {}

        def ask() -> dict[tuple[str, int], int]:
            answers = self.client.list_offsets(dict(wanted), request_timeout=ANSWER)
            found = {}
            for one, answer in answers.items():
                error = answer.exception(2 * ANSWER)
                # Somebody else has removed the topic in the meantime.
                if error is not None and _code(error) != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise error
                if error is None:
                    found[one.topic, one.partition] = answer.result().offset
            return found

        return kafka.when_led(ask, self._renew, ANSWER)

    def _renew(self) -> None:
        """Take a new client: the old one keeps a leader's old epoch."""
        kafka.forget_admin(self.conf)
        self.client = kafka.admin(self.conf)

    def brokers(self) -> tuple[list[int], list[int]]:
        """The numbers of the brokers that are up, and of those that are away and have a replica of some topic."""
        metadata = self.metadata()
        known = set(metadata.brokers)
        for topic in metadata.topics.values():
            known.update(*(partition.replicas for partition in topic.partitions.values()))
        return sorted(metadata.brokers), sorted(known - set(metadata.brokers))

    def _await_brokers(self, number: int) -> None:
        """Wait until there are enough brokers: one that was just restarted counts once the others know of it."""

        def there() -> int:
            return len(self.metadata().brokers)

        if not _await(lambda: there() >= number):
            raise ZadsError(
                f"{number} replicas need as many brokers, and {there()} are up after {SPREAD} s",
                hint="start the missing brokers, or lower topics_night.replication_factor",
            )

    def _await_partitions(self, counts: Mapping[str, int]) -> None:
        def waiting() -> list[str]:
            there = self.metadata().topics
            return [
                name
                for name, count in counts.items()
                if name not in there
                or sum(partition.leader >= 0 for partition in there[name].partitions.values()) < count
            ]

        if not _await(lambda: not waiting()):
            raise ZadsError(f"no leader for every partition of {', '.join(waiting())} after {SPREAD} s")

    # settings of brokers

    def broker_settings(self, number: int) -> tuple[dict[str, str | None], frozenset[str], list[str]]:
        """What a running broker was given, what it can be given, and what all brokers were given together.

        The value of a secret is None.
        """
        resource = ConfigResource(ResourceType.BROKER, str(number))
        (answer,) = self.client.describe_configs([resource], request_timeout=ANSWER).values()
        entries = answer.result(ANSWER).values()
        own, everywhere = (
            {entry.name: entry.value for entry in entries if entry.source == source.value}
            for source in (ConfigSource.DYNAMIC_BROKER_CONFIG, ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG)
        )
        return own, frozenset(entry.name for entry in entries if not entry.is_read_only), sorted(everywhere)

    def set_broker(self, number: int, settings: Mapping[str, str | None]) -> None:
        """Give a running broker settings; None takes one away, so that its file decides again."""
        resource = ConfigResource(ResourceType.BROKER, str(number), incremental_configs=_entries(settings))
        self.settle(self.client.incremental_alter_configs([resource], request_timeout=ANSWER))

    # grants

    def acls(self) -> list[Acl]:
        """Every access control entry of the cluster."""
        anything: Any = None  # its stubs demand text where Kafka takes none for "any"
        everything = AclBindingFilter(
            ResourceType.ANY,
            anything,
            ResourcePatternType.ANY,
            anything,
            anything,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        return [
            _as_acl(binding)
            for binding in self.client.describe_acls(everything, request_timeout=ANSWER).result(2 * ANSWER)
        ]

    def create_acls(self, acls: Collection[Acl]) -> None:
        """Add entries."""
        self.settle(self.client.create_acls([_as_binding(acl, AclBinding) for acl in acls], request_timeout=ANSWER))

    def delete_acls(self, acls: Collection[Acl]) -> None:
        """Remove exactly these entries."""
        self.settle(
            self.client.delete_acls([_as_binding(acl, AclBindingFilter) for acl in acls], request_timeout=ANSWER)
        )


def placed(topic: Topic, up: list[int], away: list[int]) -> list[list[int]]:
    """The brokers of each partition's replicas, the preferred leader's first.

    There are fewer brokers up than replicas. So each partition has a replica on all of them, and the brokers that are
    away get the others in turn.
    """
    missing = topic.replication_factor - len(up)
    found = []
    for partition in range(topic.partitions):
        others = [away[(partition + number) % len(away)] for number in range(missing)]
        at = partition % topic.replication_factor
        found.append([*up, *others][at:] + [*up, *others][:at])
    return found


def passing(error: KafkaException) -> bool:
    """Whether an error is one that a client gets while a broker or the controller moves."""
    return _code(error) in _PASSING


def _await(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true within SPREAD seconds."""
    deadline = time.monotonic() + SPREAD
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


def _entries(settings: Mapping[str, str | None]) -> list[ConfigEntry]:
    """Changes of settings, one by one; None takes a setting away."""
    return [
        ConfigEntry(
            name, value, incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
        )
        for name, value in settings.items()
    ]


def _code(error: BaseException) -> int | None:
    reason = error.args[0] if isinstance(error, KafkaException) else None
    return reason.code() if isinstance(reason, KafkaError) else None


def _as_acl(binding: Any) -> Acl:
    return Acl(
        binding.principal,
        RESOURCE_NAMES.get(binding.restype, binding.restype.name.lower()),
        binding.name,
        binding.resource_pattern_type.name.lower(),
        binding.operation.name.lower(),
        binding.permission_type.name.lower(),
        binding.host,
    )


def _as_binding(acl: Acl, kind: Any) -> Any:
    return kind(
        RESOURCES[acl.resource],
        acl.name,
        ResourcePatternType[acl.pattern.upper()],
        acl.principal,
        acl.host,
        AclOperation[acl.operation.upper()],
        AclPermissionType[acl.permission.upper()],
    )
