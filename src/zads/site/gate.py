"""Decides whether a broker may go down now, and whether it is back.

This is the dangerous decision of every rolling operation. It is made by pure functions of a described cluster, so that
a table of cases can test it. The rule for each partition is that of Strimzi's KafkaAvailability: a broker may go down
only if every partition that it holds keeps at least ``min.insync.replicas`` replicas in sync without it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from zads.errors import some

_NAMED = 5  # partitions named in one reason: a broker holds hundreds, and a few of them show where to look


@dataclass(frozen=True)
class PartitionState:
    """One partition as the cluster's metadata describes it.

    ``leader`` is None when the partition is offline; ``replicas`` are in order of preference, its first being the
    preferred leader; ``isr`` are the replicas in sync.
    """

    topic: str
    number: int
    leader: int | None
    replicas: tuple[int, ...]
    isr: frozenset[int]

    def __str__(self) -> str:
        return f"{self.topic}-{self.number}"


@dataclass(frozen=True)
class Cluster:
    """What the gate needs to know: the registered brokers, the controller, all partitions, each topic's minimum."""

    brokers: frozenset[int]
    controller: int | None
    partitions: tuple[PartitionState, ...]
    min_insync: Mapping[str, int] = field(default_factory=dict)

    def holds(self, broker: int) -> list[PartitionState]:
        """The partitions that have a replica on this broker."""
        return [partition for partition in self.partitions if broker in partition.replicas]


def may_stop(broker: int, cluster: Cluster, expected: Iterable[int] = ()) -> list[str]:
    """Reasons why ``broker`` may not go down now; if there are none, it may.

    ``expected`` are the brokers that the inventory names: while another of them is away, ``broker`` may not leave, even
    if all partitions would allow it. A broker that is already away may be stopped, since it serves nothing. Partitions
    with no more replicas than their minimum are not considered: no order of restarts can keep them writable.
    """
    if broker not in cluster.brokers:
        return []
    reasons = []
    if away := sorted(set(expected) - cluster.brokers - {broker}):
        reasons.append(f"already away: {_brokers(away)}")
    offline, short = [], []
    for partition in cluster.holds(broker):
        minimum = cluster.min_insync.get(partition.topic, 1)
        if partition.leader is None:
            offline.append(str(partition))
        elif len(partition.replicas) > minimum and len(partition.isr - {broker}) < minimum:
            short.append(f"{partition} (in sync {_list(partition.isr)}, minimum {minimum})")
    if offline:
        reasons.append(f"offline: {some(offline, _NAMED)}")
    if short:
        reasons.append(f"too few replicas in sync without broker {broker}: {some(short, _NAMED)}")
    return reasons


def not_recovered(broker: int, cluster: Cluster) -> list[str]:
    """Reasons why ``broker`` is not fully back: it is not registered, or a partition lacks replicas in sync."""
    if broker not in cluster.brokers:
        return [f"broker {broker} is not registered"]
    behind = [
        f"{partition} (in sync {_list(partition.isr)} of {_list(partition.replicas)})"
        for partition in cluster.partitions
        if not partition.isr >= set(partition.replicas)
    ]
    return [f"replicas still behind: {some(behind, _NAMED)}"] if behind else []


def misplaced(cluster: Cluster) -> list[PartitionState]:
    """Partitions whose preferred leader is in sync but does not lead: a preferred election would move them."""
    return [
        partition
        for partition in cluster.partitions
        if partition.replicas
        and partition.leader not in (None, partition.replicas[0])
        and partition.replicas[0] in partition.isr
    ]


def _brokers(numbers: list[int]) -> str:
    return ("broker " if len(numbers) == 1 else "brokers ") + _list(numbers)


def _list(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in sorted(numbers)) or "none"
