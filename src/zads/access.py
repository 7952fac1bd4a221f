"""The data policy as Kafka sees it: which topics, accounts and grants a site must have, and what differs.

Everything here is a pure function of the inventory's data (``programmes``, ``users``, ``filters``, ``topics_night``)
and of what a cluster says it has. Brokers deny whatever is not granted. A grant on a night names one topic: the
programme stands after the date in a topic's name, so that a prefix would open every programme of the night.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from zads import principals, topics
from zads.errors import ZadsError

Site = Literal["origin", "public"]
SITES: tuple[Site, ...] = ("origin", "public")

_DAY_MS = 86_400_000
# Every fetch of a replica looks at all partitions that it follows: a hundred filters with four each cost the public
# brokers a fifth of their processor time (docs/bench.md). What a filter passes, one partition carries, and in order.
_FEW_PARTITIONS = 1
_FILTER_DAYS = 7
_REJECTED_DAYS = 30
# Kafka deletes whole segments only: with shorter ones, "7 days" is not nearly 14 on a quiet topic.
_SEGMENT_MS = 6 * 3_600_000
# An alert is 30 to 70 KB; the rest is room for the packets with a long history (packet.MAX_BYTES) and their headers.
_MAX_MESSAGE = 4_194_304
# Canaries are of use for seconds: at most so long, and so many bytes of each partition, in segments of a half of it.
_CANARY_HOURS = 1
_CANARY_BYTES = 16_777_216
# Resources that have one owner.
_OWNED = frozenset({"group", "transactional_id"})
# A reassignment sets these while it runs: they are its state, not configuration.
_REASSIGNMENT_KEYS = frozenset({"leader.replication.throttled.replicas", "follower.replication.throttled.replicas"})
# MirrorMaker's topics for the flow origin -> public; the first one's name goes on with a hash of its settings.
_CONNECT_CONFIGS = "mm2-configs.origin."
_CONNECT_TOPICS = ("mm2-offsets.origin.internal", "mm2-status.origin.internal")


# ---- what the inventory says -------------------------------------------------------------------------------------


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Programme(_Entry):
    """A survey programme: the sites where its alerts may be."""

    sites: frozenset[Site]


class User(_Entry):
    """A person or partner who connects to one site and reads these programmes there."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{1,62}$")
    site: Site
    programmes: frozenset[int] = frozenset()


class FilterEntry(BaseModel):
    """A filter's line. Its other keys (cap, file, limits) concern the workers only."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,62}$")
    owner: str
    group: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    state: Literal["shadow", "active", "off"]
    programmes: frozenset[int] | None = None


class NightTopics(_Entry):
    """How every night's topics are kept; the other topics take their replication from here."""

    partitions: int = Field(ge=1, le=1000)
    replication_factor: int = Field(ge=1)
    min_insync_replicas: int = Field(ge=1)
    retention_days: float = Field(gt=0)

    @model_validator(mode="after")
    def _survives_a_restart(self) -> NightTopics:
        if self.min_insync_replicas >= self.replication_factor > 1:
            raise ValueError(
                "min_insync_replicas must be below replication_factor, or one broker's restart stops every write"
            )
        return self


