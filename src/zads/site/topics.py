"""The topics that a site must have, and what differs from those that it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from zads import names
from zads.kafka import MESSAGE_MAX_BYTES
from zads.site.policy import Policy, Site

_DAY_MS = 86_400_000
# Every fetch of a replica covers all partitions that it follows: a hundred filters with four each cost the public
# brokers a fifth of their processor time (docs/bench.md). One partition is enough for the alerts that a filter passes,
# and keeps their order.
_ONE_PARTITION = 1
FILTER_DAYS = 7
_REJECTED_DAYS = 30
# Kafka deletes only whole segments. With long segments, a quiet topic would keep 7 days' alerts for nearly 14 days.
SEGMENT_MS = 6 * 3_600_000
# Canaries are of use for seconds: keep an hour and 16 MiB of each partition at most, in segments of half that.
_CANARY_HOURS = 1
_CANARY_BYTES = 16_777_216
# A reassignment sets these while it runs: they are its state, not configuration.
_REASSIGNMENT_KEYS = frozenset({"leader.replication.throttled.replicas", "follower.replication.throttled.replicas"})


@dataclass(frozen=True)
class Topic:
    """A topic as it is, or ought to be: ``config`` holds what differs from the broker's defaults, as text."""

    name: str
    partitions: int
    replication_factor: int
    config: dict[str, str] = field(default_factory=dict)


def fixed_topics(policy: Policy, site: Site) -> list[Topic]:
    """The topics of a site that belong to no night: canaries, refused input, samples, ledger, filters' topics."""
    samples = [_kept(policy, one.topic, _ONE_PARTITION, one.days) for one in policy.samples if one.site == site]
    rejected = [*_canaries(policy), _kept(policy, names.REJECTED_TOPIC, _ONE_PARTITION, _REJECTED_DAYS), *samples]
    if site == "origin":
        return [_compacted(policy, names.LEDGER_TOPIC), *rejected]
    filters = [_kept(policy, names.filter_topic(f.name), _ONE_PARTITION, FILTER_DAYS) for f in policy.filters]
    owners = sorted({names.owner_topic(one.owner) for one in policy.filters})
    news = [_kept(policy, name, _ONE_PARTITION, FILTER_DAYS) for name in owners]
    return [_compacted(policy, names.FILTER_COUNTS_TOPIC), *rejected, *filters, *news]


def night_topics(policy: Policy, site: Site, nights: Iterable[str]) -> list[Topic]:
    """The topics of these nights (``YYYYMMDD``), for every programme that may be at the site.

    The canaries' night is not among them: its topic always exists.
    Raises ZadsError for a night that is not a date.
    """
    shape = policy.topics_night
    return [
        _kept(policy, names.night_topic(night, programme), shape.partitions, shape.retention_days)
        for night in sorted({names.check_night(night) for night in nights} - {names.CANARY_NIGHT})
        for programme in sorted(policy.allowed(site))
    ]


def canary_topic(policy: Policy) -> str | None:
    """The topic of the canaries, which the mirror copies to the public site; None if nothing is copied there."""
    public = policy.allowed("public")
    return names.night_topic(names.CANARY_NIGHT, min(public)) if public else None


def _canaries(policy: Policy) -> list[Topic]:
    name = canary_topic(policy)
    if name is None:
        return []
    topic = _kept(policy, name, policy.topics_night.partitions, _CANARY_HOURS / 24)
    size = {"retention.bytes": str(_CANARY_BYTES), "segment.bytes": str(_CANARY_BYTES // 2)}
    return [replace(topic, config={**topic.config, **size, "segment.ms": str(_CANARY_HOURS * 3_600_000 // 4)})]


def _kept(policy: Policy, name: str, partitions: int, days: float) -> Topic:
    config = {
        **_durable(policy),
        "cleanup.policy": "delete",
        # A record's age counts from its arrival, by the leading broker's clock. By the clock of a producer that is a
        # week slow, acknowledged alerts would be deleted at once. The producer's time is in the header `produced`.
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(round(days * _DAY_MS)),
        "segment.ms": str(SEGMENT_MS),
    }
    return Topic(name, partitions, policy.topics_night.replication_factor, config)


def _compacted(policy: Policy, name: str) -> Topic:
    config = {**_durable(policy), "cleanup.policy": "compact"}
    return Topic(name, 1, policy.topics_night.replication_factor, config)


def _durable(policy: Policy) -> dict[str, str]:
    return {
        "max.message.bytes": str(MESSAGE_MAX_BYTES),
        "min.insync.replicas": str(policy.topics_night.min_insync_replicas),
        "unclean.leader.election.enable": "false",
    }


@dataclass(frozen=True)
class TopicChanges:
    """The changes that give a cluster the wanted topics. ``refused``: reasons why they cannot be made at all."""

    create: list[Topic]
    grow: dict[str, tuple[int, int]]
    configure: dict[str, dict[str, tuple[str | None, str | None]]]
    refused: list[str]

    def __bool__(self) -> bool:
        return bool(self.create or self.grow or self.configure)


def topic_changes(wanted: Iterable[Topic], present: Mapping[str, Topic]) -> TopicChanges:
    """Compare wanted topics with a cluster's (by name; ``config`` of a present topic = what was set on it).

    Topics that are not wanted are left alone: their messages expire in time. A setting of a wanted topic that is not
    wanted goes back to the broker's default, shown as ``(old, None)``.
    """
    changes = TopicChanges([], {}, {}, [])
    for topic in wanted:
        have = present.get(topic.name)
        if have is None:
            changes.create.append(topic)
            continue
        if topic.partitions < have.partitions:
            changes.refused.append(
                f"{topic.name} has {have.partitions} partitions and Kafka cannot take any away: "
                f"ask for {have.partitions} or more, or delete the topic with its messages"
            )
        elif topic.partitions > have.partitions:
            changes.grow[topic.name] = (have.partitions, topic.partitions)
        if topic.replication_factor != have.replication_factor:
            changes.refused.append(
                f"{topic.name} has {have.replication_factor} replicas, not {topic.replication_factor}: "
                "moving replicas takes a reassignment, which a deployment does not start by itself"
            )
        if settings := _setting_changes(topic.config, have.config):
            changes.configure[topic.name] = settings
    return changes


def _setting_changes(wanted: Mapping[str, str], have: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    keys = sorted({*wanted, *have} - _REASSIGNMENT_KEYS)
    return {key: (have.get(key), wanted.get(key)) for key in keys if have.get(key) != wanted.get(key)}
