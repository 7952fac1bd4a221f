"""What an inventory changes for each person at a site: who is added, changed, expired or revoked, what each loses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from zads import names
from zads.quotas import Entity, user
from zads.site.access import Acl
from zads.site.limits import Quotas, wanted_quotas
from zads.site.policy import Policy, Site

Kind = Literal["added", "changed", "expired", "revoked"]


@dataclass(frozen=True)
class Standing:
    """What people have at a site, or ought to have there: accounts, grants and limits."""

    accounts: Collection[str]
    acls: Collection[Acl]
    quotas: Quotas

    def people(self) -> set[str]:
        """Everybody who has anything; our own programs are left out."""
        found = {*self.accounts, *(acl.principal.removeprefix("User:") for acl in self.acls)}
        found |= {name for kind, name in (pair for entity in self.quotas for pair in entity) if kind == "user" and name}
        return {name for name in found if not names.is_program(name)}


@dataclass(frozen=True)
class Change:
    """What changes for one person. ``gains`` and ``loses`` are in words; ``repairs`` counts grants on single topics."""

    kind: Kind
    name: str
    gains: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    repairs: int = 0
    note: str = ""

    def __str__(self) -> str:
        said = [f"loses {', '.join(self.loses)}"] if self.loses else []
        said += [f"gets {', '.join(self.gains)}"] if self.gains else []
        said += [f"{self.repairs} grants are put right"] if self.repairs and not said else []
        said += [self.note] if self.note else []
        return f"{self.kind} {self.name}: {'; '.join(said)}"


def user_changes(policy: Policy, site: Site, wanted: Standing, present: Standing) -> list[Change]:
    """The changes at a site, by the person's name. Empty if everybody has what the inventory says."""
    everybody = sorted(wanted.people() | present.people())
    return [change for name in everybody if (change := _change(policy, site, name, wanted, present))]


def limits_changes(wanted: Quotas, present: Quotas) -> list[str]:
    """A line if the limits of everybody change."""
    now, then = _limits(None, present), _limits(None, wanted)
    return (
        [] if now == then else [f"changed everybody without limits of their own: {_or_none(then)}; was {_or_none(now)}"]
    )


def _change(policy: Policy, site: Site, name: str, wanted: Standing, present: Standing) -> Change | None:
    want, have = _words(name, wanted), _words(name, present)
    gains, loses = _missing(want, have), _missing(have, want)
    repairs = len(_of(name, wanted.acls) ^ _of(name, present.acls))
    if not gains and not loses and not repairs:
        return None
    ended = {one.name: one for one in policy.expired if one.site == site}
    if name in ended:
        return Change("expired", name, gains, loses, note=_expired(policy, name, str(ended[name].expires)))
    if name not in wanted.accounts:
        return Change("revoked", name, gains, loses)
    return Change("changed" if name in present.accounts else "added", name, gains, loses, repairs)


def _expired(policy: Policy, name: str, last: str) -> str:
    filters = [one.name for one in policy.filters if one.owner == name and one.runs]
    owns = f'; their filters run on until their state is "off": {", ".join(filters)}' if filters else ""
    return f"the last day was {last}{owns}"


def _missing(these: Iterable[str], those: Collection[str]) -> tuple[str, ...]:
    return tuple(one for one in these if one not in those)


def _of(name: str, acls: Iterable[Acl]) -> set[Acl]:
    return {acl for acl in acls if acl.principal == f"User:{name}"}


def _words(name: str, standing: Standing) -> list[str]:
    """What somebody has, a phrase for each thing."""
    mine = _of(name, standing.acls)
    found = ["the account"] if name in standing.accounts else []
    found += sorted({_right(acl) for acl in mine})
    if (hosts := {acl.host for acl in mine}) - {"*"}:
        found.append(f"connections from {' and '.join(sorted(hosts))} only")
    if limits := _limits(name, standing.quotas):
        found.append(f"limits of their own ({limits})")
    return found


def _right(acl: Acl) -> str:
    """A grant in words; those on the topics of one programme are the same phrase."""
    if acl.permission != "allow":
        return str(acl)
    if acl.resource == "group":
        return "consumer groups of their name"
    if acl.resource != "topic":
        return f"{acl.resource} {acl.name}"
    if parts := names.parse_topic(acl.name):
        return f"programme {parts[1]}"
    if (passed_by := names.filter_name(acl.name)) is not None:
        return f"what the filter {passed_by} passes"
    if (sample := names.sample_name(acl.name)) is not None:
        return f"the sample {sample}"
    if acl.name == names.owner_topic(acl.principal.removeprefix("User:")):
        return "what their filters count"
    return f"topic {acl.name}"


def _limits(name: str | None, quotas: Mapping[Entity, Mapping[str, float]]) -> str:
    """The limits on one broker in words; empty if there are none."""
    values = quotas.get(user(name), {})
    words = {"consumer_byte_rate": "{:.0f} bytes/s", "request_percentage": "{:.0f} % of a thread"}
    said = [text.format(values[key]) for key, text in words.items() if key in values]
    return f"{' and '.join(said)} on each broker" if said else ""


def _or_none(limits: str) -> str:
    return limits or "no limit"


def wanted_standing(policy: Policy, site: Site, acls: Collection[Acl], brokers: list[str]) -> Standing:
    """What the people of an inventory must have at a site whose grants are ``acls``."""
    people = [one.name for one in policy.users if one.site == site]
    return Standing(people, acls, wanted_quotas(policy, site, brokers))
