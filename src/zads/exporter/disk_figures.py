"""The disks of a site's brokers as figures (`zads.site.disks`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zads.exporter import figures
from zads.exporter.figures import Found
from zads.site import disks, forecast
from zads.site.disks import Usage
from zads.site.policy import Site


@dataclass(frozen=True)
class Disks:
    """Looks at a site. ``read`` gives the inventory's brokers, and the percent of a disk that must be free."""

    site: Site
    conf: Mapping[str, str]
    read: Callable[[], tuple[Mapping[int, str], int]]

    def look(self) -> Found:
        """The figures now. Raises confluent_kafka.KafkaException if no broker answers."""
        return describe(self.site, disks.look(self.conf, *self.read()))


def describe(site: Site, usage: Usage) -> Found:
    """The figures of disks. A size that the broker does not know is not told."""
    found: Found = {}
    for broker in usage.brokers:
        of = (site, str(broker.number), broker.host)
        if not broker.problem:
            found[figures.BROKER_OFFLINE, of] = len(broker.offline)
        for disk in broker.disks:
            labels = (*of, disk.path)
            found[figures.DISK_FAILED, labels] = disk.state == "failed"
            found[figures.DISK_USED, labels] = disk.used
            if disk.total > 0:
                found[figures.DISK_TOTAL, labels] = disk.total
                found[figures.DISK_FREE, labels] = disk.free
                found[figures.DISK_DAYS, labels] = forecast.HORIZON if disk.days is None else disk.days
    return found
