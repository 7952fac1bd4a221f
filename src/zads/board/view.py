"""Who sees what on the board: programmes and filters, by the data policy and nothing else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from zads import names
from zads.site.policy import Policy

#: The programme that everybody may see.
PUBLIC = frozenset({names.PROGRAMMES[0]})


@dataclass(frozen=True)
class View:
    """What somebody sees: alerts of these programmes, and of these filters what they counted and passed.

    ``user``: who has signed in; "" for everybody else.
    """

    user: str = ""
    programmes: frozenset[int] = PUBLIC
    filters: frozenset[str] = frozenset()


def of(policy: Policy, user: str = "") -> View | None:
    """The view of a user of the public site, or without a name that of everybody; None if there is no such user.

    The owners of filters see their own beside those that the inventory shows to everybody: the brokers give them no
    others either. Alerts of a filter are shown as all alerts are: if their programme may be seen.
    """
    allowed = policy.allowed("public")
    shown = frozenset(policy.board.filters)
    if not user:
        return View("", PUBLIC & allowed, shown)
    for entry in policy.users:
        if entry.name == user and entry.site == "public":
            own = frozenset(one.name for one in policy.filters if one.owner == user)
            return View(user, (PUBLIC | entry.programmes) & allowed, shown | own)
    return None


def of_kit(filters: Collection[str]) -> View:
    """The view of a board that runs by the kit of a user: the public programme, and the filters that the user reads."""
    return View("", PUBLIC, frozenset(filters))