class Policy(BaseModel):
    """The inventory's data about topics and access, checked. Read it with :meth:`read`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    topics_night: NightTopics
    programmes: dict[int, Programme]
    users: tuple[User, ...] = ()
    filters: tuple[FilterEntry, ...] = ()

    @classmethod
    def read(cls, variables: Mapping[str, Any]) -> Policy:
        """Check the variables of an inventory (others than ours are passed over).

        Errors: ZadsError that names every wrong variable and what is wrong with it.
        """
        try:
            return cls.model_validate(dict(variables))
        except ValidationError as error:
            reasons = [
                f"{_place(variables, part['loc'])}: {part['msg'].removeprefix('Value error, ')}"
                for part in error.errors()
            ]
            raise ZadsError("; ".join(reasons), hint="correct the inventory's group_vars") from None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Policy:
        reasons = [*self._wrong_programmes(), *self._wrong_users(), *self._wrong_filters()]
        reasons += dict.fromkeys(reason for site in SITES for reason in shared(wanted_acls(self, site, [])))
        if reasons:
            raise ValueError("; ".join(reasons))
        return self

    def allowed(self, site: Site) -> frozenset[int]:
        """The programmes whose alerts may be at a site."""
        return frozenset(number for number, programme in self.programmes.items() if site in programme.sites)

    def reads(self, entry: FilterEntry) -> frozenset[int]:
        """The programmes that a filter reads: those it names, else all of the public site."""
        return self.allowed("public") if entry.programmes is None else entry.programmes

    def groups(self) -> list[str]:
        """The groups that have a filter to run."""
        return sorted({entry.group for entry in self.filters if entry.state != "off"})

    def _wrong_programmes(self) -> Iterable[str]:
        for number, programme in self.programmes.items():
            if number not in topics.PROGRAMMES:
                yield f"programmes: {number} is none of {', '.join(map(str, topics.PROGRAMMES))}"
            if "public" in programme.sites and "origin" not in programme.sites:
                yield f"programmes: {number} is public without being at origin, where every alert begins"

    def _wrong_users(self) -> Iterable[str]:
        called = [user.name for user in self.users]
        for name in sorted({name for name in called if called.count(name) > 1}):
            yield f"users: {name} is there twice"
        for user in self.users:
            if user.name.partition("-")[0] == "admin":
                yield f"users: {user.name} is a name of the operators, whose files are called admin-SITE"
            if extra := user.programmes - self.allowed(user.site):
                yield f"users: {user.name} is to read programmes {sorted(extra)}, which may not be at {user.site}"

    def _wrong_filters(self) -> Iterable[str]:
        owners = {user.name: user.site for user in self.users}
        called = [entry.name for entry in self.filters]
        for name in sorted({name for name in called if called.count(name) > 1}):
            yield f"filters: {name} is there twice"
        for entry in self.filters:
            if owners.get(entry.owner) != "public":
                yield f"filters: {entry.name} belongs to {entry.owner}, who is not a user of the public site"
            if extra := self.reads(entry) - self.allowed("public"):
                yield f"filters: {entry.name} is to read programmes {sorted(extra)}, which may not be at public"


def _place(variables: Mapping[str, Any], location: tuple[int | str, ...]) -> str:
    """``users[2].site (alice)``: where in the inventory's data an error lies."""
    text = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, location))) or "the inventory"
    if (
        len(location) > 1
        and isinstance(location[1], int)
        and isinstance(entries := variables.get(str(location[0])), list)
    ):
        entry = entries[location[1]]
        if isinstance(entry, Mapping) and "name" in entry:
            return f"{text} ({entry['name']})"
    return text


# ---- topics ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Topic:
    """A topic as it is, or ought to be: ``config`` holds what differs from the broker's defaults, as text."""

    name: str
    partitions: int
    replication_factor: int
    config: dict[str, str] = field(default_factory=dict)


def fixed_topics(policy: Policy, site: Site) -> list[Topic]:
    """The topics that a site has whatever the night: canaries, refused input, the ledger or the filters' topics."""
    rejected = [*_canaries(policy), _kept(policy, topics.REJECTED, _FEW_PARTITIONS, _REJECTED_DAYS)]
    if site == "origin":
        return [_compacted(policy, topics.LEDGER), *rejected]
    filters = [_kept(policy, topics.filter_topic(f.name), _FEW_PARTITIONS, _FILTER_DAYS) for f in policy.filters]
    return [_compacted(policy, topics.FILTER_COUNTS), *rejected, *filters]


def night_topics(policy: Policy, site: Site, nights: Iterable[str]) -> list[Topic]:
    """The topics of these nights (``YYYYMMDD``), for every programme that may be at the site.

    The canaries' night is not among them: its topic is there whatever the night.
    Errors: ZadsError for a night that is no date.
    """
    shape = policy.topics_night
    return [
        _kept(policy, topics.topic(night, programme), shape.partitions, shape.retention_days)
        for night in sorted({topics.check_night(night) for night in nights} - {topics.CANARY_NIGHT})
        for programme in sorted(policy.allowed(site))
    ]


def canary_topic(policy: Policy) -> str | None:
    """The topic of the canaries: one that the mirror takes to the public site; None if nothing goes there."""
    public = policy.allowed("public")
    return topics.topic(topics.CANARY_NIGHT, min(public)) if public else None


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
        # A record's age counts from its arrival, by the clock of the broker that leads: by a producer's that is a week
        # slow acknowledged alerts would be deleted at once. The producer's own time is in the header `produced`.
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(round(days * _DAY_MS)),
        "segment.ms": str(_SEGMENT_MS),
    }
    return Topic(name, partitions, policy.topics_night.replication_factor, config)


def _compacted(policy: Policy, name: str) -> Topic:
    config = {**_durable(policy), "cleanup.policy": "compact"}
    return Topic(name, 1, policy.topics_night.replication_factor, config)


def _durable(policy: Policy) -> dict[str, str]:
    return {
        "max.message.bytes": str(_MAX_MESSAGE),
        "min.insync.replicas": str(policy.topics_night.min_insync_replicas),
        "unclean.leader.election.enable": "false",
    }


