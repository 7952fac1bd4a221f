"""What each filter made of an alert."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaException, Message

from zads import kafka, names, reading
from zads.errors import ZadsError
from zads.filters import status
from zads.site.policy import Filter, Policy
from zads.trace.hops import FilterHop, RefusalHop, Sighting
from zads.trace.search import MARGIN_SECONDS, Reader, is_about

#: Filters are searched for so long after the alert's arrival at the public site.
SEARCHED_SECONDS = 86_400.0


@dataclass(frozen=True)
class Rerun:
    """What a filter says of an alert when it is run once more; `cap`: the most alerts of a visit that it passes."""

    verdict: Literal["passed", "not passed", "failed"]
    detail: str
    cap: int


Judge = Callable[[Filter, bytes], Rerun]
"""Runs a filter of the inventory on a packet. Raises ZadsError if it cannot be run."""


@dataclass(frozen=True)
class _Found:
    """What a filter's topic holds of an alert: its record, and how many alerts of its visit."""

    record: Message | None
    of_visit: int


def hops(
    reader: Reader,
    topics: Collection[str],
    candid: int,
    alert: Sighting,
    data: bytes,
    refusals: Iterable[RefusalHop],
    policy: Policy | None,
    judge: Judge | None,
) -> list[FilterHop]:
    """What each filter made of an alert that is at the public site (`alert` there, its bytes `data`).

    `topics`: those that the client may see there. With the `policy`, all its filters are named; without it those whose
    topics the client may see.
    """
    failed = {one.filter: one for one in refusals if one.filter}
    if policy is None:
        visible = sorted(name for topic in topics if (name := names.filter_name(topic)) is not None)
        return [_of_topic(name, _search(reader, name, candid, alert), failed.get(name)) for name in visible]
    counts = _counts(reader, alert)
    places = _committed(reader, policy, alert)
    found = []
    for entry in sorted(policy.filters, key=lambda one: one.name):
        there = (
            _search(reader, entry.name, candid, alert) if names.filter_topic(entry.name) in topics else _Found(None, 0)
        )
        hop = _of_topic(entry.name, there, failed.get(entry.name))
        if hop.verdict == "not passed":
            hop = _of_entry(entry, policy, alert, places.get(entry.group)) or _judged(
                entry, data, there, counts.get(entry.name), judge
            )
        found.append(hop)
    return found


def _search(reader: Reader, name: str, candid: int, alert: Sighting) -> _Found:
    """Look for an alert in a filter's topic."""
    record, of_visit = None, 0
    begin, end = alert.received - MARGIN_SECONDS, alert.received + SEARCHED_SECONDS
    for message in reader.records([names.filter_topic(name)], begin=begin, end=end):
        of_visit += reading.headers(message).get(names.HEADER_VISIT, b"") == alert.visit.encode()
        if is_about(message, candid):
            record = message
    return _Found(record, of_visit)


def _of_topic(name: str, there: _Found, failure: RefusalHop | None) -> FilterHop:
    if there.record is not None:
        annotations = reading.headers(there.record).get(names.HEADER_ANNOTATIONS, b"").decode(errors="replace")
        return FilterHop(name, "passed", annotations=annotations, record=Sighting.of("public", there.record))
    if failure is not None:
        return FilterHop(name, "failed", failure.reason)
    return FilterHop(name, "not passed")


def _of_entry(entry: Filter, policy: Policy, alert: Sighting, committed: int | None) -> FilterHop | None:
    """The verdict that follows without a look at the packet; None if there is none."""
    programme = (names.parse_topic(alert.topic) or ("", 0))[1]
    read = policy.allowed("public") if entry.programmes is None else entry.programmes
    if not entry.runs:
        return FilterHop(entry.name, "off")
    if programme not in read:
        return FilterHop(entry.name, "not read", f"it does not read programme {programme}")
    if committed is not None and committed <= alert.offset:
        return FilterHop(entry.name, "waiting", f"its workers have read partition {alert.partition} up to {committed}")
    if entry.state == "shadow":
        return FilterHop(entry.name, "shadow", "it runs, and publishes nothing")
    return None


def _judged(
    entry: Filter, data: bytes, there: _Found, counts: Mapping[str, int] | None, judge: Judge | None
) -> FilterHop:
    """The verdict of a filter that has read an alert and does not have it on its topic."""
    if judge is not None:
        try:
            again = judge(entry, data)
        except ZadsError as error:
            return FilterHop(entry.name, "cut or not passed", f"it cannot be run again: {error}")
        if again.verdict == "passed":
            if there.of_visit >= (entry.cap or again.cap):
                return FilterHop(entry.name, "cut", f"{there.of_visit} alerts of its visit had passed: {again.detail}")
            return FilterHop(entry.name, "not passed", "it would pass now: the filter was changed, or its circuit open")
        return FilterHop(entry.name, again.verdict, again.detail)
    if counts is not None and not counts.get("capped"):
        return FilterHop(entry.name, "not passed", "its cap cut nothing in this night")
    if not there.of_visit or (entry.cap and there.of_visit < entry.cap):
        return FilterHop(entry.name, "not passed", f"{there.of_visit} alerts of its visit passed, fewer than its cap")
    return FilterHop(
        entry.name, "cut or not passed", f"{there.of_visit} alerts of its visit passed: its cap may have cut it"
    )


def _counts(reader: Reader, alert: Sighting) -> dict[str, dict[str, int]]:
    """What each filter counted in the night; empty if the client may not read the counts."""
    night = (names.parse_topic(alert.topic) or ("", 0))[0]
    try:
        return status.counts(reader.conf, [night])
    except (KafkaException, TimeoutError, ZadsError):
        return {}


def _committed(reader: Reader, policy: Policy, alert: Sighting) -> dict[str, int]:
    """How far the workers of each group have come in the alert's partition; empty if the client may not know it."""
    found: dict[str, int] = {}
    where = (alert.topic, alert.partition)
    for group in policy.groups():
        try:
            found[group] = kafka.committed(reader.conf, names.filters_principal(group), [where])[where]
        except KafkaException:
            continue
    return found
