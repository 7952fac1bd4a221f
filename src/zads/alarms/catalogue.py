"""Every alarm. To add one: an entry here, its fault in tests/unit/alarm_faults.py, and its runbook."""

from __future__ import annotations

from zads.alarms import service_level
from zads.alarms.alarm import Alarm, Quiet

#: The dead man's switch: it always rings. Who hears nothing of it knows that the monitoring is dead.
WATCHDOG = "Watchdog"

STREAM = (
    Alarm(
        "MirrorIsSilent", "page", "zads_mirror_silent == 1",
        "Alerts wait at the origin, and the mirror does not move: the public site gets nothing new.",
        "mirror-is-silent",
    ),
    Alarm(
        "MirrorIsBehind", "page", "zads_mirror_behind_seconds > 60",
        "The mirror moves, but its oldest alert has waited for {{ $value | humanizeDuration }}.",
        "mirror-is-silent", "1m",
    ),
    Alarm(
        "CanariesDoNotArrive", "page", "zads_canary_waiting_seconds > 30",
        "A canary has been on its way to the public site for {{ $value | humanizeDuration }}; alerts will be, too.",
        "mirror-is-silent",
    ),
    Alarm(
        "CanaryWasAltered", "page", "increase(zads_canary_altered_total[15m]) > 0",
        "A canary arrived at the public site with other bytes than it was sent with.",
        "mirror-is-silent",
    ),
    *(burn.alarm() for burn in service_level.BURNS),
    Alarm(
        "ProducerWaits", "page", "zads_producer_blocked == 1",
        "The producer waits for a topic or a broker of the origin, and publishes nothing.",
        "producer-waits", "1m",
    ),
    Alarm(
        "ExposuresWait", "page", "zads_producer_pending > 0 and time() - zads_producer_last_exposure_seconds > 180",
        "{{ $value }} exposures wait in the spool, and none has been settled for three minutes.",
        "producer-waits", "1m",
    ),
    Alarm(
        "ExposuresAreSetAside", "ticket", "sum by (reason) (zads_producer_deferred) > 0",
        "{{ $value }} exposures are set aside, for the reason {{ $labels.reason }}.",
        "producer-waits", "15m",
    ),
    Alarm(
        "AlertsAreRefused", "ticket", "sum(increase(zads_producer_refused_total[30m])) > 0",
        "The producer refused {{ $value | humanize }} packets in half an hour.",
        "alerts-are-refused",
    ),
    Alarm(
        "MostAlertsAreRefused", "page",
        "sum(increase(zads_producer_refused_total[15m])) > 20 and sum(increase(zads_producer_refused_total[15m]))"
        " > sum(increase(zads_producer_published_total[15m]))",
        "The producer refuses more packets than it publishes.",
        "alerts-are-refused",
    ),
)  # fmt: skip

READERS = (
    Alarm(
        "FiltersAreBehind", "page", 'zads_group_behind_seconds{kind="filters"} > 120',
        "The filters of {{ $labels.owner }} are {{ $value | humanizeDuration }} behind.",
        "filters-are-behind", "1m",
    ),
    Alarm(
        "FilterIsStopped", "ticket", "max by (filter) (zads_worker_circuit_open) == 1",
        "The filter {{ $labels.filter }} is not run, because it failed too often.",
        "a-filter-is-stopped", "2m",
    ),
    Alarm(
        "SubscriberIsBehind", "ticket", 'zads_group_behind_seconds{kind="user"} > 3600',
        "{{ $labels.owner }} is {{ $value | humanizeDuration }} behind with the group {{ $labels.group }}.",
        "a-subscriber-is-behind", "15m",
    ),
)  # fmt: skip

SITES = (
    Alarm(
        "SiteIsAway", "page", "zads_site_up == 0",
        "No broker of the site {{ $labels.site }} answers.",
        "broker-is-down", "30s",
    ),
    Alarm(
        "BrokerIsDown", "ticket", "zads_broker_up == 0",
        "The broker on {{ $labels.host }} is away. Nothing is lost; no other broker of {{ $labels.site }} may fail.",
        "broker-is-down", "5m",
    ),
    Alarm(
        "BrokersAreDown", "page", "sum by (site) (zads_broker_up == bool 0) > 1",
        "{{ $value }} brokers of {{ $labels.site }} are away.",
        "broker-is-down", "30s",
    ),
    Alarm(
        "PartitionsRefuseWrites", "page", "zads_site_partitions_under_minimum > 0",
        "{{ $value }} partitions of {{ $labels.site }} have too few replicas in sync, and refuse alerts.",
        "broker-is-down", "30s",
    ),
    Alarm(
        "PartitionsHaveNoLeader", "page", "zads_site_partitions_leaderless > 0",
        "{{ $value }} partitions of {{ $labels.site }} can be neither written nor read.",
        "broker-is-down", "30s",
    ),
    Alarm(
        "SiteHasNoController", "page", "zads_site_controller == -1",
        "The site {{ $labels.site }} has no controller: it makes no topic, and elects no leader.",
        "broker-is-down", "1m",
    ),
    Alarm(
        "ReplicasAreMissing", "ticket", "zads_site_partitions_under_replicated > 0",
        "{{ $value }} partitions of {{ $labels.site }} lack a replica in sync.",
        "broker-is-down", "30m",
    ),
    Alarm(
        "DiskIsNearlyFull", "page", "zads_disk_free_bytes / zads_disk_bytes < 0.1",
        "{{ $labels.path }} of {{ $labels.host }} has {{ $value | humanizePercentage }} of its space left.",
        "disk-is-filling", "1m",
    ),
    Alarm(
        "DiskIsFilling", "ticket", "zads_disk_days_left < 3",
        "{{ $labels.path }} of {{ $labels.host }} will be full in {{ $value }} days, if nights stay as they are.",
        "disk-is-filling", "15m",
    ),
    Alarm(
        "DiskHasFailed", "page", "zads_disk_failed == 1 or zads_broker_replicas_offline > 0",
        "The broker on {{ $labels.host }} cannot use a disk, or lacks replicas.",
        "replace-a-machine", "5m",
    ),
    Alarm(
        "CertificateExpiresSoon", "ticket", "zads_certificate_days < 21 or zads_authority_days < 180",
        "A certificate of {{ $labels.site }} {{ $labels.host }} expires in {{ $value | humanize }} days.",
        "renew-certificates", "30m",
    ),
    Alarm(
        "CertificateExpires", "page", "zads_certificate_days < 5 or zads_authority_days < 30",
        "A certificate of {{ $labels.site }} {{ $labels.host }} expires in {{ $value | humanize }} days: nobody will be"
        " able to connect.",
        "renew-certificates", "30m",
    ),
)  # fmt: skip

