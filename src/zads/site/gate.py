"""Decides whether a broker may go down now, and whether it is back.

This is the dangerous decision of every rolling operation. It is made by pure functions of a described cluster, so that
a table of cases can test it. The rule for each partition is that of Strimzi's KafkaAvailability: a broker may go down
only if every partition that it holds keeps at least ``min.insync.replicas`` replicas in sync without it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from zads.errors import some
from zads.site.broker_requests import LogDirectory, Reassignment

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
    """What the gate needs to know about a cluster.

    These are the registered brokers, the controller, all partitions, each topic's minimum of replicas in sync, the log
    directories of each broker, and the reassignments that are under way.
    """

    brokers: frozenset[int]
    controller: int | None
    partitions: tuple[PartitionState, ...]
    min_insync: Mapping[str, int] = field(default_factory=dict)
    directories: Mapping[int, Iterable[LogDirectory]] = field(default_factory=dict)
    reassignments: tuple[Reassignment, ...] = ()

    def holds(self, broker: int) -> list[PartitionState]:
        """The partitions that have a replica on this broker."""
        return [partition for partition in self.partitions if broker in partition.replicas]


@dataclass(frozen=True)
class Operation:
    """The rolling operation that asks.

    ``expected`` are the brokers that the inventory names, ``later`` those that the operation restarts after this one.
    ``doing`` says what the host of a broker reports of it, for brokers that are away. ``free_percent`` is the least
    free space of every disk.
    """

    expected: frozenset[int] = frozenset()
    later: frozenset[int] = frozenset()
    doing: Mapping[int, str] = field(default_factory=dict)
    free_percent: int = 0


def may_stop(broker: int, cluster: Cluster, operation: Operation) -> list[str]:
    """Reasons why ``broker`` may not go down now; if there are none, it may.

    While another expected broker is away, ``broker`` may not leave, even if all partitions would allow it. A broker
    that is already away may be stopped, since it serves nothing. Partitions with no more replicas than their minimum
    are not considered: no order of restarts can keep them writable.
    """
    if broker not in cluster.brokers:
        return []
    reasons = _away(cluster, operation, {broker}) + _controller(broker, cluster, operation.later)
    if cluster.reassignments:
        reasons.append(f"a reassignment is running: {some([str(one) for one in cluster.reassignments], _NAMED)}")
    reasons += _disks(cluster, operation.free_percent)
    return reasons + _partitions(broker, cluster)


def may_replace(broker: int, cluster: Cluster, operation: Operation) -> list[str]:
    """Reasons why ``broker`` may not lose its data now; if there are none, it may.

    As `may_stop`, with three differences. The broker may be away already, and then the others must be whole. Its own
    disks do not matter. And every partition that it holds must have another replica in sync, whatever its minimum.
    """
    others = {number: disks for number, disks in cluster.directories.items() if number != broker}
    seen = replace(cluster, brokers=cluster.brokers | {broker}, directories=others)
    asked = replace(operation, later=frozenset(), expected=operation.expected - {broker})
    only = [str(partition) for partition in cluster.holds(broker) if not partition.isr - {broker}]
    reasons = may_stop(broker, seen, asked)
    return [*reasons, f"no other replica is in sync: {some(only, _NAMED)}"] if only else reasons


def may_start_empty(broker: int, cluster: Cluster) -> list[str]:
    """Reasons why ``broker`` may not start without its data; if there are none, it may.

    An empty broker that still counts as in sync may become a partition's leader, and the others then delete what it
    does not have. So each of its partitions must have a leader, and the broker must not count as in sync.
    """
    reasons = [f"still registered: {_brokers([broker])}"] if broker in cluster.brokers else []
    held = cluster.holds(broker)
    if offline := [str(one) for one in held if one.leader is None]:
        reasons.append(f"offline, so that the lost data may be the only ones: {some(offline, _NAMED)}")
    if counted := [str(one) for one in held if broker in one.isr]:
        reasons.append(f"still counted as in sync: {some(counted, _NAMED)}")
    return reasons


def may_move(cluster: Cluster, operation: Operation, leaving: frozenset[int] = frozenset()) -> list[str]:
    """Reasons why no replica may be copied to another broker now; if there are none, it may.

    ``leaving`` are the brokers that lose all replicas, and may be away. All others must be up and in sync.
    """
    reasons = _away(cluster, operation, set(leaving))
    if cluster.controller not in cluster.brokers:
        reasons.append("no broker is the controller")
    stay = {broker: disks for broker, disks in cluster.directories.items() if broker not in leaving}
    reasons += _disks(replace(cluster, directories=stay), operation.free_percent)
    if offline := [str(one) for one in cluster.partitions if one.leader is None]:
        reasons.append(f"offline: {some(offline, _NAMED)}")
    behind = [
        f"{one} (in sync {_list(one.isr)} of {_list(one.replicas)})"
        for one in cluster.partitions
        if not one.isr >= set(one.replicas) - leaving
    ]
    return [*reasons, f"replicas still behind: {some(behind, _NAMED)}"] if behind else reasons


def _away(cluster: Cluster, operation: Operation, but: set[int]) -> list[str]:
    away = sorted(operation.expected - cluster.brokers - but)
    return [f"already away: {_brokers(away, operation.doing)}"] if away else []


def _controller(broker: int, cluster: Cluster, later: Iterable[int]) -> list[str]:
    if cluster.controller not in cluster.brokers:
        return ["no broker is the controller"]
    waiting = sorted(set(later) - {broker})
    if broker == cluster.controller and waiting:
        return [f"broker {broker} is the controller and has to be the last: {_brokers(waiting)} must restart before it"]
    return []


def _disks(cluster: Cluster, free_percent: int) -> list[str]:
    failed, full = [], []
    for broker, directories in sorted(cluster.directories.items()):
        for one in directories:
            where = f"{one.path} of broker {broker}"
            if not one.usable:
                failed.append(where)
            elif one.total > 0 and one.free * 100 < one.total * free_percent:
                full.append(f"{where} has {one.free * 100 // one.total} % free ({one.free >> 20} MB)")
    reasons = [f"the broker cannot use its disk: {some(failed, _NAMED)}"] if failed else []
    if full:
        reasons.append(f"a disk is nearly full: {some(full, _NAMED)}, {free_percent} % is the least")
    return reasons


def _partitions(broker: int, cluster: Cluster) -> list[str]:
    offline, short = [], []
    for partition in cluster.holds(broker):
        minimum = cluster.min_insync.get(partition.topic, 1)
        if partition.leader is None:
            offline.append(str(partition))
        elif len(partition.replicas) > minimum and len(partition.isr - {broker}) < minimum:
            short.append(f"{partition} (in sync {_list(partition.isr)}, minimum {minimum})")
    reasons = [f"offline: {some(offline, _NAMED)}"] if offline else []
    if short:
        reasons.append(f"too few replicas in sync without broker {broker}: {some(short, _NAMED)}")
    return reasons


def not_recovered(broker: int, cluster: Cluster, doing: Mapping[int, str] | None = None) -> list[str]:
    """Reasons why ``broker`` is not fully back: it is not registered, or a partition lacks replicas in sync.

    ``doing`` says what the host of a broker reports of it.
    """
    if broker not in cluster.brokers:
        return [f"not registered: {_brokers([broker], doing)}"]
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


def _brokers(numbers: list[int], doing: Mapping[int, str] | None = None) -> str:
    said = [f"{number} ({what})" if (what := (doing or {}).get(number)) else str(number) for number in numbers]
    return ("broker " if len(numbers) == 1 else "brokers ") + ", ".join(said)


def _list(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in sorted(numbers)) or "none"
