"""What the evidence of a night contradicts: pure functions, beside `zads.audit.differences` between the two sites.

Each sentence names the topics that it is about. So a page can keep it from people who may not know of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zads import names
from zads.audit import Difference, differences, named
from zads.auditor.filter_counts import FilterCounts
from zads.auditor.published import published_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from zads.audit import SiteManifest
    from zads.auditor.evidence import Evidence
    from zads.auditor.published import Numbers
    from zads.auditor.receipts import Receipt

_NAMED = 3  # exposures or files that a sentence names
_SHOWN = 100  # characters of a name
#: Knuth's multiplier: mixes a candid and the digest of its bytes into one number.
_MIX = np.uint64(0x9E3779B97F4A7C15)


def of(evidence: Evidence) -> tuple[list[Difference], list[str]]:
    """Everything that contradicts a promise, and notes that explain without contradicting."""
    notes: list[str] = []
    found = [
        *_receipts(evidence),
        *_ledger(evidence, notes),
        *differences(evidence.origin, evidence.public, evidence.programmes),
        *_filters(evidence, notes),
    ]
    return found, notes


def _receipts(evidence: Evidence) -> Iterator[Difference]:
    """Whether the ledger has what the pipeline was told. An exposure that came again has several receipts."""
    newest: dict[str, Receipt] = {}
    unreadable = []
    for receipt in evidence.receipts or ():
        if not receipt.exposure:
            unreadable.append(receipt.file)
        elif receipt.finished >= newest.get(receipt.exposure, receipt).finished:
            newest[receipt.exposure] = receipt
    if unreadable:
        yield Difference("receipt", f"{_topics(evidence)}: {_names(unreadable)} in done/ cannot be read as receipts")
    entries, night = evidence.published.entries, evidence.night
    wrong = []
    for name, receipt in newest.items():
        told, entry = published_of(receipt.published or {}, night), entries.get(name)
        if told and (entry is None or entry.digest != receipt.digest or published_of(entry.published, night) != told):
            wrong.append(name)
    if wrong:
        text = f"the receipts of {_names(sorted(wrong))} say what the ledger does not have"
        yield Difference("receipt", f"{_topics(evidence)}: {text}")


def _ledger(evidence: Evidence, notes: list[str]) -> Iterator[Difference]:
    """Whether the origin has what the ledger has, and nothing else."""
    known, night = evidence.published, evidence.night
    if not known.indexed(night):
        notes.append("an older release published some exposures, whose alerts the ledger does not list")
        return
    if (counted := sum(known.counted(night).values())) > len(known):
        text = f"by the ledger exposures published {counted} alerts, and it lists {len(known)}"
        yield Difference("ledger", f"{_topics(evidence)}: {text}")
    held = [topic.alerts.digests for topic in evidence.origin.topics.values()]
    candids = np.concatenate([one for one, _ in held]) if held else np.zeros(0, np.int64)
    digests = np.concatenate([one for _, one in held]) if held else np.zeros(0, np.int64)
    listed, present = _mixed(known.candids, known.digests), _mixed(candids, digests)
    absent, strange = ~np.isin(listed, present), ~np.isin(present, listed)
    # An alert that is there with other bytes is altered, and neither lost nor from nowhere.
    altered = np.intersect1d(known.candids[absent], candids[strange])
    lost = known.candids[absent & ~np.isin(known.candids, altered)]
    unknown = candids[strange & ~np.isin(candids, altered)]
    for kind, found, text in (
        ("lost", lost, "alerts that were acknowledged are not at the origin"),
        ("altered", altered, "alerts at the origin have other bytes than those that were published"),
        ("unrecorded", unknown, "alerts at the origin are not in the ledger"),
    ):
        if len(found):
            yield Difference(kind, f"{_topics(evidence)}: {text}: {named(sorted(set(found.tolist())))}")


def _mixed(candids: Numbers, digests: Numbers) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return candids.astype(np.uint64) * _MIX + digests.astype(np.uint64)


def _filters(evidence: Evidence, notes: list[str]) -> Iterator[Difference]:
    counts = evidence.counts
    for name in sorted(counts.keys() | evidence.running.keys() | _with_alerts(evidence.public)):
        one = counts.get(name)
        if one is None:
            yield from _uncounted(evidence, name, notes)
            continue
        yield from _seen(evidence, one, notes)
        if not one.complete:
            notes.append(f"{name}: a worker of an older release did not count all of this night")
            continue
        if one.declined < 0:
            text = f"{names.filter_topic(name)}: the filter has seen {one['seen']} alerts, and counts more: {_sum(one)}"
            yield Difference("filter_counts", text)
        held = _held(evidence.public, name)
        if held != one["published"]:
            text = f"{names.filter_topic(name)} has {held} alerts of this night; its workers wrote {one['published']}"
            yield Difference("filter_published", text)


def _sum(one: FilterCounts) -> str:
    words = ("passed", "capped", "failed", "skipped")
    return ", ".join(f"{one[word]} {word}" for word in words)


def _seen(evidence: Evidence, one: FilterCounts, notes: list[str]) -> Iterator[Difference]:
    """Whether a filter has seen each alert of its programmes once."""
    if one.programmes is None:
        notes.append(f"{one.name}: a worker of an older release does not say which programmes it reads")
        return
    there, topic = offered(evidence, one.programmes), names.filter_topic(one.name)
    if one["seen"] > there:
        yield Difference("filter_seen", f"{topic}: the filter has seen {one['seen']} alerts, and there are {there}")
    elif one["seen"] < there:
        text = f"{topic}: the filter has seen {one['seen']} of {there} alerts"
        if _another_saw(evidence, one.group, one.programmes, there):
            # The group read them all: this filter was added, or was not running, while the night was under way.
            notes.append(f"{text}: for a part of the night it was not in its group")
        else:
            yield Difference("filter_missed", f"{text}, and no filter of the group {one.group} has seen all")


def _another_saw(evidence: Evidence, group: str, programmes: frozenset[int], there: int) -> bool:
    return any(
        one.group == group and one.programmes == programmes and one["seen"] == there for one in evidence.counts.values()
    )


def _uncounted(evidence: Evidence, name: str, notes: list[str]) -> Iterator[Difference]:
    """A filter that has counted nothing of this night, though it runs or has alerts in its topic."""
    if held := _held(evidence.public, name):
        text = f"{names.filter_topic(name)} has {held} alerts of this night, and its workers counted none"
        yield Difference("filter_published", text)
    group = evidence.running.get(name)
    if group is None or not evidence.public.records:
        return
    if any(one.group == group for one in evidence.counts.values()):
        notes.append(f"{name} was not in its group in this night, or no alert was for it")
    else:
        text = f"{names.filter_topic(name)}: the group {group} has read nothing of this night"
        yield Difference("filter_missed", text)


def offered(evidence: Evidence, programmes: Iterable[int]) -> int:
    """How many alerts the public site has of some programmes."""
    wanted = set(programmes)
    return sum(
        topic.records
        for name, topic in evidence.public.topics.items()
        if (parts := names.parse_topic(name)) and parts[1] in wanted
    )


def _with_alerts(public: SiteManifest) -> set[str]:
    return {names.filter_name(topic) or "" for topic, manifest in public.filters.items() if manifest.records}


def _held(public: SiteManifest, name: str) -> int:
    manifest = public.filters.get(names.filter_topic(name))
    return manifest.records if manifest is not None else 0


def _topics(evidence: Evidence) -> str:
    return ", ".join(names.night_topic(evidence.night, programme) for programme in names.PROGRAMMES)


def _names(found: Sequence[str]) -> str:
    shown = ", ".join(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…" for name in found[:_NAMED])
    return shown if len(found) <= _NAMED else f"{shown} and {len(found) - _NAMED} more"
