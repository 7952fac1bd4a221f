"""The audit of a night: what each site holds (`zads.manifest`), and where two sites disagree.

Everything is read as a consumer would read it (``read_committed``), up to the end that each partition had at the start.
So an audit ends even while a night streams. The nights' topics are read whole. Filters' topics and refused input are
read from an hour before the first record of these nights on: nothing that follows from them is older.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from zads import kafka, names, reading
from zads.errors import ZadsError
from zads.manifest import TopicManifest, identity
from zads.reading import StalledError
from zads.replication import TopicState, describe
from zads.site.nights import begin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from confluent_kafka import Message

#: By how much the clocks of a site's brokers, which stamp the records, may differ.
MARGIN_SECONDS = 3600.0
NAMED = 3  # candids that a sentence names


class AuditError(ZadsError):
    """The night could not be read, so it is not known whether the sites agree."""


class Difference(NamedTuple):
    """Something that contradicts a promise: its kind (docs/runbooks/an-audit-failed.md), and a sentence for people."""

    kind: str
    text: str


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
    """Both sites' manifests of some nights, and what differs (nothing: the sites agree)."""

    nights: tuple[str, ...]
    programmes: tuple[int, ...]
    origin: SiteManifest
    public: SiteManifest
    differences: tuple[Difference, ...]

    @property
    def disagreements(self) -> tuple[str, ...]:
        """A sentence for each difference."""
        return tuple(one.text for one in self.differences)

    def as_json(self) -> dict[str, Any]:
        """The audit as plain data for a JSON file; digests as hexadecimal text, sizes in bytes."""
        return {
            "nights": list(self.nights),
            "public_programmes": list(self.programmes),
            "agree": not self.differences,
            "disagreements": list(self.disagreements),
            "origin": site_json(self.origin),
            "public": site_json(self.public),
        }


def site_json(site: SiteManifest) -> dict[str, Any]:
    """A site's part of an audit as plain data."""

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
    at_origin, at_public = both(
        lambda: read_site("origin", origin, nights), lambda: read_site("public", public, nights)
    )
    found = differences(at_origin, at_public, programmes)
    return Audit(tuple(nights), tuple(programmes), at_origin, at_public, tuple(found))


def both(first: Callable[[], SiteManifest], second: Callable[[], SiteManifest]) -> tuple[SiteManifest, SiteManifest]:
    """What two functions return, which run at the same time. Raises what they raise."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        one, other = pool.submit(first), pool.submit(second)
        return one.result(), other.result()


def differences(origin: SiteManifest, public: SiteManifest, programmes: Sequence[int]) -> list[Difference]:
    """Every promise that two sites' manifests of the same nights contradict; a pure function."""
    found: list[Difference] = []
    for name in sorted(origin.topics.keys() | public.topics.keys()):
        parsed = names.parse_topic(name)
        at_origin, at_public = origin.topics.get(name), public.topics.get(name)
        if parsed is not None and parsed[1] not in programmes:
            if at_public is not None:
                text = f"{name} is on the public site, where the data policy does not put it"
                found.append(Difference("policy", text))
        else:
            found += _mirroring(name, at_origin or TopicManifest(name), at_public or TopicManifest(name))
    for site in (origin, public):
        for manifest in [*site.topics.values(), *site.filters.values()]:
            where = f"{manifest.topic} on {site.site} holds"
            if manifest.duplicates:
                found.append(Difference("doubled", f"{where} {manifest.duplicates} records more than once"))
            if manifest.conflicts:
                found.append(Difference("two_contents", f"{where} {manifest.conflicts} alerts with two contents"))
        found += _replication(site)
    for manifest in public.filters.values():
        found += _filtered(manifest, public)
    return found


def named(candids: Sequence[int]) -> str:
    """How many alerts these are, and the candids of the first."""
    more = ", …" if len(candids) > NAMED else ""
    return f"{len(candids)} (candid {', '.join(map(str, candids[:NAMED]))}{more})"


def _mirroring(name: str, origin: TopicManifest, public: TopicManifest) -> list[Difference]:
    if origin.digest_sum == public.digest_sum and origin.records == public.records:
        return []
    words, kinds = [f"{name}: origin has {origin.records} records, public has {public.records}"], []
    for first, second, kind, what in (
        (origin, public, "not_mirrored", "public lacks"),
        (public, origin, "only_public", "only public has"),
    ):
        if missing := first.alerts.missing_in([second.alerts]):
            words.append(f"{what} {named(missing)}")
            kinds.append(kind)
    if altered := public.alerts.altered_in([origin.alerts]):
        words.append(f"public has other bytes of {named(altered)}")
        kinds.append("altered")
    if not kinds:
        words.append("the same alerts with other bytes, key or headers, or a different number of times")
        kinds.append("altered" if origin.records == public.records else "doubled")
    return [Difference(kinds[0], "; ".join(words))]


