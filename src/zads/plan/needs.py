"""What a deployment needs for a survey: disk, network, memory, processors, partitions, limits and numbers of machines.

A pure function of the demand (:mod:`zads.plan.load`) and of the machine that a broker gets. Every constant is a
measurement of :mod:`zads.plan.measured`. More of anything never needs less of anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from zads.errors import ZadsError
from zads.plan import measured, programs
from zads.plan.brokers import SiteNeed, site_need
from zads.plan.load import Demand
from zads.plan.machine import Machine
from zads.plan.programs import ProgramNeed
from zads.site.policy import SITES, Site

LEAST_BROKERS = 3
_MOST_BROKERS = 1000
_MACHINE = Machine()


@dataclass(frozen=True)
class Plan:
    """A demand and what it needs. ``partitions``: those that a night's topic needs at least.

    ``given``: the brokers are those of a deployment, not the least number of machines.
    """

    demand: Demand
    machine: Machine
    given: bool
    partitions: int
    sites: Mapping[Site, SiteNeed]
    producer: ProgramNeed
    mirror: ProgramNeed
    workers: ProgramNeed

    @property
    def machines(self) -> int:
        """All machines, each with one kind of daemon or program."""
        brokers = sum(site.brokers for site in self.sites.values())
        members = len(self.sites) * measured.MEMBERS
        return brokers + members + self.producer.machines + self.mirror.machines + self.workers.machines


def plan(demand: Demand, machine: Machine = _MACHINE) -> Plan:
    """The least number of brokers and partitions that a demand needs, and all that follows.

    Raises ZadsError if no number of such machines suffices.
    """
    partitions, spread = 0, least_partitions(demand)
    sites: dict[Site, SiteNeed] = {}
    # With fewer partitions than its site has brokers, a night's topic would leave brokers idle. More partitions cost
    # more processor time, which may need more brokers.
    while partitions != spread:
        partitions = spread
        sites = {site: _smallest(demand, machine, site, partitions) for site in SITES}
        spread = max(partitions, *(one.brokers for one in sites.values()))
    return _whole(demand, machine, False, partitions, sites)


def plan_of(demand: Demand, brokers: Mapping[Site, int], partitions: int) -> Plan:
    """The same for a deployment that has so many brokers at each site, and so many partitions in a night's topic."""
    sites = {site: site_need(demand, site, brokers[site], partitions) for site in SITES}
    return _whole(demand, _MACHINE, True, max(least_partitions(demand), *brokers.values()), sites)


def least_partitions(demand: Demand) -> int:
    """Partitions of a night's topic: enough for readers that decode with one process each, and for our own programs."""
    busiest = max(demand.load.programmes.values()) * demand.load.alerts_second
    readers = math.ceil(busiest / (measured.DECODED_RATE * measured.BUSY))
    return max(measured.LEAST_PARTITIONS, readers, programs.workers_a_group(demand), programs.tasks(demand))


def publishes(demand: Demand) -> float:
    """Alerts a second that one producer publishes, at most."""
    return measured.THREAD_RATE / demand.weight


def _smallest(demand: Demand, machine: Machine, site: Site, partitions: int) -> SiteNeed:
    for brokers in range(max(LEAST_BROKERS, demand.replicas), _MOST_BROKERS + 1):
        need = site_need(demand, site, brokers, partitions)
        if need.fits(machine):
            return need
    raise ZadsError(
        f"{_MOST_BROKERS} machines of {machine} are too few for the {site} site's brokers",
        hint="plan with larger machines, a shorter retention or fewer alerts",
    )


def _whole(demand: Demand, machine: Machine, given: bool, partitions: int, sites: Mapping[Site, SiteNeed]) -> Plan:
    return Plan(
        demand,
        machine,
        given,
        partitions,
        sites,
        programs.producer(demand),
        programs.mirror(demand),
        programs.workers(demand, machine),
    )
