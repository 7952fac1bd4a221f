"""Asks the two sites of a deployment where a night is: its offsets, the filters' lag, and all of its records."""

from __future__ import annotations

from collections.abc import Mapping

from zads import audit, kafka, names, reading
from zads.demo.night import Night
from zads.errors import ZadsError
from zads.filters import status
from zads.inventory import Inventory

#: (site, topic, partition)
Place = tuple[str, str, int]


class Sites:
    """One night at both sites, seen with the operators' rights.

    ``origin`` and ``public`` are properties of the administrators' clients, ``subscriber`` those of a user who reads
    every public programme. Raises ZadsError if the inventory has no such user. All methods raise
    confluent_kafka.KafkaException or TimeoutError if a site does not answer.
    """

    def __init__(self, inventory: Inventory, night: Night) -> None:
        self.policy = inventory.policy()
        self.origin = kafka.read_properties(inventory.client("admin-origin"))
        self.public = kafka.read_properties(inventory.client("admin-public"))
        self.subscriber = kafka.read_properties(inventory.client(self._subscriber()))
        self.counts = night.counts
        self.nights = night.nights
        self.origin_topics = sorted(night.counts)
        allowed = self.policy.allowed("public")
        self.public_topics = [name for name in self.origin_topics if _programme(name) in allowed]

    def _subscriber(self) -> str:
        allowed = self.policy.allowed("public")
        for user in self.policy.users:
            if user.site == "public" and allowed <= user.programmes:
                return user.name
        raise ZadsError("no user reads every public programme", hint="add one to users in the inventory")

    def have_topics(self) -> bool:
        """Whether both sites have the night's topics."""
        wanted = {names.night_topic(night, programme) for night in self.nights for programme in self.policy.programmes}
        origin = kafka.admin(self.origin).list_topics(timeout=30).topics
        public = kafka.admin(self.public).list_topics(timeout=30).topics
        return wanted <= set(origin) and set(self.public_topics) <= set(public)

    def ends(self) -> dict[Place, int]:
        """The offset at which each of the night's partitions ends now."""
        found: dict[Place, int] = {}
        numbers = range(self.policy.topics_night.partitions)
        for site, conf, topics in (
            ("origin", self.origin, self.origin_topics),
            ("public", self.public, self.public_topics),
        ):
            ends = reading.committed_ends(conf, [(topic, number) for topic in topics for number in numbers])
            found |= {(site, *where): end for where, end in ends.items()}
        return found

    def audit(self) -> audit.Audit:
        """Read all of the night at both sites. Raises audit.AuditError if a site does not answer."""
        return audit.audit(self.origin, self.public, self.nights, sorted(self.policy.allowed("public")))

    def group_behind(self, group: str, ends: Mapping[tuple[str, int], int]) -> int:
        """How many offsets a group of filters is behind these ends of the public (topic, partition)."""
        programmes = self.policy.read_by(group)
        read = {where: end for where, end in ends.items() if _programme(where[0]) in programmes}
        return status.lag(self.public, names.filters_principal(group), read)


def _programme(name: str) -> int | None:
    """The programme of a night's topic."""
    parsed = names.parse_topic(name)
    return parsed[1] if parsed else None
