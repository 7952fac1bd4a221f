"""How a cluster's topics are replicated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public names that its stubs forget to export
    ConfigResource,
    ResourceType,
)

from zads import kafka
from zads.reading import ANSWER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True)
class TopicState:
    """How a topic is replicated: ``under_replicated`` counts partitions with fewer in-sync replicas than replicas."""

    topic: str
    partitions: int
    replication_factor: int
    min_insync_replicas: int
    under_replicated: int
    leaderless: int


def describe(conf: Mapping[str, str], wanted: Callable[[str], bool]) -> list[TopicState]:
    """The replication of every topic whose name is `wanted`, by name.

    Raises confluent_kafka.KafkaException if the cluster does not answer.
    """
    admin = kafka.admin(conf)
    metadata = admin.list_topics(timeout=ANSWER_SECONDS)
    found = {name: about for name, about in metadata.topics.items() if wanted(name) and about.error is None}
    minimum = _min_insync(admin, sorted(found))
    return [
        TopicState(
            topic=name,
            partitions=len(about.partitions),
            replication_factor=min((len(p.replicas) for p in about.partitions.values()), default=0),
            min_insync_replicas=minimum.get(name, 0),
            under_replicated=sum(len(p.isrs) < len(p.replicas) for p in about.partitions.values()),
            leaderless=sum(p.leader < 0 for p in about.partitions.values()),
        )
        for name, about in sorted(found.items())
    ]


def _min_insync(admin: Any, names: Sequence[str]) -> dict[str, int]:
    if not names:
        return {}
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    answers = admin.describe_configs(asked, request_timeout=ANSWER_SECONDS)
    return {
        resource.name: int(answer.result(2 * ANSWER_SECONDS)["min.insync.replicas"].value)
        for resource, answer in answers.items()
    }
