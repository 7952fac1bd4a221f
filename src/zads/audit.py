"""The manifest of a night: what each site holds, counted and digested, and where two sites disagree.

A topic's digest does not depend on the order of its records, for a mirror keeps order within a partition only: it is
the sum modulo 2^256 of SHA-256 over each record's key, value and the headers that ZADS gives it. A sum and not an
exclusive or, under which a record published twice would vanish (Bellare & Micciancio 1997, AdHash; the audit guards
against faults, not against forgers).

An alert has one content, unless the others are marked as later versions of it (the header ``version``): the survey
processed it anew. The same content twice is a fault in any case.

Everything is read as a consumer would read it (``read_committed``) up to the end that each partition had at the start,
so that an audit ends although a night goes on.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException

from zads import kafka, reading, topics
from zads.errors import ZadsError
from zads.reading import StalledError
from zads.replication import TopicState, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DIGESTED_HEADERS = topics.ALERT_HEADERS
MODULUS = 1 << 256

_Integers = np.ndarray[Any, np.dtype[np.int64]]
Identity = tuple[str, str]
"""One alert of one exposure: its candid and its visit, as the headers spell them."""


class AuditError(ZadsError):
    """The night could not be read: nothing is known about its agreement."""


class Alerts:
    """The alerts of a topic's records in 24 bytes each, so that a night of a million of them is no burden.

    Of an alert's identity, and of it with its bytes, 64 bits of a SHA-256 are kept: enough to find accidents, and a
    topic's digest is over everything.
    """

    def __init__(self) -> None:
        self._rows = array("q")

    def add(self, alert: Identity, value: bytes) -> None:
        """Take a record of an alert with these bytes into account."""
        candid, visit = alert
        name = hashlib.sha256(f"{len(candid)}:{candid}{visit}".encode()).digest()
        content = hashlib.sha256(name + hashlib.sha256(value).digest()).digest()
        # The candid is kept to be shown.
        number = int(candid) if re.fullmatch("[0-9]{1,19}", candid) and int(candid) < 1 << 63 else 0
        self._rows.extend((number, *(int.from_bytes(part[:8], "big", signed=True) for part in (name, content))))

    @property
    def _columns(self) -> _Integers:
        """Candids, alerts and contents, a row each."""
        return np.array(self._rows, np.int64).reshape(-1, 3).T

    def __len__(self) -> int:
        """How many different alerts there are."""
        return len(np.unique(self._columns[1]))

    @property
    def candids(self) -> int:
        """How many different candids there are."""
        return len(np.unique(self._columns[0]))

    @property
    def contents(self) -> int:
        """How many different contents there are."""
        return len(np.unique(self._columns[2]))

    def contents_without(self, others: Alerts) -> int:
        """How many contents there are beside alerts', leaving out the contents that the others have."""
        _, alerts, contents = self._columns[:, ~_in(self._columns, [others], 2)]
        return len(np.unique(contents)) - len(np.unique(alerts))

    def repeated(self) -> tuple[int, int]:
        """How many records repeat another one's alert and bytes, and how many contents there are beside alerts'."""
        _, alerts, contents = (len(np.unique(column)) for column in self._columns)
        return len(self._rows) // 3 - contents, contents - alerts

    def missing_in(self, others: Iterable[Alerts]) -> list[int]:
        """The candids of the alerts that none of the others has."""
        columns = self._columns
        return _candids(columns[:, ~_in(columns, others, 1)])

    def altered_in(self, others: Sequence[Alerts]) -> list[int]:
        """The candids of the alerts that another has, though with other bytes."""
        columns = self._columns
        return _candids(columns[:, _in(columns, others, 1) & ~_in(columns, others, 2)])


