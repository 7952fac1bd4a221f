"""All that an audit compares of one night, read from both sites and from the receipts of this host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zads import audit
from zads.audit import MARGIN_SECONDS, SiteManifest
from zads.auditor import filter_counts, published, receipts
from zads.auditor.filter_counts import FilterCounts
from zads.auditor.published import Published
from zads.auditor.receipts import Receipt
from zads.filters import status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from zads.site.policy import Policy, Site


@dataclass
class Evidence:
    """What was found of a night. `programmes`: those that the data policy puts at the public site.

    `receipts` are None if this host has none. `running`: each filter that the inventory has running, and its group.
    """

    night: str
    programmes: Sequence[int]
    origin: SiteManifest
    public: SiteManifest
    published: Published = field(default_factory=Published)
    receipts: Sequence[Receipt] | None = None
    counts: Mapping[str, FilterCounts] = field(default_factory=dict)
    running: Mapping[str, str] = field(default_factory=dict)

    @property
    def first(self) -> float:
        """When the first alert of the night arrived (Unix seconds; infinite without one)."""
        return min([self.published.first, *(topic.first for topic in self.origin.topics.values())])


def gather(
    confs: Mapping[Site, Mapping[str, str]],
    policy: Policy,
    night: str,
    receipts_in: Path | None,
    turn: Callable[[], object],
) -> Evidence:
    """Read a night. `turn` is called between batches, from two threads; an exception from it ends the reading.

    Raises ZadsError if a site or the receipts cannot be read.
    """

    def read(site: Site) -> SiteManifest:
        return audit.read_site(site, confs[site], [night], replication=False, turn=turn)

    # What was published after the ledger was read would seem to come from nowhere. So the ledger is read last, and the
    # public site, which the mirror fills, before it together with the origin.
    origin, public = audit.both(lambda: read("origin"), lambda: read("public"))
    with audit.answering("origin", confs["origin"]):
        known = published.read(confs["origin"], night, turn)
    with audit.answering("public", confs["public"]):
        counts = filter_counts.of_night(status.records(confs["public"]), night)
    found = Evidence(
        night,
        sorted(policy.allowed("public")),
        origin,
        public,
        known,
        counts=counts,
        running={entry.name: entry.group for entry in policy.filters if entry.runs},
    )
    if receipts_in is not None:
        found.receipts = receipts.read(receipts_in, found.first - MARGIN_SECONDS, turn)
    return found
