"""The inventory's data about topics and access, and the only rules that decide whether they can be used.

The first play of a deployment, the modules that make topics, accounts and grants, the filter workers and the commands
all read these data with this module. It finds all problems at once. Each problem names the file, the variable and what
to write instead.
A reference to an entry that is itself wrong is not a second problem.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from zads import names, wholefile
from zads.errors import ZadsError
from zads.site import people, samples
from zads.site.entry import SITES, Entry, Problem, Site, checked, named
from zads.site.people import Limits, User
from zads.site.samples import Sample

__all__ = ["SITES", "Board", "Filter", "FilterGroup", "NightTopics", "Policy", "PolicyError", "Programme", "Site"]

_Entry = TypeVar("_Entry", bound=Entry)
_Key = TypeVar("_Key")

#: A group's name ends the name of its account, and is part of its units' names.
GROUP_NAME = r"\A(?=.{1,63}\Z)[a-z][a-z0-9]*(_[a-z0-9]+)*\Z"
GROUP_NAME_IN_WORDS = "1 to 63 small letters and digits, joined by single _, a letter first"


class NightTopics(Entry):
    """How every night's topics are kept; the other topics have the same replication."""

    partitions: int = Field(ge=1, le=1000, description="a number from 1 to 1000")
    replication_factor: int = Field(ge=2, description="a number of replicas, 2 or more")
    min_insync_replicas: int = Field(ge=1, description="a number of replicas, 1 or more")
    retention_days: float = Field(gt=0, description="a number of days above 0")


class Programme(Entry):
    """One of the survey's programmes: the sites where its alerts may be."""

    sites: frozenset[Site] = Field(description="[origin] or [origin, public]")


class Filter(Entry):
    """A filter: its owner, what it reads, and where its code is."""

    name: str = Field(pattern=names.FILTER_NAME, description=names.FILTER_NAME_IN_WORDS)
    owner: str = Field(description="the name of a user of the public site")
    group: str = Field(description="a group that filter_groups names")
    state: Literal["shadow", "active", "off"] = Field(
        description='shadow, active or "off", in quotes since YAML reads the bare word off as false'
    )
    cap: int | None = Field(default=None, ge=1, description="the most alerts of an exposure, 1 or more")
    programmes: frozenset[int] | None = Field(default=None, description="a list of programmes' numbers, such as [1]")
    file: str = Field(default="", description="FILE.py or FILE.py:CLASS")
    modules: tuple[str, ...] = Field(default=(), description="a list of the modules that it imports, such as [NEAR.py]")
    data: tuple[str, ...] = Field(default=(), description="a list of the files that it reads, such as [STARS.csv]")
    description: str = Field(default="", description="a text")

    @property
    def code(self) -> str:
        """The name of the file that its code is in."""
        return self.file.partition(":")[0] or f"{self.name}.py"

    @property
    def runs(self) -> bool:
        """Whether workers run it: in shadow it publishes nothing."""
        return self.state != "off"


class FilterGroup(Entry):
    """Filters that run together, in this many workers."""

    workers: int = Field(default=1, ge=0, description="a number of workers, such as 1")


class Board(Entry):
    """The Night Board: the filters whose counts and alerts it shows to everybody."""

    filters: tuple[str, ...] = Field(default=(), description="a list of filters' names, such as [asteroid]")


_NO_BOARD = Board()


