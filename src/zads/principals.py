"""Names of the system's own programs, brokers and operators: none of them can be a user's.

Each begins with ``zads.``. The name of a user has no dot (``zads.site.policy``), and a user's consumer groups are NAME
and NAME-…, so no user's name or group can be a name made here. Parts are joined by dots, and the name of a group of
filters has no dot either, so the prefix ``zads.filter.a.`` belongs to one group alone.
"""

from __future__ import annotations

_ROOT = "zads"


def program(*parts: str) -> str:
    """The name of one of our own programs, e.g. ``zads.producer`` or ``zads.filter.transients``."""
    return ".".join((_ROOT, *parts))


#: Accounts (SCRAM) of the programs.
PRODUCER = program("producer")
MIRROR = program("mirror")
#: The operators' principal: the certificate of the name ``admin``.
ADMIN = program("admin")

#: Consumer groups of readers that commit no offset: the producer reading its ledger, and the operators' tools.
LEDGER_GROUP = program("ledger")
AUDIT_GROUP = program("audit")
CANARY_GROUP = program("canary")
SUBSCRIBER_GROUP = program("subscriber")
WARM_UP = program("warm-up")


def filters(group: str) -> str:
    """Account and consumer group of the workers of a group of filters."""
    return program("filter", group)


def broker(host: str) -> str:
    """The principal of a broker, whose certificate names its host."""
    return program("broker", host)