@dataclass(frozen=True)
class TopicChanges:
    """What brings a cluster's topics to what is wanted. ``refused``: reasons why it cannot be done at all."""

    create: list[Topic]
    grow: dict[str, tuple[int, int]]
    configure: dict[str, dict[str, tuple[str | None, str | None]]]
    refused: list[str]

    def __bool__(self) -> bool:
        return bool(self.create or self.grow or self.configure)


def topic_changes(wanted: Iterable[Topic], present: Mapping[str, Topic]) -> TopicChanges:
    """Compare wanted topics with a cluster's (by name; ``config`` of a present topic = what was set on it).

    Topics that are not wanted are left alone: their messages age by themselves. A setting that is on a wanted topic and
    not wanted goes back to the broker's default, shown as ``(old, None)``.
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


# ---- accounts ----------------------------------------------------------------------------------------------------


def accounts(policy: Policy, site: Site) -> list[str]:
    """Everybody who has a password at a site: its users, and the programs that work there."""
    people = [user.name for user in policy.users if user.site == site]
    if site == "origin":
        return sorted([*people, principals.PRODUCER, principals.MIRROR])
    return sorted([*people, principals.MIRROR, *map(principals.filters, policy.groups())])


# ---- grants ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Acl:
    """One access control entry in the words of ``kafka-acls``; only present ones can be other than allow from ``*``."""

    principal: str
    resource: str
    name: str
    pattern: str
    operation: str
    permission: str = "allow"
    host: str = "*"

    def __str__(self) -> str:
        name = f"{self.name}*" if self.pattern == "prefixed" else self.name
        where = "" if self.host == "*" else f" from {self.host}"
        return f"{self.permission} {self.principal} {self.operation} {self.resource} {name}{where}"


@dataclass(frozen=True)
class AclChanges:
    """Grants to add and to remove."""

    add: list[Acl]
    remove: list[Acl]

    def __bool__(self) -> bool:
        return bool(self.add or self.remove)


def acl_changes(wanted: Collection[Acl], present: Collection[Acl]) -> AclChanges:
    """The wanted grants are the whole truth: all others go."""
    return AclChanges(sorted(set(wanted) - set(present)), sorted(set(present) - set(wanted)))


def known_nights(
    policy: Policy, site: Site, present: Iterable[str], nights: Iterable[str] = ()
) -> list[tuple[str, int]]:
    """(night, programme) of every topic that grants at a site may name.

    ``present``: names of the cluster's topics; ``nights``: those that are being made. A programme that the policy does
    not put at the site is left out even where its topic exists: grants on it are withdrawn.
    """
    allowed = policy.allowed(site)
    asked = {(topics.check_night(night), programme) for night in nights for programme in allowed}
    canaries = {parts} if (name := canary_topic(policy)) and (parts := topics.parse(name)) else set()
    there = {parts for name in present if (parts := topics.parse(name)) and parts[1] in allowed}
    return sorted({pair for pair in asked | there if pair[0] != topics.CANARY_NIGHT} | canaries)


def wanted_acls(policy: Policy, site: Site, nights: Collection[tuple[str, int]]) -> list[Acl]:
    """Every grant of a site, for the (night, programme) pairs of :func:`known_nights`."""
    grants = _Grants(nights)
    for user in policy.users:
        if user.site == site:
            _grant_user(grants, policy, user)
    if site == "origin":
        _grant_producer(grants)
        _grant_mirror_at_origin(grants, policy)
    else:
        _grant_mirror_at_public(grants, policy)
        for group in policy.groups():
            _grant_filters(grants, policy, group)
    return sorted(grants.acls)


class _Grants:
    """Grants being written down."""

    def __init__(self, nights: Collection[tuple[str, int]]) -> None:
        self.acls: set[Acl] = set()
        self._nights = nights

    def allow(self, user: str, operations: str, resource: str, name: str, *, prefix: bool = False) -> None:
        """Allow a user some operations (their names, separated by spaces) on one resource or on a prefix of names."""
        pattern = "prefixed" if prefix else "literal"
        self.acls |= {Acl(f"User:{user}", resource, name, pattern, operation) for operation in operations.split()}

    def nights(self, user: str, operations: str, programmes: Collection[int]) -> None:
        """Allow a user some operations on the topics of these programmes, night by night.

        Only the mirror has a right on the canaries': whoever reads every night by a pattern does not see them.
        """
        for night, programme in self._nights:
            if programme in programmes and (night != topics.CANARY_NIGHT or user == principals.MIRROR):
                self.allow(user, operations, "topic", topics.topic(night, programme))

    def transactions(self, user: str) -> None:
        """A program's transactional producers: ``ACCOUNT.WHICH``."""
        self.allow(user, "write", "transactional_id", f"{user}.", prefix=True)


