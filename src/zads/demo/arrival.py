"""Whether a night has arrived everywhere: looks first at cheap signs, then reads the whole night."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaException

from zads import audit
from zads.demo.sites import Place, Sites
from zads.demo.spool import Spool

Ends = Mapping[tuple[str, int], int]


class Arrival:
    """A night on its way to the sites and through their filters. All answers are in words; "" if nothing is missing."""

    def __init__(self, sites: Sites, spool: Spool) -> None:
        self._sites, self._spool = sites, spool
        self._last_ends: dict[Place, int] = {}

    def under_way(self, seen: Ends) -> str:
        """A sign that the night has not arrived yet. If there is none, the night may still not have arrived.

        ``seen`` is the offset behind the last record of each public (topic, partition) that a subscriber has read.
        """
        if waiting := self._spool.pending():
            return f"{waiting} exposures wait in the spool"
        try:
            ends = self._sites.ends()
        except (KafkaException, TimeoutError) as error:
            return f"a site cannot be asked for its offsets: {_why(error)}"
        missing = too_few(ends, self._sites.counts)
        if not missing and ends != self._last_ends:
            missing = "records still arrive"
        self._last_ends = ends
        return missing or self._filters_behind(seen)

    def audit(self) -> tuple[str, audit.Audit | None]:
        """Read the whole night. Returns what is missing, and the audit if the sites could be read."""
        try:
            found = self._sites.audit()
        except audit.AuditError as error:
            return str(error), None
        for name, wanted in sorted(self._sites.counts.items()):
            manifest = found.origin.topics.get(name)
            count = len(manifest.alerts) if manifest else 0
            if count < wanted:
                return f"origin has {count} of {wanted} alerts of {name}", found
        if found.disagreements:
            return found.disagreements[0], found
        manifests = found.public.topics.values()
        return self._filters_behind({(one.topic, n): end for one in manifests for n, end in one.ends.items()}), found

    def _filters_behind(self, ends: Ends) -> str:
        """Which group of filters has not seen the records before these offsets."""
        for group in self._sites.policy.groups():
            try:
                behind = self._sites.group_behind(group, ends)
            except (KafkaException, TimeoutError) as error:
                return f"the public site cannot be asked for the filters' offsets: {_why(error)}"
            if behind:
                return f"the filters of the group {group} are {behind} records behind"
        return ""


def _why(error: Exception) -> str:
    return str(error.args[0].str()) if isinstance(error, KafkaException) else "no answer in time"


def too_few(ends: Mapping[Place, int], counts: Mapping[str, int]) -> str:
    """Which site cannot have all alerts of a topic (name -> alerts), because it has fewer offsets; "" if none.

    Offsets count transaction markers too: enough of them do not prove that the alerts are there.
    """
    held: dict[tuple[str, str], int] = {}
    for (site, name, _), end in ends.items():
        held[site, name] = held.get((site, name), 0) + end
    for (site, name), number in sorted(held.items()):
        if number < counts[name]:
            return f"{site} has at most {number} of {counts[name]} alerts of {name}"
    return ""
