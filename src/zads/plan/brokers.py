"""What the brokers of a site need: disk, network, memory, processors, and places for partitions and files."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zads.plan import measured
from zads.plan.load import Demand
from zads.plan.machine import Machine
from zads.plan.programs import workers_a_group
from zads.site.policy import Site
from zads.site.sizes import GIB
from zads.site.topics import FILTER_DAYS, SEGMENT_MS

_SEGMENT_DAYS = SEGMENT_MS / 86_400_000
_SPARE_NIGHTS = 1  # the topics of a coming night, which exist before it


@dataclass(frozen=True)
class Flow:
    """A pace (alerts a second) at a site, and what it costs all its brokers: bytes a second in and out, processors."""

    alerts: float
    received: float
    sent: float
    processors: float


@dataclass(frozen=True)
class SiteNeed:
    """What the brokers of a site need, all together unless a name ends in ``_each``.

    ``night`` and ``filters_night`` are the bytes of one copy of a night and of what the filters pass of it. ``kept``
    are the bytes of all copies of ``nights`` nights, ``cached`` those that readers get from memory. ``connections`` are
    the readers' to each broker, ``replicas`` those of partitions; ``reader_limit`` is in bytes a second.
    """

    site: Site
    brokers: int
    partitions: int
    alerts_night: float
    night: float
    nights: int
    filters_night: float
    kept: float
    peak: Flow
    mean: Flow
    connections: int
    cached: float
    replicas: int
    files: float
    reader_limit: float
    catching_up: int

    @property
    def disk_each(self) -> float:
        """The size of a broker's disks: what it keeps if replicas lie unevenly, and what stays free."""
        return self.least_disk_each * measured.UNEVEN / (1 - measured.FREE)

    @property
    def least_disk_each(self) -> float:
        """What a broker keeps on its disks if replicas lie evenly."""
        return self.kept / self.brokers

    @property
    def processors_each(self) -> int:
        """Processors of a broker, of which the peak takes a half."""
        return max(measured.LEAST_PROCESSORS, math.ceil(self.peak.processors / self.brokers / measured.BUSY))

    @property
    def network_each(self) -> float:
        """Bits a second of a broker's network, of which the peak takes a half."""
        return 8 * max(self.peak.received, self.peak.sent) / self.brokers / measured.BUSY

    @property
    def heap(self) -> int:
        """The heap of a broker in bytes, whole GiB."""
        wanted = self.connections * measured.CONNECTION_HEAP * measured.HEAP_PARTS
        return math.ceil(max(measured.LEAST_HEAP, wanted) / GIB) * GIB

    @property
    def memory_each(self) -> float:
        """The memory of a broker's machine: Java, the system, and the part of the stream that is read from memory."""
        return self.heap * measured.RESIDENT + measured.SYSTEM_MEMORY + self.cached / self.brokers

    @property
    def replicas_each(self) -> int:
        """Replicas of partitions on a broker."""
        return math.ceil(self.replicas / self.brokers)

    @property
    def files_each(self) -> int:
        """Files that a broker has open."""
        return math.ceil(self.files * measured.UNEVEN / self.brokers)

    def fits(self, machine: Machine) -> bool:
        """Whether a machine holds one of these brokers."""
        return (
            self.disk_each <= machine.disk_tb * 1e12
            and self.processors_each <= machine.processors
            and self.network_each <= machine.network_gbit * 1e9
            and self.memory_each <= machine.memory_gib * GIB
            and self.replicas_each <= measured.BROKER_REPLICAS
        )


def partitions_factor(partitions: int) -> float:
    """How many times as much an alert costs with this many partitions as with six; beyond 64 nothing was measured."""
    cost = np.interp(np.log2(partitions), np.log2(measured.PARTITIONS), measured.PARTITIONS_MS)
    return max(1.0, float(cost) / measured.PARTITIONS_MS[1])


