"""What the producer, the mirror and the filter workers need."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zads.plan import measured
from zads.plan.load import Demand
from zads.plan.machine import Machine
from zads.site.sizes import GIB


@dataclass(frozen=True)
class ProgramNeed:
    """What a program needs, all its processes together.

    ``processors`` are those that the peak keeps busy, ``memory`` and ``disk`` are bytes, ``network`` is in bytes a
    second at the peak, in or out.
    """

    processes: int
    machines: int
    processors: float
    memory: float
    network: float
    disk: float = 0.0


def producer(demand: Demand) -> ProgramNeed:
    """The producer: one process, whose spool has room for a night that the origin is away."""
    load = demand.load
    memory = measured.PRODUCER_MEMORY + measured.PRODUCER_DAYS * load.alerts_night / 1e6 * measured.PRODUCER_MILLION
    busy = load.alerts_second * measured.PRODUCER_MS / 1000 * demand.weight
    spool = load.alerts_night * load.packet_kb * 1000
    return ProgramNeed(1, 1, busy, memory, load.alerts_second * demand.stored, spool)


def tasks(demand: Demand) -> int:
    """Tasks of the mirror: each is one thread."""
    weighed = demand.peak("public") * demand.weight
    return max(1, math.ceil(weighed / (measured.THREAD_RATE * measured.BUSY)))


def mirror(demand: Demand) -> ProgramNeed:
    """The mirror: its tasks on two machines, each of which can take over all of them."""
    alerts, threads = demand.peak("public"), tasks(demand)
    busy = alerts * measured.MIRROR_MS / 1000 * demand.weight
    memory = threads * measured.MIRROR_TASK_HEAP * measured.MIRROR_RESIDENT
    return ProgramNeed(threads, 2, busy, memory, alerts * demand.stored)


def worker_ms(demand: Demand) -> float:
    """CPU-ms an alert of one group's filters, its owners' processes included."""
    hundreds = max(1.0, demand.filters.count / max(1, demand.filters.groups) / 100)
    return measured.HUNDRED_FILTERS_MS * hundreds + measured.OWNER_MS * max(0, _owners_a_group(demand) - 1)


def workers_a_group(demand: Demand) -> int:
    """Workers that each group needs: one takes half a processor at most."""
    return max(1, math.ceil(demand.peak("public") * worker_ms(demand) / 1000 / measured.BUSY))


def workers(demand: Demand, machine: Machine) -> ProgramNeed:
    """All workers with their sandboxes; none without filters. Every group reads the whole public stream."""
    groups, peak = demand.filters.groups, demand.peak("public")
    processes = groups * workers_a_group(demand)
    owners = _owners_a_group(demand) * measured.OWNER_MEMORY
    memory = processes * (measured.WORKER_MEMORY + measured.SANDBOX_MEMORY + owners)
    busy = groups * peak * worker_ms(demand) / 1000
    machines = max(
        math.ceil(busy / measured.BUSY / machine.processors),
        math.ceil((memory + measured.SYSTEM_MEMORY) / (machine.memory_gib * GIB)),
    )
    return ProgramNeed(
        processes, machines if groups else 0, busy, memory, groups * peak * demand.stored * measured.FETCHED
    )


def _owners_a_group(demand: Demand) -> int:
    return math.ceil(demand.filters.owners / max(1, demand.filters.groups))