def _filtered(manifest: TopicManifest, public: SiteManifest) -> list[Difference]:
    held = [night.alerts for night in public.topics.values()]
    strange, unknown = manifest.alerts.altered_in(held), manifest.alerts.missing_in(held)
    found = []
    if strange:
        text = f"{manifest.topic}: {named(strange)} alerts are not the bytes that the public site received"
        found.append(Difference("filter_altered", text))
    if unknown:
        text = f"{manifest.topic}: {named(unknown)} alerts are in no topic of their night"
        found.append(Difference("filter_stranger", text))
    return found


def _replication(site: SiteManifest) -> list[Difference]:
    found = []
    for state in site.states:
        if state.leaderless:
            found.append(f"{state.topic} on {site.site}: {state.leaderless} partitions have no leader")
        if state.under_replicated:
            found.append(f"{state.topic} on {site.site}: {state.under_replicated} partitions are under-replicated")
    return [Difference("replication", text) for text in found]


def read_site(
    site: str,
    conf: Mapping[str, str],
    nights: Sequence[str],
    *,
    replication: bool = True,
    turn: Callable[[], object] = lambda: None,
) -> SiteManifest:
    """One site's manifest of the given nights: night topics, filtered topics, rejections and, if wanted, replication.

    `turn` is called between batches; an exception from it ends the reading.
    Raises AuditError if the site does not answer or stops delivering.
    """
    with answering(site, conf):
        states = describe(conf, lambda name: _concerns(name, nights)) if replication else []
        manifest = SiteManifest(site, states=states)
        topics = kafka.admin(conf).list_topics(timeout=reading.ANSWER_SECONDS).topics
        present = sorted(name for name, about in topics.items() if _concerns(name, nights) and about.error is None)
        of_nights = [name for name in present if names.parse_topic(name) is not None]
        _read_nights(manifest, reading.read_topics(conf, of_nights, turn=turn), of_nights)
        first = min((topic.first for topic in manifest.topics.values()), default=math.inf)
        since = min(first, time.time(), *map(begin, nights)) - MARGIN_SECONDS
        others = [name for name in present if name not in manifest.topics]
        _read_others(manifest, reading.read_topics(conf, others, since=since, turn=turn), others, nights)
    return manifest


@contextlib.contextmanager
def answering(site: str, conf: Mapping[str, str]) -> Iterator[None]:
    """Questions to a site. Raises AuditError if it does not answer or stops delivering."""
    try:
        yield
    except (KafkaException, TimeoutError) as error:
        reason = error.args[0] if isinstance(error, KafkaException) else KafkaError(KafkaError._TIMED_OUT)
        failed = kafka.failure(conf, reason)
        raise AuditError(f"{site} cannot be read: {failed.message}", hint=failed.hint) from error
    except StalledError as error:
        raise AuditError(f"{site} cannot be read: {error.message}", hint=error.hint) from error


def _read_nights(site: SiteManifest, messages: Iterable[Message], topics: Iterable[str]) -> None:
    site.topics.update((name, TopicManifest(name)) for name in topics)
    for message in messages:
        topic = site.topics[message.topic() or ""]
        topic.add(message.key(), message.value() or b"", reading.headers(message))
        topic.ends[message.partition() or 0] = (message.offset() or 0) + 1
        topic.first = min(topic.first, message.timestamp()[1] / 1000)


def _read_others(site: SiteManifest, messages: Iterable[Message], topics: Iterable[str], nights: Sequence[str]) -> None:
    """Filters' topics, and refused input."""
    site.filters.update((name, TopicManifest(name)) for name in topics if name != names.REJECTED_TOPIC)
    reasons: Counter[tuple[str, str]] = Counter()
    sources: dict[tuple[str, str], str] = {}
    for message in messages:
        headers = reading.headers(message)
        if message.topic() == names.REJECTED_TOPIC:
            texts = [headers.get(h, b"").decode(errors="replace") for h in (names.HEADER_REASON, names.HEADER_FIELD)]
            why = (texts[0].strip().splitlines() or ["no reason given"])[0], texts[1]
            reasons[why] += 1
            sources.setdefault(why, headers.get(names.HEADER_SOURCE, b"").decode(errors="replace"))
        elif names.night_of_visit(identity(headers)[1]) in nights:
            site.filters[message.topic() or ""].add(message.key(), message.value() or b"", headers)
    site.rejections = [
        Rejection(reason, where, count, sources[reason, where]) for (reason, where), count in reasons.most_common()
    ]


def _concerns(name: str, nights: Iterable[str]) -> bool:
    parsed = names.parse_topic(name)
    if parsed is not None:
        return parsed[0] in nights
    return name == names.REJECTED_TOPIC or names.filter_name(name) is not None
