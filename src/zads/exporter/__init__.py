"""Tells Prometheus what no single program knows: sites, disks, groups, the mirror, canaries, certificates.

Each part looks at its own pace, in a thread of its own, so that a site that does not answer delays no other part. A
part that fails tells nothing but that it failed. The exporter changes nothing. Of alerts it reads only those that are
public anyway, where it must know whether the mirror has one left to copy.
"""

from zads.exporter.service import Exporter, Settings

__all__ = ["Exporter", "Settings"]