# Kafka's own rule: who may read or write may describe, who may write in a transaction needs no right to be idempotent.


def _grant_user(grants: _Grants, policy: Policy, user: User) -> None:
    # Many clients ask for a topic's settings before they read it.
    grants.nights(user.name, "read describe_configs", user.programmes)
    for entry in policy.filters:
        if entry.owner == user.name:
            grants.allow(user.name, "read describe_configs", "topic", topics.filter_topic(entry.name))
    # Their consumer groups: the one named as they are, and all that begin with their name and a hyphen.
    grants.allow(user.name, "read delete", "group", user.name)
    grants.allow(user.name, "read delete", "group", f"{user.name}-", prefix=True)


def _grant_producer(grants: _Grants) -> None:
    grants.nights(principals.PRODUCER, "write", topics.PROGRAMMES)
    grants.allow(principals.PRODUCER, "write", "topic", topics.REJECTED)
    # It reads its ledger back to know what it has acknowledged, and commits no offset.
    grants.allow(principals.PRODUCER, "read write", "topic", topics.LEDGER)
    grants.allow(principals.PRODUCER, "describe", "group", principals.LEDGER_GROUP)
    grants.transactions(principals.PRODUCER)


def _grant_mirror_at_origin(grants: _Grants, policy: Policy) -> None:
    # What it may not describe it does not see: topics of other programmes do not exist for it.
    grants.nights(principals.MIRROR, "read", policy.allowed("public"))


def _grant_mirror_at_public(grants: _Grants, policy: Policy) -> None:
    """What MirrorMaker 2 asks of its target with exactly-once on.

    Source: KIP-618 (transactional ids, the group) and the Kafka documentation's list of what a Connect worker needs
    (its group, and three internal topics that it creates and whose cleanup policy it checks). Nights' topics are made
    by the deployment, so that it needs no create on them, and their settings are not its concern.
    """
    grants.nights(principals.MIRROR, "write", policy.allowed("public"))
    internal = "create read write describe_configs"
    grants.allow(principals.MIRROR, internal, "topic", _CONNECT_CONFIGS, prefix=True)
    for name in _CONNECT_TOPICS:
        grants.allow(principals.MIRROR, internal, "topic", name)
    grants.allow(principals.MIRROR, "read", "group", principals.MIRROR)
    # The worker's own id, and one of each task: GROUP-CONNECTOR-TASK.
    grants.allow(principals.MIRROR, "write", "transactional_id", f"connect-cluster-{principals.MIRROR}")
    grants.allow(principals.MIRROR, "write", "transactional_id", f"{principals.MIRROR}-", prefix=True)


def _grant_filters(grants: _Grants, policy: Policy, group: str) -> None:
    user = principals.filters(group)
    running = [entry for entry in policy.filters if entry.group == group and entry.state != "off"]
    programmes = frozenset[int]().union(*(policy.reads(entry) for entry in running))
    grants.nights(user, "read", programmes)
    for entry in running:
        # A filter in shadow runs and is counted: the broker, too, sees to it that it publishes nothing.
        if entry.state == "active":
            grants.allow(user, "write", "topic", topics.filter_topic(entry.name))
    grants.allow(user, "write", "topic", topics.REJECTED)
    # A worker goes on from the counts that its predecessor left.
    grants.allow(user, "read write", "topic", topics.FILTER_COUNTS)
    grants.allow(user, "read", "group", user)
    grants.transactions(user)


def shared(acls: Iterable[Acl]) -> list[str]:
    """Which consumer groups and transactional ids more than one principal may use: nobody may touch another's."""
    owned = sorted({(acl.resource, acl.principal, acl.name, acl.pattern) for acl in acls if acl.resource in _OWNED})
    return [
        f"users: {one[1].removeprefix('User:')} and {other[1].removeprefix('User:')} would share the "
        f"{one[0].replace('_', ' ')} {max(one[2], other[2], key=len)}: give one of them another name"
        for one, other in itertools.combinations(owned, 2)
        if (one[0] == other[0] and one[1] != other[1] and _meet(one[2:], other[2:]))
    ]


def _meet(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether a name exists that both (name, pattern) match."""
    (short, pattern), (long, _) = sorted((one, other), key=lambda resource: len(resource[0]))
    if len(short) == len(long):
        return short == long
    return pattern == "prefixed" and long.startswith(short)
