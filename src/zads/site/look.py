"""A site's Kafka as its gate sees it: brokers, partitions, disks and reassignments, asked of the brokers now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public names that its stubs forget to export
    ConfigResource,
    ResourceType,
)

from zads.site import broker_requests, gate
from zads.site.broker_requests import Place

ANSWER = 10  # seconds that a broker has to answer one request
Addresses = dict[int, tuple[str, int]]


def describe(client: Any) -> tuple[gate.Cluster, Addresses]:
    """The cluster as its metadata describe it, and the address of each broker. Raises KafkaException."""
    metadata = client.list_topics(timeout=ANSWER)
    names = list(metadata.topics)
    minimum = {}
    if names:
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        for resource, future in client.describe_configs(resources, request_timeout=ANSWER).items():
            minimum[resource.name] = int(future.result()["min.insync.replicas"].value)
    partitions = tuple(
        gate.PartitionState(
            name,
            number,
            partition.leader if partition.leader >= 0 else None,
            tuple(partition.replicas),
            frozenset(partition.isrs),
        )
        for name, topic in metadata.topics.items()
        for number, partition in topic.partitions.items()
    )
    addresses = {number: (broker.host, broker.port) for number, broker in metadata.brokers.items()}
    return gate.Cluster(frozenset(addresses), metadata.controller_id, partitions, minimum), addresses


def describe_all(client: Any, conf: Mapping[str, str]) -> tuple[gate.Cluster, Addresses]:
    """As `describe`, with disks and reassignments.

    Raises KafkaException, or ZadsError if a registered broker does not answer.
    """
    cluster, addresses = describe(client)
    moving = []
    if cluster.controller in addresses:
        moving = broker_requests.reassignments(conf, *addresses[cluster.controller], ANSWER)
    directories = {
        number: tuple(broker_requests.log_directories(conf, *address, ANSWER)) for number, address in addresses.items()
    }
    # Partitions again, after the reassignments: one that has ended in between is seen as one that still runs, not as a
    # partition that lacks replicas.
    cluster, addresses = describe(client)
    whole = gate.Cluster(
        cluster.brokers, cluster.controller, cluster.partitions, cluster.min_insync, directories, tuple(moving)
    )
    return whole, addresses


def sizes(conf: Mapping[str, str], addresses: Addresses) -> dict[int, dict[Place, int]]:
    """The bytes of each replica on each broker. Raises ZadsError if a broker does not answer."""
    return {number: broker_requests.replica_sizes(conf, *address, ANSWER) for number, address in addresses.items()}
