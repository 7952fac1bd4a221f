"""The accounts and grants that a site must have, and what differs from the grants that it has.

Brokers deny everything that is not granted. A grant on a night names one topic: a prefix would open every programme of
the night, because the programme comes after the date in a topic's name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from zads import names
from zads.site.people import User
from zads.site.policy import Policy, Site
from zads.site.topics import canary_topic

# MirrorMaker's topics for the flow origin -> public; the first name is a prefix, followed by a hash of its settings.
_CONNECT_CONFIGS = "mm2-configs.origin."
_CONNECT_TOPICS = (names.MIRROR_PLACES_TOPIC, "mm2-status.origin.internal")
# Kafka's name of all topics, or of all groups, in a literal grant.
_EVERY = "*"
# Kafka's name of a cluster as a resource.
_CLUSTER = "kafka-cluster"
# Programs that not every deployment has, with an account at both sites.
_OPTIONAL = (names.ARCHIVE, names.AUDITOR, names.BOARD, names.EXPORTER)


def accounts(policy: Policy, site: Site) -> list[str]:
    """Everybody who has a password at a site: its users, and the programs that work there."""
    people = [user.name for user in policy.users if user.site == site]
    programs = [names.MIRROR, names.NIGHT_KEEPER, *(name for name in _OPTIONAL if policy.has(name))]
    if site == "origin":
        return sorted([*people, *programs, names.PRODUCER])
    return sorted([*people, *programs, *map(names.filters_principal, policy.groups())])


@dataclass(frozen=True, order=True)
class Acl:
    """One access control entry in the words of ``kafka-acls``; every wanted entry allows. A host ``*`` is any host."""

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
    """Compare grants: those that are not wanted are removed, even if the deployment did not make them."""
    return AclChanges(sorted(set(wanted) - set(present)), sorted(set(present) - set(wanted)))


def known_nights(
    policy: Policy, site: Site, present: Iterable[str], nights: Iterable[str] = ()
) -> list[tuple[str, int]]:
    """(night, programme) of every topic that grants at a site may name.

    ``present``: names of the cluster's topics; ``nights``: those that are being made. A programme that the policy does
    not put at the site is left out even where its topic exists: grants on it are withdrawn.
    """
    allowed = policy.allowed(site)
    asked = {(names.check_night(night), programme) for night in nights for programme in allowed}
    canaries = {parts} if (name := canary_topic(policy)) and (parts := names.parse_topic(name)) else set()
    there = {parts for name in present if (parts := names.parse_topic(name)) and parts[1] in allowed}
    return sorted({pair for pair in asked | there if pair[0] != names.CANARY_NIGHT} | canaries)


def wanted_acls(policy: Policy, site: Site, nights: Collection[tuple[str, int]]) -> list[Acl]:
    """Every grant of a site, for the (night, programme) pairs of :func:`known_nights`."""
    grants = _Grants(nights)
    for user in policy.users:
        if user.site == site:
            _grant_user(grants.only_from(user.hosts), policy, user)
    _grant_night_keeper(grants, policy, site)
    if policy.has(names.ARCHIVE):
        _grant_archive(grants, policy, site)
    if policy.has(names.AUDITOR):
        _grant_auditor(grants, site)
    if policy.has(names.EXPORTER):
        _grant_exporter(grants, policy, site)
    if policy.has(names.BOARD):
        _grant_board(grants, policy, site)
    if site == "origin":
        _grant_producer(grants)
        _grant_mirror_at_origin(grants, policy)
    else:
        _grant_mirror_at_public(grants, policy)
        for group in policy.groups():
            _grant_filters(grants, policy, group)
    return sorted(grants.acls)


class _Grants:
    """Collects grants."""

    def __init__(self, nights: Collection[tuple[str, int]]) -> None:
        self.acls: set[Acl] = set()
        self._nights = nights
        self._hosts: tuple[str, ...] = ("*",)

    def only_from(self, hosts: tuple[str, ...]) -> _Grants:
        """The same collection, for somebody who may come from these hosts alone."""
        limited = _Grants(self._nights)
        limited.acls, limited._hosts = self.acls, hosts
        return limited

    def allow(self, user: str, operations: str, resource: str, name: str, *, prefix: bool = False) -> None:
        """Allow a user some operations (their names, separated by spaces) on one resource or on a prefix of names."""
        pattern = "prefixed" if prefix else "literal"
        self.acls.update(
            Acl(f"User:{user}", resource, name, pattern, operation, host=host)
            for operation in operations.split()
            for host in self._hosts
        )

    def nights(self, user: str, operations: str, programmes: Collection[int]) -> None:
        """Allow a user some operations on the topics of these programmes, night by night.

        On the canaries' topic none but the mirror gets a right here: a user who reads all nights by a pattern does not
        see it.
        """
        for night, programme in self._nights:
            if programme in programmes and (night != names.CANARY_NIGHT or user == names.MIRROR):
                self.allow(user, operations, "topic", names.night_topic(night, programme))

    def transactions(self, user: str) -> None:
        """A program's transactional producers: ``ACCOUNT.WHICH``."""
        self.allow(user, "write", "transactional_id", f"{user}.", prefix=True)


