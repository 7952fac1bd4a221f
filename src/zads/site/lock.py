"""Who operates a site: at most one operation at a time has the site's lock.

The lock is a file on the hosts of the site's brokers (the module ``site_lock`` writes it), so control machines exclude
each other, and it works before the first deployment and while no broker runs. An operation has the lock if more than
half of these hosts hold its file: two operations cannot both have that. An operation that finds another's file on any
host gives its own back and refuses. Only its operation, or an operator on purpose, ends a lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from zads.errors import some

_NAMED = 3  # hosts named in one reason
_STALE_SECONDS = 4 * 3600  # no operation takes longer


@dataclass(frozen=True)
class Lock:
    """A lock as a host holds it. ``age``: seconds by the clock of that host."""

    token: str
    owner: str
    operation: str
    reason: str
    age: float

    def __str__(self) -> str:
        why = f", reason: {self.reason}" if self.reason else ""
        return f"{self.owner} has held it for {duration(self.age)} ({self.operation}{why})"


@dataclass(frozen=True)
class Answer:
    """A host's answer: the lock that it holds, if any, or why it did not answer."""

    host: str
    lock: Lock | None = None
    failure: str = ""


@dataclass(frozen=True)
class Taking:
    """The attempt to lock sites: the hosts that hold our lock, by site, and why this is not enough (else nothing)."""

    held: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def first_hosts(sites: Mapping[str, Sequence[str]]) -> list[str]:
    """The hosts that are asked first: of each site more than half, in an order that all operations share."""
    return [host for hosts in sites.values() for host in sorted(hosts)[: _enough(hosts)]]


def taking(sites: Mapping[str, Sequence[str]], answers: Iterable[Answer], token: str, env: str) -> Taking:
    """Whether the operation ``token`` has the lock of each site, given by the hosts of its brokers.

    Answers are needed from more than half of a site's hosts; hosts that were not asked do not count.
    """
    by_host = {answer.host: answer for answer in answers}
    held, problems = {}, []
    for site, hosts in sites.items():
        asked = [by_host[host] for host in sorted(hosts) if host in by_host]
        held[site] = [one.host for one in asked if one.lock and one.lock.token == token]
        others = [one.lock for one in asked if one.lock and one.lock.token != token]
        if others:
            problems.append(f"{site} is locked: {others[0]}. {remedy(others[0], env)}")
        elif len(held[site]) < _enough(hosts):
            silent = [f"{one.host} ({one.failure})" for one in asked if one.failure]
            problems.append(
                f"{site} cannot be locked: {len(held[site])} of its {len(hosts)} brokers' hosts answer, "
                f"{_enough(hosts)} are needed; {some(silent, _NAMED)}"
            )
    return Taking(held, problems)


def remedy(lock: Lock, env: str) -> str:
    """What to do about another operation's lock."""
    command = f"make unlock ENV={env} REASON='why it may be broken'"
    if lock.age > _STALE_SECONDS:
        return f"No operation takes so long, so it is stale: ask {lock.owner}, then {command}"
    return f"Wait until that operation ends; if it has died with its control machine: {command}"


def holders(sites: Mapping[str, Sequence[str]], answers: Iterable[Answer]) -> dict[str, Lock]:
    """The lock that hosts hold, by site. A site that nobody holds is left out."""
    by_host = {answer.host: answer.lock for answer in answers}
    found = {}
    for site, hosts in sites.items():
        if locks := [lock for host in sorted(hosts) if (lock := by_host.get(host))]:
            found[site] = locks[0]
    return found


def duration(seconds: float) -> str:
    """A duration in its two largest units, such as ``2 h 5 min``."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days < 1 else f"{days} d {hours % 24} h"


def _enough(hosts: Sequence[str]) -> int:
    return len(hosts) // 2 + 1
