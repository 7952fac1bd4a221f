"""Which step of a change of authorities is the next, whether everybody is ready for it, and what it means for whom.

The steps are those of :mod:`zads.site.authority`. Everybody must have the files of one step before the next one begins:
else a certificate of an authority that somebody does not trust would be shown to them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zads.errors import some
from zads.site import certificates
from zads.site.authority import Authority
from zads.site.certificates import fingerprint, is_authority, issued

#: Group of hosts -> where its programs keep certificates. Files of a program that a host no longer runs do not count.
PLACES = {
    "kafka": "/etc/kafka/",
    "zookeeper": "/etc/zookeeper/",
    "producers": "/etc/zads/producer/",
    "mirrors": "/etc/zads/mirrormaker/",
    "night_keepers": "/etc/zads/night_keeper/",
    "archives": "/etc/zads/archive",  # and of the server, beside it
    "auditors": "/etc/zads/auditor/",
    "exporters": "/etc/zads/site_exporter/",
    "workers": "/etc/zads/filters/",
    "boards": "/etc/zads/board/",
    "monitors": "/etc/zads/prometheus/",
}
_NAMED = 4  # users in one line; the others are counted


@dataclass(frozen=True)
class Kept:
    """An authority of this control machine. ``trusted``: SHA-256 of each certificate, that of the issuer first."""

    name: str
    step: int
    begun: bool
    trusted: tuple[str, ...]

    @property
    def started(self) -> bool:
        """Whether a change of it is under way."""
        return self.begun or self.step > 0


@dataclass(frozen=True)
class File:
    """A file with certificates on a host or in a kit, as SHA-256 of each."""

    where: str
    path: str
    certificates: frozenset[str]

    def __str__(self) -> str:
        return f"{self.where}: {self.path}"


@dataclass
class Plan:
    """The authorities that take a step, the step that they come from, and what stands against it."""

    names: list[str]
    step: int = 0
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def kept(directory: Path, patterns: Iterable[str]) -> tuple[list[Kept], set[str]]:
    """The authorities below a directory whose first part of the name is wanted, and SHA-256 of what hosts may have.

    ``patterns``: ``origin``, ``public``, ``mirrors``; none for all. Hosts may have every authority that is trusted, and
    every certificate of one that issues: no other is worth anything after the next step.
    Raises ValueError for a file that cannot be used.
    """
    wanted = set(patterns)
    authorities, leaves = [], []
    for name, there in certificates.found(directory).items():
        if not there or name.endswith("-second"):
            continue
        if not is_authority(there[0]):
            leaves.append(there[0])
            continue
        authority = Authority.load(directory / name)
        if authority is None:
            raise ValueError(f"{directory / name}.key is missing: restore it from the backup")
        authorities.append((name, authority))
    issuers = [authority.trusted[0] for _, authority in authorities]
    known = {fingerprint(one) for one in leaves if any(issued(one, by) for by in issuers)}
    known |= {fingerprint(one) for _, authority in authorities for one in authority.trusted}
    chosen = [
        Kept(name, one.step, one.begun, tuple(map(fingerprint, one.trusted)))
        for name, one in authorities
        if not wanted or name.partition("/")[0] in wanted
    ]
    return chosen, known


def files(hosts: Iterable[tuple[str, Collection[str], dict[str, list[str]]]]) -> list[File]:
    """The files that count, of hosts as (name, its groups, SHA-256 of the certificates in each file)."""
    found = []
    for name, groups, there in hosts:
        for path, prints in sorted(there.items()):
            owners = [group for group, place in PLACES.items() if path.startswith(place)]
            if prints and (not owners or set(owners) & set(groups)):
                found.append(File(name, path, frozenset(prints)))
    return found


def kits(clients: Path, fingerprints: dict[str, list[str]]) -> list[File]:
    """The users' kits below a directory, from SHA-256 of the certificates in each ``ca.pem``."""
    return [File(f"the kit of {user}", str(clients / user), frozenset(prints)) for user, prints in fingerprints.items()]


