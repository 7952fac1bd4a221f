"""Whether a deployment has what a plan needs: what cannot hold is refused, what is tight is a warning.

Each sentence names the variable or the fact, what the plan needs, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from zads.plan import measured
from zads.plan.figures import amount, memory
from zads.plan.load import Demand
from zads.plan.needs import Plan, publishes
from zads.plan.programs import tasks, workers_a_group
from zads.site.policy import SITES, Policy, Site
from zads.site.sizes import MIB, size

_DAY_HOURS = 24


@dataclass
class Verdict:
    """What cannot hold, and what is tight, as sentences."""

    refused: list[str] = field(default_factory=list)
    tight: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Disk:
    """A directory's file system: its device, and the bytes that it offers."""

    device: int
    bytes: int


@dataclass(frozen=True)
class Facts:
    """What a host is: processors, bytes of memory, bits a second (0 if unknown), and the disks by directory."""

    processors: int
    memory: float
    network: float
    disks: Mapping[str, Disk]


@dataclass(frozen=True)
class Host:
    """A host of an inventory: its groups, and those settings that are known, by the names of the roles' variables."""

    groups: frozenset[str]
    settings: Mapping[str, object]
    count: Mapping[str, int]  # of the hosts in each group

    @property
    def broker_of(self) -> Site | None:
        """The site that it is a broker of."""
        return next((site for site in SITES if f"{site}_kafka" in self.groups), None)


def of_demand(demand: Demand) -> Verdict:
    """What no machine can mend: a pace beyond the one thread that all alerts go through."""
    found, limit = Verdict(), publishes(demand)
    hours = demand.load.alerts_night / limit / 3600
    if hours > _DAY_HOURS:
        found.refused.append(
            f"survey_load.alerts_night: one producer publishes {limit:,.0f} alerts/s at most and needs {hours:.0f} "
            "hours for a night: it would never catch up"
        )
    elif demand.load.alerts_second > limit:
        found.tight.append(
            f"survey_load.alerts_second: one producer publishes {limit:,.0f} alerts/s at most: at the peak of "
            f"{demand.load.alerts_second:,.0f} alerts wait in the spool"
        )
    return found


def of_policy(plan: Plan, policy: Policy) -> Verdict:
    """Compare the plan with the inventory's data about topics and filters."""
    found = Verdict()
    if policy.topics_night.partitions < plan.partitions:
        found.tight.append(
            f"topics_night.partitions: is {policy.topics_night.partitions}, and the plan has {plan.partitions}: a "
            "reader with one process for each partition may fall behind at the peak"
        )
    wanted = workers_a_group(plan.demand)
    for name in policy.groups():
        have = policy.filter_groups[name].workers
        if have < wanted:
            found.tight.append(f"filter_groups.{name}.workers: is {have}, and the peak needs {wanted}")
    for need in plan.sites.values():
        if need.replicas_each > measured.BROKER_REPLICAS:
            found.refused.append(
                f"topics_night.partitions: each of {need.brokers} brokers of {need.site}_kafka would hold "
                f"{need.replicas_each:,} replicas of partitions, and {measured.BROKER_REPLICAS:,} are the most: write "
                "fewer, or add brokers"
            )
    return found


def of_settings(plan: Plan, host: Host) -> Verdict:
    """Compare the plan with a host's variables. A setting that is not known is not compared."""
    found = Verdict()
    if site := host.broker_of:
        need = plan.sites[site]
        _at_least(found, host, "kafka_heap", need.heap)
        files = _number(found, host, "kafka_open_files")
        if files is not None and files < need.files_each:
            found.refused.append(
                f"kafka_open_files: is {files}, and a broker has {need.files_each:,} files open: write "
                f"{2 * need.files_each} or more"
            )
    if "producers" in host.groups:
        _at_least(found, host, "producer_memory", plan.producer.memory)
    if "mirrors" in host.groups:
        _at_least(found, host, "mirrormaker_memory", plan.mirror.memory)
        threads, wanted = _number(found, host, "mirrormaker_tasks"), tasks(plan.demand)
        if threads is not None and threads < wanted:
            found.tight.append(f"mirrormaker_tasks: is {threads}, and the peak needs {wanted}")
    return found


def _number(found: Verdict, host: Host, name: str) -> int | None:
    """A setting that is a number; None if it is not known, or is none, which is refused."""
    value = host.settings.get(name)
    try:
        return None if value is None else int(str(value))
    except ValueError:
        found.refused.append(f"{name}: {value!r} cannot be used: write a whole number")
        return None


def _at_least(found: Verdict, host: Host, name: str, need: float) -> None:
    value = host.settings.get(name)
    if value is None:
        return
    try:
        have = size(value)
    except ValueError as error:
        found.refused.append(f"{name}: {error}")
        return
    if have < need:
        found.tight.append(f"{name}: is {value}, and the plan needs {memory(need)}")