def _in(columns: _Integers, others: Iterable[Alerts], row: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    found = np.zeros(columns.shape[1], bool)
    for one in others:
        found |= np.isin(columns[row], one._columns[row])
    return found


def _candids(columns: _Integers) -> list[int]:
    _, first = np.unique(columns[1], return_index=True)
    return sorted(columns[0, first].tolist())


@dataclass
class TopicManifest:
    """What one topic holds.

    ``size`` is in bytes of values; ``ends`` gives for each partition the offset behind its last record (transaction
    markers may follow).
    """

    topic: str
    records: int = 0
    size: int = 0
    total: int = 0
    alerts: Alerts = field(default_factory=Alerts, repr=False)
    marked: Alerts = field(default_factory=Alerts, repr=False)
    ends: dict[int, int] = field(default_factory=dict, repr=False)

    def add(self, key: bytes | None, value: bytes, headers: Mapping[str, bytes]) -> None:
        """Take one record into account."""
        self.records += 1
        self.size += len(value)
        self.total = (self.total + record_digest(key, value, headers)) % MODULUS
        self.alerts.add(identity(headers), value)
        if topics.HEADER_VERSION in headers:
            self.marked.add(identity(headers), value)

    @property
    def duplicates(self) -> int:
        """How many records repeat another one's alert and bytes."""
        return self.alerts.repeated()[0]

    @property
    def versions(self) -> int:
        """How many contents are marked as a later version of their alert: it was processed anew."""
        return self.marked.contents

    @property
    def conflicts(self) -> int:
        """How many contents there are, not marked as a later version, of alerts that have another one as well."""
        return self.alerts.contents_without(self.marked)

    @property
    def digest(self) -> str:
        """The topic's digest as 64 hexadecimal digits; all zero when the topic is empty."""
        return f"{self.total:064x}"

    @property
    def candids(self) -> int:
        """How many different candids the topic holds."""
        return self.alerts.candids


@dataclass(frozen=True)
class Rejection:
    """Input that a site refused: how often, why, in which field of the packet, and one place that it came from."""

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

    @property
    def rejected(self) -> int:
        """How much input the site has refused within its retention."""
        return sum(rejection.count for rejection in self.rejections)


@dataclass(frozen=True)
class Audit:
    """Both sites' manifests of some nights, and every sentence in which they disagree (none: all is well)."""

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


def record_digest(key: bytes | None, value: bytes, headers: Mapping[str, bytes]) -> int:
    """SHA-256 over a record's key, value and ZADS headers, as a number below 2^256.

    Each part is preceded by its length, so that no two different records digest the same text; a missing header
    differs from an empty one. Of the few records that are a later version, that is digested, too.
    """
    digest = hashlib.sha256()
    for part in (key, value, *(headers.get(name) for name in DIGESTED_HEADERS)):
        digest.update(b"-" if part is None else b"%d:" % len(part))
        digest.update(part or b"")
    if (version := headers.get(topics.HEADER_VERSION)) is not None:
        digest.update(b"version%d:%s" % (len(version), version))
    return int.from_bytes(digest.digest(), "big")


def identity(headers: Mapping[str, bytes]) -> Identity:
    """The alert that a record is about, by its headers; empty texts where a header is missing."""
    candid, visit = headers.get(topics.HEADER_CANDID, b""), headers.get(topics.HEADER_VISIT, b"")
    return candid.decode(errors="replace"), visit.decode(errors="replace")


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
        there, here = reading_origin.result(), reading_public.result()
    return Audit(tuple(nights), tuple(programmes), there, here, tuple(disagreements(there, here, programmes)))


def disagreements(origin: SiteManifest, public: SiteManifest, programmes: Sequence[int]) -> list[str]:
    """Every way in which two sites' manifests of the same nights contradict a promise, in words; pure."""
    found: list[str] = []
    for name in sorted(origin.topics.keys() | public.topics.keys()):
        parsed = topics.parse(name)
        there, here = origin.topics.get(name), public.topics.get(name)
        if parsed is not None and parsed[1] not in programmes:
            if here is not None:
                found.append(f"{name} is on the public site, where the data policy does not put it")
        else:
            found += _mirroring(name, there or TopicManifest(name), here or TopicManifest(name))
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
    if origin.total == public.total and origin.records == public.records:
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
        if topics.parse(name) is not None:
            manifest.topics[name] = TopicManifest(name)
        elif name != topics.REJECTED:
            manifest.filters[name] = TopicManifest(name)

    for message in reading.read_topics(conf, [state.topic for state in states]):
        name, headers = message.topic() or "", reading.headers(message)
        if name == topics.REJECTED:
            texts = [headers.get(h, b"").decode(errors="replace") for h in (topics.HEADER_REASON, topics.HEADER_FIELD)]
            why = (texts[0].strip().splitlines() or ["no reason given"])[0], texts[1]
            reasons[why] += 1
            sources.setdefault(why, headers.get(topics.HEADER_SOURCE, b"").decode(errors="replace"))
        elif name in manifest.topics:
            topic = manifest.topics[name]
            topic.add(message.key(), message.value() or b"", headers)
            topic.ends[message.partition() or 0] = (message.offset() or 0) + 1
        elif topics.night_of_visit(identity(headers)[1]) in nights:
            manifest.filters[name].add(message.key(), message.value() or b"", headers)
    manifest.rejections = [
        Rejection(reason, where, count, sources[reason, where]) for (reason, where), count in reasons.most_common()
    ]
    return manifest


def _concerns(name: str, nights: Iterable[str]) -> bool:
    parsed = topics.parse(name)
    if parsed is not None:
        return parsed[0] in nights
    return name == topics.REJECTED or topics.filter_name(name) is not None