def site_need(demand: Demand, site: Site, brokers: int, partitions: int) -> SiteNeed:
    """What a demand needs of a site that has so many brokers, and so many partitions in a night's topic."""
    part, load = demand.part(site), demand.load
    night = load.alerts_night * part * demand.stored
    filters = demand.filters.count if site == "public" else 0
    filters_night = night * filters * load.filter_part
    nights = _nights(demand.retention_days)
    readers = list(demand.at(site))
    clients = sum(one.count for one in readers)
    catching_up = min(load.catching_up, clients)
    seconds = load.night_hours * 3600
    return SiteNeed(
        site=site,
        brokers=brokers,
        partitions=partitions,
        alerts_night=load.alerts_night * part,
        night=night,
        nights=nights,
        filters_night=filters_night,
        kept=(night * nights + filters_night * _nights(FILTER_DAYS)) * demand.replicas,
        peak=_flow(demand, site, load.alerts_second, partitions, catching_up),
        mean=_flow(demand, site, demand.mean, partitions, 0),
        connections=2 * clients * partitions + 2 * demand.filters.owners,
        cached=demand.replicas * (night + filters_night) * min(1.0, measured.CACHED_SECONDS / seconds),
        replicas=_topic_partitions(demand, site, nights, partitions, filters) * demand.replicas,
        files=_segments(demand, site, nights, partitions, filters, night) * demand.replicas,
        reader_limit=_reader_limit(demand, site),
        catching_up=catching_up,
    )


def _nights(days: float) -> int:
    """The nights that are on the disks at once: a night goes when its last segment is so many days old."""
    return math.floor(days + _SEGMENT_DAYS) + 1


def _catch_up_rate(demand: Demand, site: Site) -> float:
    """Alerts a second of a reader who reads a whole night of a site in CATCH_UP_HOURS."""
    return demand.load.alerts_night * demand.part(site) / (measured.CATCH_UP_HOURS * 3600)


def _reader_limit(demand: Demand, site: Site) -> float:
    """Bytes a second that suffice for a reader of everything at the peak, and for one who catches up."""
    return max(demand.peak(site), _catch_up_rate(demand, site)) * demand.stored * measured.FETCHED


def _flow(demand: Demand, site: Site, pace: float, partitions: int, catching_up: int) -> Flow:
    """What a pace (alerts a second of all programmes) means for the brokers of a site."""
    alerts, size = pace * demand.part(site), demand.stored
    filters = demand.filters.count * demand.load.filter_part if site == "public" else 0.0
    written = alerts * size * (1 + filters)
    read = sum(one.count * demand.read(one) for one in demand.at(site)) * pace
    read += catching_up * _catch_up_rate(demand, site)
    if site == "origin":
        programs = pace * demand.part("public")
        cost = alerts * measured.ORIGIN_MS
    else:
        programs = alerts * (demand.filters.groups + filters)
        more = max(0, demand.filters.groups * workers_a_group(demand) - 1)
        cost = alerts * (measured.PUBLIC_MS + more * measured.WORKER_MS)
    cost += alerts * (demand.replicas - 3) * measured.FOLLOWER_MS + read * measured.READER_MS
    busy = cost / 1000 * demand.weight * partitions_factor(partitions)
    sent = written * (demand.replicas - 1) + (read + programs) * size * measured.FETCHED
    return Flow(alerts, written * demand.replicas, sent, busy)


def _topic_partitions(demand: Demand, site: Site, nights: int, partitions: int, filters: int) -> int:
    topics = (nights + _SPARE_NIGHTS) * len(demand.programmes(site))
    return topics * partitions + filters + measured.INTERNAL_PARTITIONS


def _segments(demand: Demand, site: Site, nights: int, partitions: int, filters: int, night: float) -> float:
    """Segments of one copy of a site's topics: each begins by time (SEGMENT_MS) or by size."""
    topics = (nights + _SPARE_NIGHTS) * len(demand.programmes(site))
    by_time = demand.load.night_hours / 24 / _SEGMENT_DAYS
    of_night = topics * partitions * (math.ceil(by_time) + 1) + nights * night / measured.SEGMENT_BYTES
    return of_night + filters * _nights(FILTER_DAYS) * (math.ceil(by_time) + 1) + 2 * measured.INTERNAL_PARTITIONS