def of_facts(plan: Plan, host: Host, facts: Facts, data: Iterable[str], spool: str) -> Verdict:
    """Compare the plan with what a host is.

    ``data`` are a broker's directories (kafka_data), ``spool`` is the producer's.
    """
    found = Verdict()
    if site := host.broker_of:
        _disks(found, plan, site, [facts.disks[path] for path in data if path in facts.disks])
    if "producers" in host.groups and spool in facts.disks and facts.disks[spool].bytes < plan.producer.disk:
        found.tight.append(
            f"{spool} has room for {amount(facts.disks[spool].bytes, 'B')}, and a night has "
            f"{amount(plan.producer.disk, 'B')} of packets: if the origin is away for a night, the disk fills up"
        )
    parts = _parts(plan, host)
    _memory(found, facts, parts)
    _pace(found, plan, facts, parts)
    return found


@dataclass(frozen=True)
class _Part:
    """What one daemon or program of a host needs: processors and bytes a second at the peak, bytes of memory."""

    processors: float
    network: float
    memory: float
    cache: float = 0.0


def _parts(plan: Plan, host: Host) -> list[_Part]:
    parts = []
    if site := host.broker_of:
        need = plan.sites[site]
        heap = max(float(need.heap), _size(host, "kafka_heap"))
        network = max(need.peak.received, need.peak.sent) / need.brokers
        cache = need.cached / need.brokers
        parts.append(_Part(need.peak.processors / need.brokers, network, heap * measured.RESIDENT, cache))
    if "zookeeper" in host.groups:
        parts.append(_Part(0.0, 0.0, _size(host, "zookeeper_heap") * measured.RESIDENT))
    if "producers" in host.groups:
        parts.append(_Part(plan.producer.processors, plan.producer.network, plan.producer.memory))
    if "mirrors" in host.groups:
        parts.append(_Part(plan.mirror.processors, plan.mirror.network, plan.mirror.memory))
    if "workers" in host.groups:
        share = 1 / max(1, host.count.get("workers", 1))
        need_all = plan.workers
        parts.append(_Part(need_all.processors * share, need_all.network * share, need_all.memory * share))
    return parts


def _size(host: Host, name: str) -> float:
    try:
        return float(size(host.settings[name]))
    except (KeyError, ValueError):
        return 0.0


def _disks(found: Verdict, plan: Plan, site: Site, disks: list[Disk]) -> None:
    """Kafka gives every directory as many replicas as the others: the fullest disk bounds all."""
    if not disks:
        return
    devices = {one.device: one.bytes for one in disks}
    shares = {device: sum(one.device == device for one in disks) / len(disks) for device in devices}
    have = min(devices[device] / share for device, share in shares.items())
    need = plan.sites[site]
    remedy = "add disks to kafka_data, add brokers, or lower topics_night.retention_days"
    room = f"kafka_data has room for {amount(have, 'B')}"
    if have < need.least_disk_each:
        found.refused.append(
            f"{room}, and {plan.demand.retention_days:g} days of alerts take {amount(need.least_disk_each, 'B')} of "
            f"each broker: {remedy}"
        )
    elif have < need.disk_each:
        found.tight.append(f"{room}, and the plan has {amount(need.disk_each, 'B')}: {remedy}")


def _memory(found: Verdict, facts: Facts, parts: list[_Part]) -> None:
    least = sum(part.memory for part in parts)
    whole = least + sum(part.cache for part in parts) + measured.SYSTEM_MEMORY
    if not parts:
        return
    have = f"it has {memory(facts.memory)} of memory"
    if facts.memory < least:
        found.refused.append(
            f"{have}, and its daemons and programs need {memory(least)}: give it more, or smaller heaps"
        )
    elif facts.memory < whole * (1 - measured.FREE):
        found.tight.append(
            f"{have}, and the plan has {memory(whole)}: readers who are behind make its disks read, and slow the others"
        )


def _pace(found: Verdict, plan: Plan, facts: Facts, parts: list[_Part]) -> None:
    """Processors and network: the night's mean must not overload them, the peak should leave half of them."""
    slower = plan.demand.mean / plan.demand.load.alerts_second
    busy, network = sum(part.processors for part in parts), 8 * sum(part.network for part in parts)
    pairs: list[tuple[float, float, str, str]] = [
        (busy, facts.processors, f"{facts.processors} processors", f"{busy:.1f} processors")
    ]
    if facts.network:
        pairs.append((network, facts.network, amount(facts.network, "bit/s"), amount(network, "bit/s")))
    for peak, have, what, needed in pairs:
        if peak * slower > have:
            found.refused.append(
                f"it has {what}, and the night's mean takes {100 * peak * slower / have:.0f} % of that: move programs "
                "to other hosts, or add hosts"
            )
        elif peak > have * measured.BUSY:
            found.tight.append(
                f"it has {what}, and the peak takes {needed}, over {100 * measured.BUSY:.0f} %: alerts are late then"
            )


def facts_of(told: Mapping[str, object]) -> Facts:
    """Facts as the module host_facts gives them."""
    disks = told.get("disks") or {}
    assert isinstance(disks, Mapping)
    return Facts(
        int(str(told["processors"])),
        float(str(told["memory_mb"])) * MIB,
        float(str(told["network_mbit"])) * 1e6,
        {path: Disk(int(one["device"]), int(one["bytes"])) for path, one in disks.items()},
    )