# By Kafka's rules, read and write imply describe, and a transactional writer needs no right to be idempotent.


def _grant_user(grants: _Grants, policy: Policy, user: User) -> None:
    # Many clients ask for a topic's settings before they read it.
    grants.nights(user.name, "read describe_configs", user.programmes)
    for entry in policy.filters:
        if entry.owner == user.name:
            grants.allow(user.name, "read describe_configs", "topic", names.filter_topic(entry.name))
            grants.allow(user.name, "read describe_configs", "topic", names.owner_topic(user.name))
    for sample in policy.samples:
        if sample.site == user.site and user.name in sample.readers:
            grants.allow(user.name, "read describe_configs", "topic", sample.topic)
    # A user's consumer groups: the one with the user's name, and all that begin with the name and a hyphen.
    grants.allow(user.name, "read delete", "group", user.name)
    grants.allow(user.name, "read delete", "group", f"{user.name}-", prefix=True)


def _grant_producer(grants: _Grants) -> None:
    grants.nights(names.PRODUCER, "write", names.PROGRAMMES)
    grants.allow(names.PRODUCER, "write", "topic", names.REJECTED_TOPIC)
    # The producer reads its ledger to know what it has published, and commits no offset.
    grants.allow(names.PRODUCER, "read write", "topic", names.LEDGER_TOPIC)
    grants.allow(names.PRODUCER, "describe", "group", names.LEDGER_GROUP)
    grants.transactions(names.PRODUCER)


def _grant_mirror_at_origin(grants: _Grants, policy: Policy) -> None:
    # The mirror does not see topics that it may not describe: those of other programmes do not exist for it.
    # MirrorMaker 2 asks for a topic's settings if the topic is not at the public site yet. Without the right to do so,
    # its round fails after it has noted the topic as known: the topic is not mirrored until another one appears.
    grants.nights(names.MIRROR, "read describe_configs", policy.allowed("public"))


def _grant_mirror_at_public(grants: _Grants, policy: Policy) -> None:
    """Grants that MirrorMaker 2 needs at its target with exactly-once on.

    Source: KIP-618 (transactional ids, the group) and the Kafka documentation's list of what a Connect worker needs
    (its group, and three internal topics that it creates and whose cleanup policy it checks). The deployment makes the
    nights' topics, so MirrorMaker needs no right to create them or to see their settings.
    """
    grants.nights(names.MIRROR, "write", policy.allowed("public"))
    internal = "create read write describe_configs"
    grants.allow(names.MIRROR, internal, "topic", _CONNECT_CONFIGS, prefix=True)
    for name in _CONNECT_TOPICS:
        grants.allow(names.MIRROR, internal, "topic", name)
    grants.allow(names.MIRROR, "read", "group", names.MIRROR)
    # The worker's own id, and one id for each task: GROUP-CONNECTOR-TASK.
    grants.allow(names.MIRROR, "write", "transactional_id", f"connect-cluster-{names.MIRROR}")
    grants.allow(names.MIRROR, "write", "transactional_id", f"{names.MIRROR}-", prefix=True)


def _grant_night_keeper(grants: _Grants, policy: Policy, site: Site) -> None:
    """Grants by which the nights' topics and the grants on them are made and removed.

    The operations that Kafka checks: create, delete and describe a topic (the last also to ask for the offsets of its
    records), alter it (more partitions), see and change its settings. A grant is a change of the cluster, and to see
    all grants is to describe the cluster. There is no smaller right: who may alter the cluster can give anything to
    anybody. The keeper reads and writes no alerts: of records, it has only those of the canaries.
    """
    keeper = names.NIGHT_KEEPER
    operations = "create delete describe alter describe_configs alter_configs"
    grants.allow(keeper, operations, "topic", names.NIGHT_PREFIX, prefix=True)
    grants.allow(keeper, "describe alter", "cluster", _CLUSTER)
    if (canaries := canary_topic(policy)) is not None:
        # At both sites it reads the brokers' clocks off canaries. Those that it sends to origin it reads at public.
        grants.allow(keeper, "read write" if site == "public" else "write", "topic", canaries)
    if site == "origin":
        grants.allow(keeper, "write", "transactional_id", f"{names.WARM_UP}.", prefix=True)
    else:
        grants.allow(keeper, "describe", "group", keeper)


