"""The figures that the exporter tells Prometheus: what each family is, and the newest values of each part of the work.

A part (a site's brokers, its disks, the mirror, …) puts all its values at once, so that no scrape sees half of them. A
value that is not known any more is not told: an old value would look like a new one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """A gauge: its name, what it says, and the names of its labels."""

    name: str
    says: str
    labels: Labels = ()


_SITE, _BROKER, _DISK = ("site",), ("site", "broker", "host"), ("site", "broker", "host", "path")
_NIGHT = ("site", "night", "programme")

SITE_UP = Family("zads_site_up", "1 if the site answers.", _SITE)
CONTROLLER = Family("zads_site_controller", "Number of the broker that is the controller; -1 if there is none.", _SITE)
BROKER_UP = Family("zads_broker_up", "1 if the inventory's broker is registered at its site.", _BROKER)
BROKER_LEADERS = Family("zads_broker_leaders", "Partitions that the broker leads.", _BROKER)
BROKER_REPLICAS = Family("zads_broker_replicas", "Replicas that the broker should have.", _BROKER)
BROKER_BEHIND = Family("zads_broker_replicas_out_of_sync", "Replicas of the broker that are not in sync.", _BROKER)
PARTITIONS = Family("zads_site_partitions", "Partitions of the site, Kafka's own among them.", _SITE)
UNDER_REPLICATED = Family("zads_site_partitions_under_replicated", "Partitions that lack a replica in sync.", _SITE)
AT_MINIMUM = Family(
    "zads_site_partitions_at_minimum",
    "Partitions that lack a replica, and have no more in sync than a write needs.",
    _SITE,
)
UNDER_MINIMUM = Family(
    "zads_site_partitions_under_minimum", "Partitions with fewer replicas in sync than a write needs.", _SITE
)
LEADERLESS = Family("zads_site_partitions_leaderless", "Partitions without a leader.", _SITE)
NIGHT_END = Family(
    "zads_night_end_offsets", "Offsets of all partitions of a night together; they also count markers.", _NIGHT
)
NIGHT_NEWEST = Family("zads_night_newest_seconds", "Unix time at which the site took a night's last record.", _NIGHT)
DISK_TOTAL = Family("zads_disk_bytes", "Size of the file system of a log directory.", _DISK)
DISK_FREE = Family("zads_disk_free_bytes", "Free bytes of the file system of a log directory.", _DISK)
DISK_USED = Family("zads_disk_used_bytes", "Bytes of the replicas in a log directory.", _DISK)
DISK_DAYS = Family(
    "zads_disk_days_left", "Days until a log directory is nearly full, by the forecast; 365: a year or more.", _DISK
)
DISK_FAILED = Family("zads_disk_failed", "1 if the broker cannot use a log directory.", _DISK)
BROKER_OFFLINE = Family("zads_broker_replicas_offline", "Replicas that none of the broker's disks has.", _BROKER)
GROUP_LAG = Family(
    "zads_group_lag_offsets", "Offsets that a consumer group has yet to read.", ("site", "kind", "owner", "group")
)
GROUP_BEHIND = Family(
    "zads_group_behind_seconds",
    "For how long the first record that a group has yet to read has been at the site.",
    ("site", "kind", "owner", "group"),
)
GROUPS = Family("zads_groups", "Consumer groups of the site, those without members among them.", _SITE)
MIRROR_PARTITIONS = Family("zads_mirror_partitions", "Partitions that the mirror copies.")
MIRROR_BEHIND_PARTITIONS = Family("zads_mirror_partitions_behind", "Partitions with records that wait for the mirror.")
MIRROR_UNREAD = Family("zads_mirror_unread_offsets", "Offsets at origin that the mirror has yet to copy.")
MIRROR_BEHIND = Family("zads_mirror_behind_seconds", "For how long the oldest record has waited for the mirror.")
MIRROR_SILENT = Family(
    "zads_mirror_silent", "1 if records have waited for 20 s, and the mirror has not moved in their partition."
)
CERTIFICATE_DAYS = Family(
    "zads_certificate_days", "Days until a broker's certificate expires, as it is served.", _BROKER
)
AUTHORITY_DAYS = Family("zads_authority_days", "Days until the authority of a site's brokers expires.", _SITE)
PART_UP = Family("zads_exporter_part_up", "1 if the last look of a part of the exporter succeeded.", ("part",))
PART_LAST = Family("zads_exporter_last_look_seconds", "Unix time of a part's last look that succeeded.", ("part",))
PART_TOOK = Family("zads_exporter_look_duration_seconds", "How long a part's last look took.", ("part",))

FAMILIES = tuple(value for value in list(globals().values()) if isinstance(value, Family))
Found = dict[tuple[Family, Labels], float]


class Figures(Collector):
    """The newest values of every part. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[str, Mapping[tuple[Family, Labels], float]] = {}
        self._last: dict[str, tuple[bool, float, float]] = {}

    def put(self, part: str, found: Found, seconds: float) -> None:
        """Replace the values of a part, after a look that succeeded and took some seconds."""
        with self._lock:
            self._parts[part] = dict(found)
            self._last[part] = (True, time.time(), seconds)

    def failed(self, part: str, left: Found, seconds: float) -> None:
        """A look failed. Of the part's values only ``left`` are known."""
        with self._lock:
            self._parts[part] = dict(left)
            _, last, _ = self._last.get(part, (False, 0.0, 0.0))
            self._last[part] = (False, last, seconds)

    def collect(self) -> Iterator[Any]:
        """The values, family by family."""
        with self._lock:
            every = {key: value for part in self._parts.values() for key, value in part.items()}
            for part, (succeeded, last, took) in self._last.items():
                every[PART_UP, (part,)] = float(succeeded)
                every[PART_TOOK, (part,)] = took
                if last:
                    every[PART_LAST, (part,)] = last
        by_family: dict[Family, list[tuple[Labels, float]]] = {}
        for (family, labels), value in every.items():
            by_family.setdefault(family, []).append((labels, value))
        for family in FAMILIES:
            if values := by_family.get(family):
                gauge = GaugeMetricFamily(family.name, family.says, labels=family.labels)
                for labels, value in sorted(values):
                    gauge.add_metric(labels, value)
                yield gauge

    def describe(self) -> list[Any]:
        """No names ahead of the values: Prometheus's library would collect once to learn them."""
        return []
