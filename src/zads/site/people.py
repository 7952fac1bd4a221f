"""The people of an inventory: who each is, what they may read, from where, how fast, and until when."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import BeforeValidator, Field, IPvAnyNetwork

from zads.site.entry import Entry, Problem, Site

#: A user's name begins the names of their consumer groups.
USER_NAME = r"\A(?=.{2,63}\Z)[a-z][a-z0-9]*([_-][a-z0-9]+)*\Z"
USER_NAME_IN_WORDS = "2 to 63 small letters and digits, joined by single - or _, a letter first"
_CONTACT = r"\A[^\x00-\x1f\x7f]{0,200}\Z"
#: A broker compares a client's address with single addresses only, so each is a grant of its own on every topic.
MOST_ADDRESSES = 16
_NETWORKS = (
    f"a list of addresses and networks with at most {MOST_ADDRESSES} addresses together, such as [192.0.2.7, "
    "198.51.100.8/30]; a firewall can admit larger networks"
)


def _day(value: object) -> object:
    """A date, or its text YYYY-MM-DD. Raises ValueError for anything else: a number could mean seconds."""
    if isinstance(value, datetime.datetime) or not isinstance(value, str | datetime.date):
        raise ValueError("is not a date")
    return datetime.date.fromisoformat(value) if isinstance(value, str) else value


def _text(value: object) -> object:
    """The text of an address or network. Raises ValueError for a number, which would be an address, too."""
    if not isinstance(value, str):
        raise ValueError("is not a text")
    return value


class Limits(Entry):
    """How much of a site a user may take.

    ``read``: bytes a second, as they cross the network (compressed), from all brokers of the site together.
    ``requests``: the share of one thread's time that a user's requests may take on each broker, in percent.
    """

    read: int = Field(default=10_000_000, ge=1_000, description="bytes a second, 1000 or more, such as 10000000")
    requests: int = Field(default=20, ge=1, le=10_000, description="percent of a thread's time, such as 20")


class User(Entry):
    """A person or partner who connects to one site and reads these programmes there."""

    name: str = Field(pattern=USER_NAME, description=USER_NAME_IN_WORDS)
    contact: str = Field(default="", pattern=_CONTACT, description="how to reach them, such as an e-mail address")
    site: Site = Field(description="origin or public")
    programmes: frozenset[int] = Field(default=frozenset(), description="a list of programmes' numbers, such as [1]")
    limits: Limits = Field(
        default=Limits(), description="{read: BYTES_A_SECOND, requests: PERCENT}, or one of them, or leave it out"
    )
    expires: Annotated[datetime.date, BeforeValidator(_day)] | None = Field(
        default=None, description="the last day (UTC) of the account, such as 2031-06-30"
    )
    networks: tuple[Annotated[IPvAnyNetwork, BeforeValidator(_text)], ...] = Field(default=(), description=_NETWORKS)

    def expired(self, today: datetime.date) -> bool:
        """Whether the account has ended before ``today`` (UTC)."""
        return self.expires is not None and self.expires < today

    def limited(self, everybody: Limits) -> Limits:
        """This user's limits: those of everybody, except where the entry names its own."""
        return everybody.model_copy(update=self.limits.model_dump(exclude_unset=True))

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses from which the user may come, as a broker spells them; ``*`` means any."""
        return tuple(map(_as_java, _addresses(self.networks))) or ("*",)


def today() -> datetime.date:
    """The present day, in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


def ending(users: Iterable[User], site: Site, day: datetime.date, within: int) -> list[str]:
    """A line for each account of a site that has ended or ends within some days, the earliest first."""
    dated = [(user.expires, user) for user in users if user.expires is not None and user.site == site]
    lines = []
    for last, user in sorted(dated, key=lambda one: (one[0], one[1].name)):
        who = f"the account of {user.name}" + (f" ({user.contact})" if user.contact else "")
        if user.expired(day):
            lines.append(f"{who} has ended on {last}: remove the user from users.yml, or write a later day")
        elif (left := (last - day).days) <= within:
            lines.append(f"{who} ends in {left} days, after {last}: tell them, or write a later day in users.yml")
    return lines


def wrong(users: Iterable[User]) -> Iterator[Problem]:
    """Find names that belong to somebody else, and networks that are too large."""
    users = tuple(users)
    for user in users:
        place = f"users.{user.name}"
        if user.name.partition("-")[0] == "admin":
            yield Problem(f"{place}.name", "is a name of the operators, whose files are admin-SITE: write another name")
        if sum(network.num_addresses for network in user.networks) > MOST_ADDRESSES:
            yield Problem(f"{place}.networks", f"has more addresses than brokers can compare: write {_NETWORKS}")
        # A user owns the consumer group of their name, and all that begin with the name and a hyphen.
        for other in users:
            if other.name.startswith(f"{user.name}-"):
                yield Problem(
                    f"users.{other.name}.name",
                    f"is also a consumer group of {user.name}, who has all that begin with {user.name}-: "
                    "write another name for one of them",
                )


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _addresses(networks: Iterable[_Network]) -> Iterator[_Address]:
    for network in networks:
        yield from network


def _as_java(address: _Address) -> str:
    """An address as Java writes it (``InetAddress.getHostAddress``): no part of an IPv6 address is left out."""
    if address.version == 4:
        return str(address)
    return ":".join(f"{int(part, 16):x}" for part in address.exploded.split(":"))