def _grant_archive(grants: _Grants, policy: Policy, site: Site) -> None:
    """Grants by which nights are archived: to read them at both sites, and at the origin what the ledger says of them.

    It writes nothing and commits no offset.
    """
    grants.allow(names.ARCHIVE, "describe", "group", names.ARCHIVE)
    grants.nights(names.ARCHIVE, "read", policy.allowed(site))
    if site == "origin":
        grants.allow(names.ARCHIVE, "read", "topic", names.LEDGER_TOPIC)


def _grant_auditor(grants: _Grants, site: Site) -> None:
    """Grants by which nights are audited: to read all that an audit compares, and to write nothing.

    A programme that is at a site although the policy does not put it there must be seen, so the nights are granted by
    their prefix. The client asks who coordinates its group, and commits no offset.
    """
    auditor = names.AUDITOR
    grants.allow(auditor, "read", "topic", names.NIGHT_PREFIX, prefix=True)
    grants.allow(auditor, "read", "topic", names.REJECTED_TOPIC)
    grants.allow(auditor, "describe", "group", auditor)
    if site == "origin":
        grants.allow(auditor, "read", "topic", names.LEDGER_TOPIC)
    else:
        grants.allow(auditor, "read", "topic", names.FILTER_PREFIX, prefix=True)
        grants.allow(auditor, "read", "topic", names.FILTER_COUNTS_TOPIC)


def _grant_exporter(grants: _Grants, policy: Policy, site: Site) -> None:
    """Grants to see what there is, and to change nothing.

    To describe the cluster is to see the sizes on disks, all groups, and who has which grants. To describe a topic is
    to see its offsets. Alerts are read at origin alone, of those programmes that are public anyway: so the exporter
    knows whether the mirror has one left to copy. At the public site it reads the mirror's places.
    """
    exporter = names.EXPORTER
    grants.allow(exporter, "describe", "cluster", _CLUSTER)
    grants.allow(exporter, "describe describe_configs", "topic", _EVERY)
    grants.allow(exporter, "describe", "group", _EVERY)
    if site == "origin":
        grants.nights(exporter, "read", policy.allowed("public"))
    else:
        grants.allow(exporter, "read", "topic", names.MIRROR_PLACES_TOPIC)
    if (canaries := canary_topic(policy)) is not None:
        grants.allow(exporter, "read write" if site == "origin" else "read", "topic", canaries)


def _grant_board(grants: _Grants, policy: Policy, site: Site) -> None:
    """Grants by which the Night Board reads the public site, and sees how far the origin is. It writes nothing.

    It enforces itself who sees what of it (zads.board.view). At the origin it may see the topics of the programmes that
    are mirrored, and read no record of them.
    """
    mirrored = policy.allowed("public")
    if site == "origin":
        grants.nights(names.BOARD, "describe", mirrored)
        return
    grants.nights(names.BOARD, "read", mirrored)
    for entry in policy.filters:
        if entry.runs:
            grants.allow(names.BOARD, "read", "topic", names.filter_topic(entry.name))
    grants.allow(names.BOARD, "read", "topic", names.FILTER_COUNTS_TOPIC)
    grants.allow(names.BOARD, "describe", "group", names.BOARD)
    for group in policy.groups():  # how far each is behind
        grants.allow(names.BOARD, "describe", "group", names.filters_principal(group))


def _grant_filters(grants: _Grants, policy: Policy, group: str) -> None:
    user = names.filters_principal(group)
    grants.nights(user, "read", policy.read_by(group))
    for entry in policy.running_filters(group):
        # A filter in shadow runs and is counted, but has no grant: so the broker, too, prevents it from publishing.
        if entry.state == "active":
            grants.allow(user, "write", "topic", names.filter_topic(entry.name))
        grants.allow(user, "write", "topic", names.owner_topic(entry.owner))
    grants.allow(user, "write", "topic", names.REJECTED_TOPIC)
    # A worker goes on from the counts that its predecessor left.
    grants.allow(user, "read write", "topic", names.FILTER_COUNTS_TOPIC)
    grants.allow(user, "read", "group", user)
    grants.transactions(user)
