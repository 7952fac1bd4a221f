"""The audit of a night: what each site holds (`zads.manifest`), and where two sites disagree.

Everything is read as a consumer would read it (``read_committed``), up to the end that each partition had at the start.
So an audit ends even while a night streams.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException

from zads import kafka, names, reading
from zads.errors import ZadsError
from zads.manifest import TopicManifest, identity
from zads.reading import StalledError
from zads.replication import TopicState, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class AuditError(ZadsError):
    """The night could not be read, so it is not known whether the sites agree."""


@dataclass(frozen=True)
class Rejection:
    """Input that a site refused: how many times, why, in which field of the packet, and one of its sources."""

    reason: str
    field: str
    count: int
    source: str


@dataclass
class SiteManifest:
    """One site's part of an audit."""

    site: str
    topics: dict[str, TopicManifest] = field(default_factory=dict)
    filters: dict[str, TopicManifest] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    states: list[TopicState] = field(default_factory=list)

    @property
    def records(self) -> int:
        """Records of all the audited night topics."""
        return sum(manifest.records for manifest in self.topics.values())


@dataclass(frozen=True)
class Audit:
    """Both sites' manifests of some nights, and a sentence for each disagreement (no sentence: the sites agree)."""

    nights: tuple[str, ...]
    programmes: tuple[int, ...]
    origin: SiteManifest
    public: SiteManifest
    disagreements: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The audit as plain data for a JSON file; digests as hexadecimal text, sizes in bytes."""
        return {
            "nights": list(self.nights),
            "public_programmes": list(self.programmes),
            "agree": not self.disagreements,
            "disagreements": list(self.disagreements),
            "origin": _site_json(self.origin),
            "public": _site_json(self.public),
        }


def _site_json(site: SiteManifest) -> dict[str, Any]:
    def plain(manifest: TopicManifest) -> dict[str, Any]:
        return {
            "records": manifest.records,
            "candids": manifest.candids,
            "bytes": manifest.size,
            "digest": manifest.digest,
            "duplicates": manifest.duplicates,
            "conflicts": manifest.conflicts,
            "versions": manifest.versions,
        }

    return {
        "topics": {name: plain(manifest) for name, manifest in sorted(site.topics.items())},
        "filters": {name: plain(manifest) for name, manifest in sorted(site.filters.items())},
        "rejected": [vars(rejection) for rejection in site.rejections],
        "replication": [vars(state) for state in site.states],
    }


def audit(
    origin: Mapping[str, str],
    public: Mapping[str, str],
    nights: Sequence[str],
    programmes: Sequence[int] = (1,),
) -> Audit:
    """Read both sites and compare them.

    `origin`, `public`: librdkafka properties of a client that may read every topic and describe the cluster.
    `programmes`: those that the data policy puts on the public site. The two sites are read at the same time.
    Raises AuditError if a site does not answer or stops delivering.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        reading_origin = pool.submit(read_site, "origin", origin, nights)
        reading_public = pool.submit(read_site, "public", public, nights)
        at_origin, at_public = reading_origin.result(), reading_public.result()
    found = disagreements(at_origin, at_public, programmes)
    return Audit(tuple(nights), tuple(programmes), at_origin, at_public, tuple(found))


def disagreements(origin: SiteManifest, public: SiteManifest, programmes: Sequence[int]) -> list[str]:
    """Every promise that two sites' manifests of the same nights contradict, in words; a pure function."""
    found: list[str] = []
    for name in sorted(origin.topics.keys() | public.topics.keys()):
        parsed = names.parse_topic(name)
        at_origin, at_public = origin.topics.get(name), public.topics.get(name)
        if parsed is not None and parsed[1] not in programmes:
            if at_public is not None:
                found.append(f"{name} is on the public site, where the data policy does not put it")
        else:
            found += _mirroring(name, at_origin or TopicManifest(name), at_public or TopicManifest(name))
    for site in (origin, public):
        for manifest in [*site.topics.values(), *site.filters.values()]:
            if manifest.duplicates:
                found.append(f"{manifest.topic} on {site.site} holds {manifest.duplicates} records more than once")
            if manifest.conflicts:
                found.append(f"{manifest.topic} on {site.site} holds {manifest.conflicts} alerts with two contents")
        found += _replication(site)
    for manifest in public.filters.values():
        found += _filtered(manifest, public)
    return found