def plan(
    authorities: Sequence[Kept], there: Sequence[File], users: Sequence[File], known: Collection[str], *, back: bool
) -> Plan:
    """What the next step is (with ``back`` the taking back of the last one), and what stands against it.

    If some authorities are being changed, they go on together and the others stay as they are. Of several steps that
    an interrupted run has left, the least advanced goes first.
    """
    under_way = [one for one in authorities if one.started]
    ready = under_way or [one for one in authorities if _known_by_any(there, one)]
    if back and not under_way:
        return Plan([], problems=["no authority is being changed"])
    if not ready:
        return Plan([], problems=["no host knows such an authority: make deploy"])
    at = (max if back else min)(one.step for one in ready)
    chosen = [one for one in ready if one.step == at]
    result = Plan([one.name for one in chosen], at)
    everybody = [*there, *users]
    after = at - 1 if back else (at + 1) % 3
    for one in chosen:
        if not _known_by_any(there, one):
            result.problems.append(f"no host knows {one.name}: make deploy")
        if (at, after) in ((1, 2), (2, 1)):
            result.problems += _distrust(one, everybody, issuer=one.trusted[1])
    if after == 0 and at > 0:
        result.problems += _unknown(there, known)
    result.lines = [f"{one.name}: {_SAYS[at, after]}" for one in chosen]
    result.lines += [f"left as they are: {', '.join(rest)}"] if (rest := _rest(authorities, chosen)) else []
    named = sorted({one.where.removeprefix("the kit of ") for one in users for two in chosen if _knows(one, two)})
    if named:
        result.lines.append(f"{_SUBSCRIBERS[at, after]} ({some(named, _NAMED)})")
    return result


def _rest(authorities: Sequence[Kept], chosen: Sequence[Kept]) -> list[str]:
    return [one.name for one in authorities if one not in chosen]


def _known_by_any(there: Iterable[File], authority: Kept) -> bool:
    return any(_knows(one, authority) for one in there)


def _knows(one: File, authority: Kept) -> bool:
    return bool(one.certificates & set(authority.trusted))


def _distrust(authority: Kept, there: Iterable[File], *, issuer: str) -> list[str]:
    """A line for each file that trusts this authority, but not the certificate that is to issue."""
    return [
        f"{one} does not trust both certificates of {authority.name} yet"
        for one in there
        if _knows(one, authority) and issuer not in one.certificates
    ]


def _unknown(there: Iterable[File], known: Collection[str]) -> list[str]:
    """A line for each file that has none of this machine's certificates: it may be one of an authority that ends."""
    return [f"{one} is another certificate than this machine's" for one in there if not one.certificates & set(known)]


#: (Step before, step after) -> what happens.
_SAYS = {
    (
        0,
        1,
    ): "step 1 of 3: a new authority is made. All hosts and kits will trust it as well; the old one goes on issuing",
    (1, 2): "step 2 of 3: all certificates are made anew by the new authority. The old one is still trusted",
    (2, 0): "step 3 of 3: the old authority is no longer trusted, and its key is removed",
    (2, 1): "step 2 is taken back: all certificates are made anew by the old authority",
    (1, 0): "step 1 is taken back: the new authority is no longer trusted, and its key is removed",
}
#: And what it means for those who have a kit. Kafka does not tell which authorities a client trusts.
_SUBSCRIBERS = {
    (0, 1): "every subscriber needs the kit that this step writes, before step 2",
    (1, 2): "a subscriber who does not use the kit of step 1 cannot connect any more",
    (
        2,
        0,
    ): "nothing changes for a subscriber who has the kit of step 1; the kit of this step no longer has the old one",
    (2, 1): "subscribers with a kit of before step 1 can connect again",
    (1, 0): "every subscriber with the kit of step 1 can still connect",
}