class PolicyError(ZadsError):
    """Data that cannot be used: ``problems`` has all of them, the message a line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True)
class Policy:
    """The data, checked. Read them with :meth:`read`.

    ``users`` are those whose accounts have not ended; ``expired`` are the others, who have nothing at any site.
    ``users_limits`` are the limits of users who have none of their own. ``programs``: those that not every deployment
    has and this one has; only these have accounts. ``board``: what the Night Board shows, if there is one.
    """

    topics_night: NightTopics
    programmes: Mapping[int, Programme]
    users: tuple[User, ...]
    expired: tuple[User, ...]
    users_limits: Limits
    filters: tuple[Filter, ...]
    filter_groups: Mapping[str, FilterGroup]
    samples: tuple[Sample, ...] = ()
    programs: frozenset[str] = frozenset()
    board: Board = _NO_BOARD

    @classmethod
    def read(cls, variables: Mapping[str, Any], today: datetime.date | None = None) -> Policy:
        """Check the variables of an inventory, and ignore those that are not ours. Raises PolicyError.

        ``today`` (UTC; the present day if not given) decides whose account has ended.
        """
        day = today or people.today()
        found: list[Problem] = []
        kept = checked(NightTopics, "topics_night", variables.get("topics_night"), found)
        programmes = _programmes(variables.get("programmes"), found)
        groups = _groups(variables.get("filter_groups"), found)
        users = named(User, "users", variables.get("users"), found)
        limits = checked(Limits, "users_limits", variables.get("users_limits"), found)
        filters = named(Filter, "filters", variables.get("filters"), found)
        tests = named(Sample, "samples", variables.get("samples"), found)
        board = checked(Board, "board", variables.get("board"), found)
        found += _wrong_topics(kept)
        found += _wrong_programmes(programmes)
        found += _wrong_users(users, programmes)
        found += _wrong_filters(filters, dict(users), programmes, groups)
        found += _wrong_samples(_values(tests), dict(users), programmes)
        found += _wrong_board(board, dict(filters), programmes)
        if found or kept is None or limits is None:
            raise PolicyError(found)
        present = tuple(user for user in _values(users) if not user.expired(day))
        ended = tuple(user for user in _values(users) if user.expired(day))
        return cls(
            kept, _sound(programmes), present, ended, limits, _values(filters), _sound(groups), _values(tests),
            frozenset(map(str, variables.get("programs") or ())), board or _NO_BOARD,
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Policy:
        """The policy in a JSON file, as a deployment writes it for programs. Raises ZadsError or OSError."""
        try:
            variables = json.loads(wholefile.read(path))
        except ValueError as error:
            raise ZadsError(f"{path} is not JSON: {error}", hint="a deployment writes it: make deploy") from error
        if not isinstance(variables, dict):
            raise ZadsError(
                f"{path} does not hold the variables of an inventory", hint="a deployment writes it: make deploy"
            )
        return cls.read(variables)

    def has(self, program: str) -> bool:
        """Whether the deployment has a program that not every deployment has, by the name of its account."""
        return program in self.programs

    def allowed(self, site: Site) -> frozenset[int]:
        """The programmes whose alerts may be at a site."""
        return frozenset(number for number, programme in self.programmes.items() if site in programme.sites)

    def groups(self) -> list[str]:
        """The groups that have a filter to run."""
        return sorted({entry.group for entry in self.filters if entry.runs})

    def running_filters(self, group: str) -> tuple[Filter, ...]:
        """The filters that the workers of a group run."""
        return tuple(entry for entry in self.filters if entry.group == group and entry.runs)

    def read_by(self, group: str) -> frozenset[int]:
        """The programmes that its running filters read: those that each names, else all of the public site."""
        public = self.allowed("public")
        return frozenset[int]().union(
            *(public if entry.programmes is None else entry.programmes for entry in self.running_filters(group))
        )


def _keyed(variable: str, data: Any, form: str, found: list[Problem]) -> Mapping[Any, Any]:
    if data is None or isinstance(data, Mapping):
        return data or {}
    found.append(Problem(variable, f"{data!r} cannot be used: write {form}"))
    return {}


def _programmes(data: Any, found: list[Problem]) -> dict[int, Programme | None]:
    programmes: dict[int, Programme | None] = {}
    numbers = {str(number): number for number in names.PROGRAMMES}
    for key, one in _keyed("programmes", data, "a line NUMBER: {sites: […]} for each", found).items():
        place = f"programmes.{key}"
        if str(key) not in numbers:
            found.append(Problem(place, f"is not a programme: write one of {', '.join(numbers)}"))
        else:
            programmes[numbers[str(key)]] = checked(Programme, place, one, found)
    if not data:
        found.append(Problem("programmes", "is empty, and no topic would be made: write 1: {sites: [origin, public]}"))
    return programmes


def _groups(data: Any, found: list[Problem]) -> dict[str, FilterGroup | None]:
    groups: dict[str, FilterGroup | None] = {}
    for key, one in _keyed("filter_groups", data, "a line NAME: {workers: NUMBER} for each", found).items():
        name, place = str(key), f"filter_groups.{key}"
        groups[name] = checked(FilterGroup, place, one, found)
        if not re.fullmatch(GROUP_NAME, name):
            found.append(Problem(place, f"cannot be a name: write {GROUP_NAME_IN_WORDS}"))
    return groups


def _wrong_topics(kept: NightTopics | None) -> Iterator[Problem]:
    if kept is not None and kept.min_insync_replicas >= kept.replication_factor:
        yield Problem(
            "topics_night.min_insync_replicas",
            f"{kept.min_insync_replicas} replicas must have a record, and there are {kept.replication_factor}, so that "
            "no broker could ever be restarted: write less than replication_factor",
        )


def _wrong_programmes(programmes: Mapping[int, Programme | None]) -> Iterator[Problem]:
    for number, programme in programmes.items():
        if programme is not None and "origin" not in programme.sites:
            yield Problem(
                f"programmes.{number}.sites", "does not name origin, where every alert begins: write [origin, …]"
            )


def _wrong_users(
    users: Iterable[tuple[str, User | None]], programmes: Mapping[int, Programme | None]
) -> Iterator[Problem]:
    sound = _values(users)
    for user in sound:
        yield from _forbidden(f"users.{user.name}.programmes", user.programmes, user.site, programmes)
    yield from people.wrong(sound)


def _wrong_filters(
    filters: Iterable[tuple[str, Filter | None]],
    owners: Mapping[str, User | None],
    programmes: Mapping[int, Programme | None],
    groups: Mapping[str, FilterGroup | None],
) -> Iterator[Problem]:
    for one in _values(filters):
        place = f"filters.{one.name}"
        owner = owners.get(one.owner)
        if one.owner not in owners or (owner is not None and owner.site != "public"):
            yield Problem(f"{place}.owner", f"{one.owner!r} is not a user of the public site: write the name of one")
        if one.group not in groups:
            yield Problem(
                f"{place}.group",
                f"{one.group!r} is not in filter_groups: write {' or '.join(groups) or 'it there'}, or add it there",
            )
        yield from _forbidden(f"{place}.programmes", one.programmes or (), "public", programmes)


def _wrong_samples(
    found: Iterable[Sample], users: Mapping[str, User | None], programmes: Mapping[int, Programme | None]
) -> Iterator[Problem]:
    for one in found:
        yield from _forbidden(f"samples.{one.name}.programmes", one.programmes, one.site, programmes)
    public = [number for number, one in programmes.items() if one is None or "public" in one.sites]
    yield from samples.wrong(found, users, public)


def _wrong_board(
    board: Board | None, filters: Mapping[str, Filter | None], programmes: Mapping[int, Programme | None]
) -> Iterator[Problem]:
    """Find filters that are shown to everybody although they do not exist, or read what not everybody may see."""
    everybody = frozenset({names.PROGRAMMES[0]})
    public = frozenset(number for number, one in programmes.items() if one is None or "public" in one.sites)
    for name in board.filters if board else ():
        entry = filters.get(name)
        if name not in filters:
            yield Problem("board.filters", f"{name!r} is not a filter: write the names of filters")
        elif entry is not None and (hidden := (public if entry.programmes is None else entry.programmes) - everybody):
            yield Problem(
                "board.filters",
                f"{name} also reads programme {min(hidden)}, which is not for everybody: leave it out, or write "
                f"filters.{name}.programmes: [{names.PROGRAMMES[0]}]",
            )


def _forbidden(
    place: str, wanted: Iterable[int], site: Site, programmes: Mapping[int, Programme | None]
) -> Iterator[Problem]:
    """Find programmes that a user or a filter is to read at a site where the data policy does not allow them."""
    allowed = [number for number, one in programmes.items() if one is None or site in one.sites]
    for number in sorted(set(wanted) - set(allowed)):
        yield Problem(
            place,
            f"programme {number} is not allowed at {site}: write only {sorted(allowed)}, or change programmes.{number}",
        )


def _values(entries: Iterable[tuple[str, _Entry | None]]) -> tuple[_Entry, ...]:
    return tuple(entry for _, entry in entries if entry is not None)


def _sound(entries: Mapping[_Key, _Entry | None]) -> dict[_Key, _Entry]:
    return {key: entry for key, entry in entries.items() if entry is not None}
