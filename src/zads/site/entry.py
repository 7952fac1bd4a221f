"""How the data that people write in an inventory become checked entries, and what is said of those that cannot be used.

Every problem names the file, the variable and what to write instead. All of them are found at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

Site = Literal["origin", "public"]
SITES: tuple[Site, ...] = ("origin", "public")

#: The file of ``group_vars/all`` that holds a variable by the convention of every inventory.
_FILES = {
    "users": "users.yml", "users_limits": "users.yml", "filters": "filters.yml", "filter_groups": "filters.yml",
}  # fmt: skip
_OTHERS = "main.yml"


class Entry(BaseModel):
    """An entry that people write. The description of a field says what may be written there."""

    model_config = ConfigDict(extra="forbid", frozen=True, regex_engine="python-re", allow_inf_nan=False)


_Entry = TypeVar("_Entry", bound=Entry)


@dataclass(frozen=True)
class Problem:
    """A variable, with the path of the wrong part of it, and what is wrong and can be written instead."""

    variable: str
    reason: str

    @property
    def file(self) -> str:
        """Where the variable stands, below the inventory's directory."""
        return f"group_vars/all/{_FILES.get(self.variable.partition('.')[0].partition('[')[0], _OTHERS)}"

    def __str__(self) -> str:
        return f"{self.file}: {self.variable}: {self.reason}"


def checked(kind: type[_Entry], place: str, data: Any, found: list[Problem]) -> _Entry | None:
    """The entry that data describe; if the data are wrong, None, and the problems are added to those found so far."""
    try:
        return kind.model_validate({} if data is None else data)
    except ValidationError as error:
        paths = [[str(part) for part in one["loc"]] for one in error.errors()]
        # One line is enough for a list with several wrong elements.
        found += dict.fromkeys(_problem(kind, place, data, path) for path in paths)
        return None


def named(kind: type[_Entry], variable: str, data: Any, found: list[Problem]) -> list[tuple[str, _Entry | None]]:
    """Every entry of a list, by its name; None for a wrong entry. A name that occurs twice is a problem, too."""
    if not isinstance(data, list | tuple | None):
        found.append(Problem(variable, f"{data!r} cannot be used: write a list of entries, each with a name"))
        return []
    entries = []
    for number, one in enumerate(data or ()):
        name = one.get("name") if isinstance(one, Mapping) else None
        place = f"{variable}.{name}" if isinstance(name, str) and name.isprintable() else f"{variable}[{number}]"
        entries.append(("" if name is None else str(name), checked(kind, place, one, found)))
    given = [name for name, _ in entries if name]
    twice = sorted({name for name in given if given.count(name) > 1})
    found += [Problem(f"{variable}.{name}", "is there twice: give one of them another name") for name in twice]
    return entries


def _problem(kind: type[Entry], place: str, data: Any, path: list[str]) -> Problem:
    fields = kind.model_fields
    if not path:
        return Problem(place, f"{data!r} cannot be used: write {{{': …, '.join(fields)}: …}}")
    key = path[0]
    variable = f"{place}.{key}" if place else key
    if key not in fields:
        return Problem(variable, f"means nothing here: write one of {', '.join(fields)}")
    wanted = f"write {fields[key].description}"
    if not isinstance(data, Mapping) or key not in data:
        return Problem(variable, f"is missing: {wanted}")
    return Problem(variable, f"{data[key]!r} cannot be used: {wanted}")
