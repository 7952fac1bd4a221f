"""The figures of a report as plain data: what is written as JSON and shown by the page."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zads import audit, names
from zads.alert_card import OBJECT_PAGE
from zads.demo.night import Night
from zads.filters.status import COUNTED
from zads.inventory import Inventory
from zads.site.policy import Policy

#: Seconds within which 99 % of the alerts are to be read, when visits come at the telescope's pace (docs/bench.md).
TARGET_SECONDS = 2.0


@dataclass(frozen=True)
class Latency:
    """Percentiles of each site's latency in seconds, of which run they are, and seconds between its visits."""

    hops: Mapping[str, Mapping[str, float]]
    run: str
    visit_seconds: float | None


def latency(hops: Mapping[str, Mapping[str, float]], visit_seconds: float, earlier: Mapping[str, Any]) -> Latency:
    """The latency of this run; of the ``earlier`` report's when this run had nothing new to publish."""
    if "public" in hops:
        return Latency(hops, "this run", visit_seconds)
    run = "an earlier run: this one had nothing new to publish"
    return Latency(earlier.get("hops", {}), run, earlier.get("visit_seconds"))


def figures(
    inventory: Inventory, night: Night, found: audit.Audit, filters: Mapping[str, Any], ages: Latency
) -> dict[str, Any]:
    """All figures of a night that was played, of what an audit found, what filters did (`filter_rows`) and latency."""
    sites = (found.origin, found.public)
    return {
        "environment": inventory.env,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "source": night.source,
        "nights": night.nights,
        "visits": len(night.visits),
        "alerts": {
            "read": night.alerts,
            "rejected": sum(one.count for one in found.origin.rejections if _is_of(night, one.source)),
            "origin": found.origin.records,
            "public": found.public.records,
        },
        "topics": _topic_rows(night, found),
        "digests_agree": not found.disagreements,
        "disagreements": list(found.disagreements),
        "duplicates": sum(topic.duplicates + topic.conflicts for site in sites for topic in site.topics.values()),
        "filters": dict(filters),
        "latency_seconds": ages.hops.get("public"),
        "hops": ages.hops,
        "latency_of": ages.run,
        "latency_target_seconds": TARGET_SECONDS,
        "visit_seconds": ages.visit_seconds,
        "object_page": inventory.common("object_page", OBJECT_PAGE),
        "replication": {
            site.site: min((state.replication_factor for state in site.states), default=0) for site in sites
        },
        "under_replicated": sum(state.under_replicated for site in sites for state in site.states),
        "replicas": [{"site": site.site, **vars(state)} for site in sites for state in site.states],
        "refused": [{"site": site.site, **vars(one)} for site in sites for one in site.rejections],
    }


def filter_rows(policy: Policy, counts: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, Any]]:
    """What each filter that is not off did (`status.counts`), with its state and owner."""
    nothing = dict.fromkeys(COUNTED, 0)
    return {
        entry.name: {**nothing, **counts.get(entry.name, {}), "state": entry.state, "owner": entry.owner}
        for entry in policy.filters
        if entry.runs
    }


def _is_of(night: Night, source: str) -> bool:
    """Whether refused input came from one of the night's visits."""
    return any(source.startswith(visit.name) for visit in night.visits)


def _topic_rows(night: Night, found: audit.Audit) -> list[dict[str, Any]]:
    rows = []
    for name in sorted(found.origin.topics.keys() | found.public.topics.keys()):
        parsed = names.parse_topic(name)
        origin, public = found.origin.topics.get(name), found.public.topics.get(name)
        rows.append(
            {
                "topic": name,
                "night": parsed[0] if parsed else "",
                "programme": parsed[1] if parsed else 0,
                "read": night.counts.get(name, 0),
                "origin": origin.records if origin else 0,
                "origin_digest": origin.digest if origin else "",
                "public": public.records if public else None,
                "public_digest": public.digest if public else "",
            }
        )
    return rows
