"""The pages of audits: one a night, and one over all. They load nothing else, and may be printed."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from zads import pages

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from zads.auditor.results import Result

#: A sentence for each kind of difference, as the table of docs/runbooks/an-audit-failed.md has it.
KINDS = {
    "receipt": "a receipt says what the ledger does not have",
    "ledger": "the ledger contradicts itself",
    "lost": "acknowledged alerts are not at the origin",
    "altered": "alerts have other bytes than they had before",
    "unrecorded": "alerts are at the origin that no producer has recorded",
    "not_mirrored": "alerts of the origin are not at the public site",
    "only_public": "alerts are at the public site that the origin lacks",
    "policy": "a programme is at a site where the data policy does not put it",
    "doubled": "records are there more than once",
    "two_contents": "an alert has two contents, and none is marked as a later version",
    "replication": "partitions lack replicas or a leader",
    "filter_altered": "a filter's topic has alerts with other bytes than the public site received",
    "filter_stranger": "a filter's topic has alerts that are in no topic of their night",
    "filter_seen": "a filter has seen more alerts than there are",
    "filter_missed": "a filter was not given all alerts of its programmes",
    "filter_counts": "a filter's numbers do not add up",
    "filter_published": "a filter's topic does not have what its workers wrote",
    "unread": "a site or the receipts could not be read",
    "late": "records had expired before the audit",
}
WORDS = {"whole": "whole", "differs": "differs", "unread": "could not be audited", "late": "audited too late"}


def of_night(result: Result) -> str:
    """The page of a night, as HTML text."""
    return pages.render(
        "audit.html", result=result, topics=_topics(result.evidence), kinds=KINDS, words=WORDS,
        audited=_moment(result.audited), expires=None if result.expires is None else _moment(result.expires),
    )  # fmt: skip


def of_all(results: Iterable[Result]) -> str:
    """The page over all nights, the newest first, as HTML text."""
    ordered = sorted(results, key=lambda one: one.night, reverse=True)
    moments = {one.night: _moment(one.audited) for one in ordered}
    return pages.render("audits.html", results=ordered, moments=moments, words=WORDS)


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _topics(evidence: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each topic of the night: what both sites have of it."""
    origin, public = (evidence.get(site, {}).get("topics", {}) for site in ("origin", "public"))
    return [
        {"topic": name, "origin": origin.get(name), "public": public.get(name)}
        for name in sorted(origin.keys() | public.keys())
    ]
