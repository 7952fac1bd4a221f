"""A plan in figures, each with one line that says why: what `zads plan` and docs/plan.md show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from zads.plan import measured
from zads.plan.brokers import SiteNeed, partitions_factor
from zads.plan.needs import LEAST_BROKERS, Plan, publishes
from zads.plan.programs import ProgramNeed, worker_ms, workers_a_group
from zads.site.sizes import GIB, MIB
from zads.site.topics import FILTER_DAYS

_DECIMAL = ("", "K", "M", "G", "T", "P")


@dataclass(frozen=True)
class Figure:
    """One figure: the part of the deployment, its name, its value in ``unit``, the value as text, and the reason."""

    part: str
    name: str
    value: float
    unit: str
    shown: str
    because: str


def figures(plan: Plan) -> list[Figure]:
    """Everything that a plan says, in the order in which it follows."""
    return [
        *_stream(plan),
        *(figure for need in plan.sites.values() for figure in _site(plan, need)),
        *_programs(plan),
        *([] if plan.given else _altogether(plan)),
    ]


def amount(value: float, unit: str) -> str:
    """A number of bytes, bits or alerts with its unit, three digits: 1.2 TB, 34.1 MB/s, 2.5 Gbit/s."""
    step = 0 if value < 1 else min(int(math.log10(value) // 3), len(_DECIMAL) - 1)
    return f"{_digits(value / 1000**step)} {_DECIMAL[step]}{unit}"


def memory(value: float) -> str:
    """Bytes of memory: 3.4 GiB, 512 MiB."""
    return f"{_digits(value / GIB)} GiB" if value >= GIB else f"{math.ceil(value / MIB)} MiB"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _percent(part: float) -> str:
    return f"{100 * part:g} %"


def _count(number: float, word: str) -> str:
    return f"{number:,.0f} {word}" + ("" if number == 1 else "s")


def _stream(plan: Plan) -> Iterator[Figure]:
    demand, load, part = plan.demand, plan.demand.load, "stream"
    yield Figure(
        part, "mean", demand.mean, "alerts/s", f"{demand.mean:,.0f} alerts/s",
        f"{load.alerts_night:,} alerts in {load.night_hours:g} hours",
    )  # fmt: skip
    yield Figure(
        part, "peak", load.alerts_second, "alerts/s", f"{load.alerts_second:,.0f} alerts/s",
        f"stated; {_digits(load.alerts_second / demand.mean)} times the mean, and one producer publishes "
        f"{publishes(demand):,.0f}",
    )  # fmt: skip
    yield Figure(
        part, "alert", demand.stored, "bytes", amount(demand.stored, "B"),
        f"a packet of {load.packet_kb:g} KB, compressed to {_percent(measured.STORED)} in batches",
    )  # fmt: skip
    busiest = max(load.programmes.values())
    yield Figure(
        part, "partitions of a night's topic", plan.partitions, "partitions", str(plan.partitions),
        f"{measured.LEAST_PARTITIONS} or more, one or more for each broker, and enough for readers: a process for each "
        f"partition, which decodes {measured.DECODED_RATE:,}/s, is half busy at {busiest * load.alerts_second:,.0f}/s",
    )  # fmt: skip


def _site(plan: Plan, need: SiteNeed) -> Iterator[Figure]:
    yield from _disk(plan, need)
    yield from _pace(plan, need)
    yield from _limits(plan, need)
    site, machine = need.site, plan.machine
    yield Figure(
        site, "brokers", need.brokers, "machines", str(need.brokers),
        "those of the inventory: the figures of a broker are for so many" if plan.given else
        f"the fewest, {max(LEAST_BROKERS, plan.demand.replicas)} or more, of which each fits {machine}",
    )  # fmt: skip
    yield Figure(
        site, "ensemble", measured.MEMBERS, "machines", str(measured.MEMBERS),
        "ZooKeeper: a majority remains when one is away; 2 processors and 2 GiB each",
    )  # fmt: skip


def _disk(plan: Plan, need: SiteNeed) -> Iterator[Figure]:
    demand, site = plan.demand, need.site
    yield Figure(
        site, "a night", need.night, "bytes", amount(need.night, "B"),
        f"{need.alerts_night:,.0f} alerts of {amount(demand.stored, 'B')}, {_percent(demand.part(site))} of all",
    )  # fmt: skip
    filters = ""
    if need.filters_night:
        filters = (
            f", and {FILTER_DAYS} days of what {demand.filters.count} filters pass: "
            f"{amount(need.filters_night, 'B')} a night"
        )
    yield Figure(
        site, "all copies", need.kept, "bytes", amount(need.kept, "B"),
        f"{demand.replicas} copies of {need.nights} nights: {demand.retention_days:g} days, and a night goes when its "
        f"last segment is that old{filters}",
    )  # fmt: skip
    yield Figure(
        site, "disk of a broker", need.disk_each, "bytes", amount(need.disk_each, "B"),
        f"{amount(need.least_disk_each, 'B')}, {_percent(measured.UNEVEN - 1)} more since replicas lie unevenly, and "
        f"{_percent(measured.FREE)} stay free",
    )  # fmt: skip
    yield Figure(
        site, "writes of a broker", need.peak.received / need.brokers, "bytes/s",
        amount(need.peak.received / need.brokers, "B/s"),
        f"{demand.replicas} copies of {need.peak.alerts:,.0f} alerts/s, spread over {_count(need.brokers, 'broker')}",
    )  # fmt: skip


def _pace(plan: Plan, need: SiteNeed) -> Iterator[Figure]:
    demand, site = plan.demand, need.site
    readers = sum(one.count for one in demand.at(site))
    fetching = "the mirror" if site == "origin" else _count(demand.filters.groups, "group") + " of filters"
    yield Figure(
        site, "network of a broker", need.network_each, "bit/s", amount(need.network_each, "bit/s"),
        f"all: in {amount(need.peak.received, 'B/s')}, out {amount(need.peak.sent, 'B/s')} for {demand.replicas - 1} "
        f"followers, {_count(readers, 'reader')}, {fetching} and {need.catching_up} who catch up; the peak takes "
        f"{_percent(measured.BUSY)}",
    )  # fmt: skip
    cost = 1000 * need.peak.processors / need.peak.alerts if need.peak.alerts else 0.0
    more = f", of packets {_digits(demand.weight)} times as large as those measured" if demand.weight > 1 else ""
    if (factor := partitions_factor(need.partitions)) > 1:
        more += f", with {need.partitions} partitions that cost {_digits(factor)} times as much as 6"
    yield Figure(
        site, "processors of a broker", need.processors_each, "processors", str(need.processors_each),
        f"all are busy for {cost:.2g} CPU-ms an alert{more}: {need.peak.processors:.1f} processors at the peak, which "
        f"takes {_percent(measured.BUSY)}; {measured.LEAST_PROCESSORS} or more",
    )  # fmt: skip
    yield Figure(
        site, "heap of a broker", need.heap, "bytes", memory(need.heap),
        f"{need.connections:,} connections of readers at {measured.CONNECTION_HEAP >> 10} KiB take an eighth at most; "
        f"{memory(measured.LEAST_HEAP)} or more",
    )  # fmt: skip
    yield Figure(
        site, "memory of a broker", need.memory_each, "bytes", memory(need.memory_each),
        f"Java ({measured.RESIDENT:g} times its heap), the system, and {memory(need.cached / need.brokers)} of page "
        f"cache: a reader who is {measured.CACHED_SECONDS // 3600} h behind still reads from memory",
    )  # fmt: skip


def _limits(plan: Plan, need: SiteNeed) -> Iterator[Figure]:
    site = need.site
    yield Figure(
        site, "limit of a reader", need.reader_limit, "bytes/s", amount(need.reader_limit, "B/s"),
        f"enough for all that the site has at the peak, and for a whole night in {measured.CATCH_UP_HOURS} hours",
    )  # fmt: skip
    yield Figure(
        site, "replicas of a broker", need.replicas_each, "replicas", f"{need.replicas_each:,}",
        f"{need.nights + 1} nights of {_count(len(plan.demand.programmes(site)), 'programme')} with {need.partitions} "
        f"partitions, filters and internal topics, {plan.demand.replicas} copies; at most {measured.BROKER_REPLICAS:,}",
    )  # fmt: skip
    yield Figure(
        site, "open files of a broker", need.files_each, "files", f"{need.files_each:,}",
        "one of each segment, which ends after 6 h or 1 GiB (kafka_open_files); connections come on top",
    )  # fmt: skip


def _programs(plan: Plan) -> Iterator[Figure]:
    demand, load = plan.demand, plan.demand.load
    yield from _program(
        "producer", plan.producer,
        f"{measured.PRODUCER_MS} CPU-ms an alert at the peak",
        f"{memory(measured.PRODUCER_MEMORY)}, and {memory(measured.PRODUCER_MILLION)} for each million alerts of "
        f"{measured.PRODUCER_DAYS} days (producer_memory)",
    )  # fmt: skip
    yield Figure(
        "producer", "spool", plan.producer.disk, "bytes", amount(plan.producer.disk, "B"),
        f"{load.alerts_night:,} packets of {load.packet_kb:g} KB wait there if the origin is away for a night",
    )  # fmt: skip
    yield Figure(
        "mirror", "link between the sites", 8 * plan.mirror.network / measured.BUSY, "bit/s",
        amount(8 * plan.mirror.network / measured.BUSY, "bit/s"),
        f"{demand.peak('public'):,.0f} alerts/s of {amount(demand.stored, 'B')}; the peak takes "
        f"{_percent(measured.BUSY)}",
    )  # fmt: skip
    yield Figure(
        "mirror", "tasks", plan.mirror.processes, "tasks", str(plan.mirror.processes),
        f"one passes {measured.THREAD_RATE:,} alerts/s of 66 KB and is to be half busy (mirrormaker_tasks)",
    )  # fmt: skip
    yield from _program(
        "mirror", plan.mirror,
        f"{measured.MIRROR_MS} CPU-ms an alert at the peak",
        f"a heap of {memory(measured.MIRROR_TASK_HEAP)} for each task, {measured.MIRROR_RESIDENT:g} times that in all "
        "(mirrormaker_memory)",
    )  # fmt: skip
    if demand.filters.groups:
        yield Figure(
            "workers", "of a group", workers_a_group(demand), "workers", str(workers_a_group(demand)),
            f"{worker_ms(demand):.2g} CPU-ms an alert for a group's filters and owners; each worker is to be half busy "
            "(filter_groups)",
        )  # fmt: skip
        yield from _program(
            "workers", plan.workers,
            f"each of {_count(demand.filters.groups, 'group')} reads the whole public stream",
            f"{_count(plan.workers.processes, 'worker')} with a sandbox and its owners' processes",
        )  # fmt: skip


def _program(part: str, need: ProgramNeed, work: str, keeps: str) -> Iterator[Figure]:
    busy = max(measured.LEAST_PROCESSORS, math.ceil(need.processors / measured.BUSY))
    yield Figure(
        part, "processors", busy, "processors", str(busy),
        f"{work}: {need.processors:.2g} processors, of which the peak takes {_percent(measured.BUSY)}",
    )  # fmt: skip
    yield Figure(part, "memory", need.memory, "bytes", memory(need.memory), keeps)


def _altogether(plan: Plan) -> Iterator[Figure]:
    brokers = " + ".join(str(one.brokers) for one in plan.sites.values())
    yield Figure(
        "altogether", "machines", plan.machines, "machines", str(plan.machines),
        f"{brokers} brokers, {len(plan.sites)} ensembles of {measured.MEMBERS}, {plan.producer.machines} producer, "
        f"{plan.mirror.machines} mirrors of which each can do it alone, {plan.workers.machines} for workers",
    )  # fmt: skip
