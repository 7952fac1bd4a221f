"""Whose a consumer group is, by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zads import names
from zads.site.policy import Policy

Kind = Literal["user", "filters", "program", "nobody"]
_FILTERS = names.filters_principal("")


@dataclass(frozen=True)
class Owner:
    """A user of the inventory, a group of filters, one of our programs, or nobody that the inventory knows."""

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


def owner(group: str, policy: Policy) -> Owner:
    """Whose group it is. The inventory's data decide: the group of a user who has left is nobody's."""
    if group.startswith(_FILTERS):
        name = group.removeprefix(_FILTERS)
        return Owner("filters", name) if name in policy.groups() else Owner("nobody")
    if names.is_program(group):
        return Owner("program", group)
    # The policy refuses users of whom one would have the groups of the other.
    users = [user.name for user in policy.users if group == user.name or group.startswith(f"{user.name}-")]
    return Owner("user", users[0]) if users else Owner("nobody")