def _mirroring(name: str, origin: TopicManifest, public: TopicManifest) -> list[str]:
    if origin.digest_sum == public.digest_sum and origin.records == public.records:
        return []
    words = [f"{name}: origin has {origin.records} records, public has {public.records}"]
    for first, second, what in ((origin, public, "public lacks"), (public, origin, "only public has")):
        if missing := first.alerts.missing_in([second.alerts]):
            words.append(f"{what} {len(missing)} (candid {', '.join(map(str, missing[:3]))})")
    if len(words) == 1:
        words.append("the same alerts with other bytes, key or headers, or a different number of times")
    return ["; ".join(words)]


def _filtered(manifest: TopicManifest, public: SiteManifest) -> list[str]:
    held = [night.alerts for night in public.topics.values()]
    strange, unknown = manifest.alerts.altered_in(held), manifest.alerts.missing_in(held)
    found = []
    if strange:
        found.append(f"{manifest.topic}: {len(strange)} alerts are not the bytes that the public site received")
    if unknown:
        found.append(f"{manifest.topic}: {len(unknown)} alerts are in no topic of their night (candid {unknown[0]})")
    return found


def _replication(site: SiteManifest) -> list[str]:
    found = []
    for state in site.states:
        if state.leaderless:
            found.append(f"{state.topic} on {site.site}: {state.leaderless} partitions have no leader")
        if state.under_replicated:
            found.append(f"{state.topic} on {site.site}: {state.under_replicated} partitions are under-replicated")
    return found


def read_site(site: str, conf: Mapping[str, str], nights: Sequence[str]) -> SiteManifest:
    """One site's manifest of the given nights: night topics, filtered topics, rejections and replication.

    Raises AuditError if the site does not answer or stops delivering.
    """
    try:
        return _read_site(site, conf, nights)
    except (KafkaException, TimeoutError) as error:
        reason = error.args[0] if isinstance(error, KafkaException) else KafkaError(KafkaError._TIMED_OUT)
        failed = kafka.failure(conf, reason)
        raise AuditError(f"{site} cannot be read: {failed.message}", hint=failed.hint) from error
    except StalledError as error:
        raise AuditError(f"{site} cannot be read: {error.message}", hint=error.hint) from error


def _read_site(site: str, conf: Mapping[str, str], nights: Sequence[str]) -> SiteManifest:
    states = describe(conf, lambda name: _concerns(name, nights))
    manifest = SiteManifest(site, states=states)
    reasons: Counter[tuple[str, str]] = Counter()
    sources: dict[tuple[str, str], str] = {}
    for name in (state.topic for state in states):
        if names.parse_topic(name) is not None:
            manifest.topics[name] = TopicManifest(name)
        elif name != names.REJECTED_TOPIC:
            manifest.filters[name] = TopicManifest(name)

    for message in reading.read_topics(conf, [state.topic for state in states]):
        name, headers = message.topic() or "", reading.headers(message)
        if name == names.REJECTED_TOPIC:
            texts = [headers.get(h, b"").decode(errors="replace") for h in (names.HEADER_REASON, names.HEADER_FIELD)]
            why = (texts[0].strip().splitlines() or ["no reason given"])[0], texts[1]
            reasons[why] += 1
            sources.setdefault(why, headers.get(names.HEADER_SOURCE, b"").decode(errors="replace"))
        elif name in manifest.topics:
            topic = manifest.topics[name]
            topic.add(message.key(), message.value() or b"", headers)
            topic.ends[message.partition() or 0] = (message.offset() or 0) + 1
        elif names.night_of_visit(identity(headers)[1]) in nights:
            manifest.filters[name].add(message.key(), message.value() or b"", headers)
    manifest.rejections = [
        Rejection(reason, where, count, sources[reason, where]) for (reason, where), count in reasons.most_common()
    ]
    return manifest


def _concerns(name: str, nights: Iterable[str]) -> bool:
    parsed = names.parse_topic(name)
    if parsed is not None:
        return parsed[0] in nights
    return name == names.REJECTED_TOPIC or names.filter_name(name) is not None
