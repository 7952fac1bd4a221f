"""The fault of every alarm, as the metrics show it, and what they are like in a quiet night.

A series is written by its values before, during and after the fault. A number stays; `per(n)` counts n a second; a list
is repeated, for what goes up and down in any night.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Per:
    """A counter that grows by this number a second."""

    second: float


def per(second: float) -> Per:
    return Per(second)


Value = float | Per | Sequence[float] | None
MINUTE, HOUR, DAY = 60, 3600, 86_400
#: Seconds between two samples, and after which the fault begins.
STEP, BEGIN = 15, 1800
#: The tests begin at the beginning of Unix time.
CLOCK = Per(1.0)


@dataclass(frozen=True)
class Fault:
    """What happens to the metrics. ``series``: values before, during and after the fault, by the series.

    ``fires``: seconds until the alarm rings; ``lasts``: the fault; ``clears``: seconds until it is silent afterwards.
    ``also``: other alarms that may ring with it.
    """

    series: dict[str, tuple[Value, Value, Value]]
    fires: int
    clears: int = 60
    lasts: int = 0
    also: tuple[str, ...] = ()
    step: int = STEP
    begin: int = BEGIN


ORIGIN = 'site="origin"'
BROKER = f'{ORIGIN}, broker="1", host="origin-1"'
DISK = f'{BROKER}, path="/var/lib/kafka"'
GROUP = 'site="public", kind="{}", owner="{}", group="{}"'
FILTERS = GROUP.format("filters", "transients", "zads.filter.transients")
USER = GROUP.format("user", "alice", "alice-laptop")
LATE, ALL = 'zads_worker_public_seconds_bucket{le="10.0"}', "zads_worker_public_seconds_count"


def burning(part: float) -> dict[str, tuple[Value, Value, Value]]:
    """A stream of which this part is late."""
    return {LATE: (per(100), per(100 * (1 - part)), per(100)), ALL: (per(100), per(100), per(100))}


FAULTS: dict[str, Fault] = {
    "MirrorIsSilent": Fault({"zads_mirror_silent": (0, 1, 0)}, 15, 15),
    "MirrorIsBehind": Fault({"zads_mirror_behind_seconds": ([0, 3, 0, 7], 90, 0)}, 90, 30),
    "CanariesDoNotArrive": Fault({"zads_canary_waiting_seconds": ([0, 0.3, 4.9, 1], 45, 0.2)}, 30, 30),
    "CanaryWasAltered": Fault({"zads_canary_altered_total": (0, per(0.1), 0)}, 60, 16 * MINUTE, lasts=MINUTE),
    "AlertsAreLate": Fault(
        burning(0.5), 25 * MINUTE, 10 * MINUTE, also=("AlertsAreOftenLate", "AlertsAreSometimesLate"), begin=HOUR
    ),
    "AlertsAreOftenLate": Fault(
        burning(0.1), 5 * HOUR, 2 * HOUR, also=("AlertsAreSometimesLate",), step=MINUTE, begin=6 * HOUR
    ),
    "AlertsAreSometimesLate": Fault(burning(0.03), 30 * HOUR, 12 * HOUR, step=300, begin=72 * HOUR),
    "ProducerWaits": Fault({"zads_producer_blocked": ([0, 0, 0, 1], 1, 0)}, 90, 30),
    "ExposuresWait": Fault(
        {"zads_producer_pending": ([0, 1, 2, 0], 3, 0), "zads_producer_last_exposure_seconds": (CLOCK, 0, CLOCK)},
        5 * MINUTE,
        30,
    ),
    "ExposuresAreSetAside": Fault({'zads_producer_deferred{reason="failed"}': (0, 1, 0)}, 16 * MINUTE, 30),
    "AlertsAreRefused": Fault(
        {
            'zads_producer_refused_total{kind="schema"}': (0, per(0.05), 0),
            "zads_producer_published_total": (per(50),) * 3,
        },
        2 * MINUTE,
        31 * MINUTE,
        lasts=5 * MINUTE,
    ),
    "MostAlertsAreRefused": Fault(
        {
            'zads_producer_refused_total{kind="schema"}': (0, per(100), 0),
            "zads_producer_published_total": (per(0), per(0), per(100)),
        },
        MINUTE,
        16 * MINUTE,
        also=("AlertsAreRefused",),
        lasts=5 * MINUTE,
    ),
    "FiltersAreBehind": Fault({f"zads_group_behind_seconds{{{FILTERS}}}": ([0, 12, 40, 0], 300, 0)}, 90, 30),
    "FilterIsStopped": Fault({'zads_worker_circuit_open{filter="young", worker="1"}': (0, 1, 0)}, 150, 30),
    "SubscriberIsBehind": Fault({f"zads_group_behind_seconds{{{USER}}}": ([0, 900], 4000, 0)}, 16 * MINUTE, 30),
    "SiteIsAway": Fault({f"zads_site_up{{{ORIGIN}}}": (1, 0, 1)}, 60, 30),
    "BrokerIsDown": Fault({f"zads_broker_up{{{BROKER}}}": (1, 0, 1)}, 6 * MINUTE, 30),
    "BrokersAreDown": Fault(
        {
            f"zads_broker_up{{{BROKER}}}": (1, 0, 1),
            f'zads_broker_up{{{ORIGIN}, broker="2", host="origin-2"}}': (1, 0, 1),
            f'zads_broker_up{{{ORIGIN}, broker="3", host="origin-3"}}': (1, 1, 1),
        },
        60,
        30,
        also=("BrokerIsDown",),
    ),
    "PartitionsRefuseWrites": Fault({f"zads_site_partitions_under_minimum{{{ORIGIN}}}": (0, 4, 0)}, 60, 30),
    "PartitionsHaveNoLeader": Fault({f"zads_site_partitions_leaderless{{{ORIGIN}}}": (0, 4, 0)}, 60, 30),
    "SiteHasNoController": Fault({f"zads_site_controller{{{ORIGIN}}}": (2, -1, 3)}, 90, 30),
    "ReplicasAreMissing": Fault({f"zads_site_partitions_under_replicated{{{ORIGIN}}}": (0, 90, 0)}, 31 * MINUTE, 30),
    "DiskIsNearlyFull": Fault(
        {f"zads_disk_free_bytes{{{DISK}}}": (5e11, 5e10, 5e11), f"zads_disk_bytes{{{DISK}}}": (1e12,) * 3}, 90, 30
    ),
    "DiskIsFilling": Fault({f"zads_disk_days_left{{{DISK}}}": (365, 2, 40)}, 16 * MINUTE, 30),
    "DiskHasFailed": Fault(
        {f"zads_disk_failed{{{DISK}}}": (0, 1, 0), f"zads_broker_replicas_offline{{{BROKER}}}": (0, 16, 0)},
        6 * MINUTE,
        30,
    ),
    "CertificateExpiresSoon": Fault({f"zads_certificate_days{{{BROKER}}}": (400, 20.5, 700)}, 31 * MINUTE, 30),
    "CertificateExpires": Fault(
        {f"zads_certificate_days{{{BROKER}}}": (400, 4, 700), f"zads_authority_days{{{ORIGIN}}}": (3000,) * 3},
        31 * MINUTE,
        30,
        also=("CertificateExpiresSoon",),
    ),
    "NightIsLate": Fault({f"zads_nights_ready_until_seconds{{{ORIGIN}}}": (DAY * 3, 40_000, DAY * 3)}, 6 * MINUTE, 30),
    "NightKeeperFails": Fault({"zads_nights_last_round_seconds": (CLOCK, 0, CLOCK)}, 36 * MINUTE, 30),
    "NightDiffers": Fault({"zads_audit_last_whole": (1, 0, 1)}, 15, 30),
    "AuditIsLate": Fault({"zads_audit_last_round_seconds": (CLOCK, 0, CLOCK)}, 6 * HOUR + 6 * MINUTE, 30),
    "ArchiveIsLate": Fault({"zads_archive_late": (0, 1, 0)}, 16 * MINUTE, 30),
    "BackupIsLate": Fault(
        {"zads_backup_last_seconds": (CLOCK, 0, CLOCK), "zads_backup_wanted_days": (0.2, 0.2, 0.2)},
        5 * HOUR + 20 * MINUTE, 30,
    ),
    "ClocksDiffer": Fault({f"zads_nights_clock_offset_seconds{{{ORIGIN}}}": ([0.2, -0.3], -30, 0)}, 11 * MINUTE, 30),
    "TargetIsDown": Fault({'up{job="kafka", instance="origin-1"}': (1, 0, 1)}, 6 * MINUTE, 30),
    "ExporterIsBlind": Fault({'zads_exporter_part_up{part="mirror"}': (1, 0, 1)}, 4 * MINUTE, 30),
    "ExporterHangs": Fault(
        {'zads_exporter_last_look_seconds{part="mirror"}': (CLOCK, 0, CLOCK)}, 31 * MINUTE, 30
    ),
    "NobodyWatches": Fault({'zads_exporter_part_up{part="mirror"}': (1, None, 1)}, 8 * MINUTE, 30),
}  # fmt: skip


def values(fault: Fault, series: tuple[Value, Value, Value], after: int) -> str:
    """A series as promtool reads it, for this number of seconds after the fault. A counter never goes back."""
    lasts = fault.lasts or fault.fires + 5 * MINUTE
    found: list[str] = []
    count, last = 0.0, 0.0
    phases = zip((fault.begin, lasts, after + fault.step), series, strict=True)
    for seconds, value in phases:
        start = len(found)
        for number in range(seconds // fault.step):
            now = (start + number) * fault.step
            if value is CLOCK:
                last = float(now)
            elif value == 0 and series[0] is CLOCK:
                pass  # it stands still
            elif isinstance(value, Per):
                count += value.second * fault.step
                last = count
            elif isinstance(value, Sequence):
                last = value[number % len(value)]
            elif value is not None:
                last = max(count, value) if count else value
            found.append("_" if value is None else f"{last:.10g}")
    return " ".join(found)


def quiet_night() -> dict[str, str]:
    """Every series of every fault as it is without one, for a night of twelve hours at a sample a minute."""
    found: dict[str, str] = {}
    for fault in FAULTS.values():
        for name, series in fault.series.items():
            calm = Fault({}, fires=0, lasts=MINUTE, step=MINUTE, begin=12 * HOUR)
            found.setdefault(name, values(calm, (series[0],) * 3, 0))
    return found