NIGHTS = (
    Alarm(
        "NightIsLate", "page", "zads_nights_ready_until_seconds - time() < 12 * 3600",
        "The nights at {{ $labels.site }} are ready for {{ $value | humanizeDuration }} only.",
        "late-nights", "5m",
    ),
    Alarm(
        "NightKeeperFails", "ticket", "time() - max(zads_nights_last_round_seconds) > 1800",
        "No round of a night keeper has succeeded for {{ $value | humanizeDuration }}.",
        "late-nights", "5m",
    ),
    Alarm(
        "NightDiffers", "page", "zads_audit_last_whole == 0",
        "The last audit found that a night is not whole: an alert was lost, doubled or altered.",
        "an-audit-failed",
    ),
    Alarm(
        "AuditIsLate", "ticket", "time() - zads_audit_last_round_seconds > 6 * 3600",
        "The auditor has not looked at the nights for {{ $value | humanizeDuration }}.",
        "an-audit-failed", "5m",
    ),
    Alarm(
        "ArchiveIsLate", "ticket", "zads_archive_late > 0",
        "{{ $value }} nights that ended more than a day ago are not wholly archived. Kafka deletes them in some days.",
        "archive-nights", "15m",
    ),
    Alarm(
        "BackupIsLate", "ticket",
        "time() - (max(zads_backup_last_seconds) or vector(0)) > max(zads_backup_wanted_days) * 86400",
        "No backup has been made for as long as the inventory allows (verify_backup_days).",
        "back-up", "15m",
    ),
    Alarm(
        "ClocksDiffer", "ticket", "abs(zads_nights_clock_offset_seconds) > 5",
        "The clocks of the brokers at {{ $labels.site }} differ by {{ $value }} s from the night keeper's.",
        "clocks-differ", "10m",
    ),
)  # fmt: skip

MONITORING = (
    Alarm(
        "TargetIsDown", "ticket", "up == 0",
        "{{ $labels.job }} of {{ $labels.instance }} tells nothing.",
        "metrics-are-missing", "5m",
    ),
    Alarm(
        "ExporterIsBlind", "page", "zads_exporter_part_up == 0",
        "The site exporter knows nothing new of: {{ $labels.part }}. Alarms about it cannot ring.",
        "metrics-are-missing", "3m",
    ),
    Alarm(
        "ExporterHangs", "page", "time() - zads_exporter_last_look_seconds > 1800",
        "The site exporter has not looked at {{ $labels.part }} for {{ $value | humanizeDuration }}.",
        "metrics-are-missing",
    ),
    Alarm(
        "NobodyWatches", "page", "absent(zads_exporter_part_up)",
        "There is no site exporter: nobody watches the sites and the mirror.",
        "metrics-are-missing", "2m",
    ),
)  # fmt: skip

#: By the groups of Prometheus' rules, and of the page for people.
ALARMS: dict[str, tuple[Alarm, ...]] = {
    "The stream": STREAM,
    "Filters and subscribers": READERS,
    "Sites and brokers": SITES,
    "Nights": NIGHTS,
    "The monitoring itself": MONITORING,
}

#: One fault rings once: what follows from it is not sent.
QUIET = (
    Quiet(
        "SiteIsAway",
        (
            "BrokerIsDown", "BrokersAreDown", "PartitionsRefuseWrites", "PartitionsHaveNoLeader", "SiteHasNoController",
            "ReplicasAreMissing",
        ),
        ("site",),
    ),
    Quiet(
        "SiteIsAway",
        (
            "MirrorIsSilent", "MirrorIsBehind", "CanariesDoNotArrive", "ProducerWaits", "ExposuresWait",
            "ExporterIsBlind", "FiltersAreBehind",
        ),
    ),
    Quiet("BrokersAreDown", ("BrokerIsDown", "ReplicasAreMissing"), ("site",)),
    Quiet("MirrorIsSilent", ("MirrorIsBehind", "CanariesDoNotArrive", "AlertsAreLate")),
    Quiet("MostAlertsAreRefused", ("AlertsAreRefused",)),
    Quiet("DiskIsNearlyFull", ("DiskIsFilling",), ("site", "host", "path")),
    Quiet("CertificateExpires", ("CertificateExpiresSoon",), ("site", "host")),
    Quiet("AlertsAreLate", ("AlertsAreOftenLate", "AlertsAreSometimesLate")),
    Quiet("NobodyWatches", ("TargetIsDown",)),
)  # fmt: skip


def every() -> list[Alarm]:
    """All alarms but the dead man's switch."""
    return [alarm for alarms in ALARMS.values() for alarm in alarms]
