"""How much of a site each user may take, as quotas of its brokers, and what differs from those that it has.

Each broker counts for itself. So a user's bytes a second are divided evenly among the site's brokers. The user gets
less while a broker is down, or while they read from one broker only. A broker averages over the last eleven seconds. It
delays the next answer to a user who is above the limit, and refuses nothing.

Everybody has limits, also users who have none of their own. Our own programs, the brokers and the operators have
entries that limit nothing: without them, the limits of everybody would be theirs, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zads import names
from zads.quotas import Entity, user
from zads.site.access import accounts
from zads.site.people import Limits
from zads.site.policy import Policy, Site

#: Nobody but our programs may write a topic. What others send is refused, but costs its transport.
_WRITE = 100_000
#: More than any broker can do: Kafka knows no word for "without a limit".
UNLIMITED = {"consumer_byte_rate": 1e15, "producer_byte_rate": 1e15, "request_percentage": 1e6}
_EVERYBODY = user(None)

Quotas = Mapping[Entity, Mapping[str, float]]


def wanted_quotas(policy: Policy, site: Site, brokers: Sequence[str]) -> dict[Entity, dict[str, float]]:
    """The quotas of a site with these brokers (their names in the inventory), in the order in which to set them."""
    people = {one.name: one for one in policy.users if one.site == site}
    programs = [name for name in accounts(policy, site) if name not in people]
    found = {user(name): dict(UNLIMITED) for name in [*programs, names.ADMIN, *map(names.broker_principal, brokers)]}
    for name, one in sorted(people.items()):
        if (limits := one.limited(policy.users_limits)) != policy.users_limits:
            found[user(name)] = _values(limits, len(brokers))
    # Everybody's are the last to be set: no program must be limited by them, even for a moment.
    return {**found, _EVERYBODY: _values(policy.users_limits, len(brokers))}


def quota_changes(wanted: Quotas, present: Quotas) -> dict[Entity, dict[str, float | None]]:
    """The values to set, and to remove (None), in the order in which to do so.

    Quotas that are not wanted are removed, even if the deployment did not make them: one for a user together with a
    client's name would go before the user's.
    """
    found: dict[Entity, dict[str, float | None]] = {}
    for entity in [*wanted, *(one for one in present if one not in wanted)]:
        want, have = wanted.get(entity, {}), present.get(entity, {})
        keys = sorted({*want, *have})
        if values := {key: want.get(key) for key in keys if want.get(key) != have.get(key)}:
            found[entity] = values
    return found


def _values(limits: Limits, brokers: int) -> dict[str, float]:
    return {
        "consumer_byte_rate": float(-(-limits.read // max(brokers, 1))),
        "producer_byte_rate": float(_WRITE),
        "request_percentage": float(limits.requests),
    }
