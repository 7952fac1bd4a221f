"""The known alert schemas, by version and form, and the rules for a new one.

The files are ``schemas/ztf/VERSION/FORM.avsc``. The survey has changed its schema without changing the version, so a
version may have several forms; ``alert`` is the first. Two schemas are the same if they have the same names, types and
order of fields: only these decide what a packet's bytes mean, not documentation, defaults or other attributes.

A new schema is compared with the version that it claims. It is compatible if a reader of that version finds every field
in it, under the same name and of the same type (`zads.avro.differences`).
"""

from __future__ import annotations

import functools
import json
import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from fastavro.schema import fingerprint as _fingerprint
from fastavro.schema import to_parsing_canonical_form

from zads.avro import schema as avro_schema
from zads.avro.differences import Difference, differences
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

#: Environment variable with a directory of further forms, VERSION/FORM.avsc, which a rehearsal assumes to be known.
VARIABLE = "ZADS_SCHEMAS"
#: The first form of a version, which the simulator writes.
FIRST_FORM = "alert"
#: A process accepts at most this many new schemas: a survey has one at a time, and each costs memory.
MAX_NEW = 16
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}")


@dataclass(frozen=True)
class Schema:
    """One form of a version: ``definition`` is the parsed JSON, ``canonical`` is equal for schemas of one meaning.

    ``form`` is the file's name without suffix; "" for a schema that is not known.
    """

    version: str
    definition: dict[str, Any]
    canonical: str
    form: str = FIRST_FORM

    @property
    def name(self) -> str:
        """The version, with the form if it is not the first: "3.2", "3.2 (alert_2019)"."""
        return self.version if self.form in (FIRST_FORM, "") else f"{self.version} ({self.form})"

    @property
    def mark(self) -> str:
        """Version and fingerprint, by which new schemas are counted and reported: "4.03:42460973aa3610bd"."""
        return f"{self.version}:{self.fingerprint}"

    @functools.cached_property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of SHA-256 over Avro's parsing canonical form."""
        return _fingerprint(to_parsing_canonical_form(self.definition), "SHA-256")[:16]


@functools.cache
def forms() -> tuple[Schema, ...]:
    """Every form of every known version: oldest version first, its first form first."""
    found: dict[tuple[str, str], Schema] = {}
    for file in _files():
        version, form = Path(str(file)).parent.name, file.name.removesuffix(".avsc")
        definition = json.loads(file.read_text("utf-8"))
        found.setdefault((version, form), Schema(version, definition, avro_schema.canonical(definition), form))
    order = sorted(found, key=lambda one: (_numbers(one[0]), one[0], one[1] != FIRST_FORM, one[1]))
    return tuple(found[one] for one in order)


def _files() -> Iterator[Traversable]:
    """The files of the package's forms, then those of the directory that VARIABLE names."""
    roots: list[Traversable] = [resources.files("zads") / "schema_files" / "ztf"]
    if assumed := os.environ.get(VARIABLE):
        roots.append(Path(assumed))
    for root in roots:
        for directory in root.iterdir():
            if is_version(directory.name) and directory.is_dir():
                yield from (file for file in directory.iterdir() if file.name.endswith(".avsc"))


@functools.cache
def known() -> dict[str, Schema]:
    """Every known version by its first form, oldest first."""
    first: dict[str, Schema] = {}
    for schema in forms():
        first.setdefault(schema.version, schema)
    return first


def forget() -> None:
    """Read the forms again when they are next needed; `zads.header.forget` also forgets what depends on them."""
    forms.cache_clear()
    known.cache_clear()


def get(version: str) -> Schema:
    """A known version, in its first form. Raises ZadsError naming the known versions."""
    try:
        return known()[version]
    except KeyError:
        raise ZadsError(f"schema version {version!r} is not known", hint=f"known are {', '.join(known())}") from None


def identify(definition: Any) -> Schema | None:
    """The known form that has a schema's meaning; None for a schema that is new or altered.

    If several versions have this meaning, the one that the schema claims is returned. Otherwise the claim is ignored:
    the survey's own claims lag behind (3.1 in packets of 3.2). Raises ZadsError if it is not a schema.
    """
    text = avro_schema.canonical(definition)
    same = [schema for schema in forms() if schema.canonical == text]
    claimed = definition.get("version") if same else None
    for schema in same:
        if schema.version == claimed:
            return schema
    return same[0] if same else None


def renumbered(definition: dict[str, Any]) -> NewSchema | None:
    """A schema of known meaning that claims a new version, treated as a new schema; None if it claims no new version.

    Each packet says which of the two versions it claims.
    """
    claimed = definition.get("version")
    return compare(definition) if is_version(claimed) and claimed not in known() else None


@dataclass(frozen=True)
class NewSchema:
    """A schema that is not known, and how it differs from the nearest form of the version that it claims."""

    schema: Schema
    nearest: Schema
    differences: tuple[Difference, ...]

    @property
    def compatible(self) -> bool:
        """Whether a reader of the nearest form can read this one."""
        return not any(one.breaks for one in self.differences)

    def __str__(self) -> str:
        return f"it differs from {self.nearest.name}: {'; '.join(map(str, self.differences)) or 'by its number alone'}"


def compare(definition: Any) -> NewSchema:
    """A schema that is not known, compared with the version that it claims, or with the latest known before that.

    Raises ZadsError if it claims no version, or is not a schema that an alert could have.
    """
    version = definition.get("version") if isinstance(definition, dict) else None
    if not is_version(version):
        raise ZadsError(f"it says version {version!r}, which is not a version")
    new = Schema(version, definition, avro_schema.canonical(definition), form="")
    compared = [
        NewSchema(new, form, tuple(differences(form.definition, definition))) for form in _nearest_version(version)
    ]
    return min(compared, key=lambda one: (not one.compatible, len(one.differences)))


def is_version(claimed: object) -> TypeGuard[str]:
    """Whether something can be a version's number: one to four numbers, joined by dots."""
    return isinstance(claimed, str) and _VERSION.fullmatch(claimed) is not None


def _nearest_version(version: str) -> list[Schema]:
    """The forms of a version; if it is not known, of the latest before it, or else of the earliest."""
    versions = list(known())
    earlier = [one for one in versions if _numbers(one) <= _numbers(version)]
    chosen = version if version in known() else max(earlier, key=_numbers, default=versions[0])
    return [form for form in forms() if form.version == chosen]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


class Admission:
    """Whether a process takes packets of new schemas: with ``accepts``, those of compatible ones, at most MAX_NEW."""

    def __init__(self, *, accepts: bool = False) -> None:
        self.accepts = accepts
        self._taken: set[str] = set()

    def refusal(self, new: NewSchema) -> str:
        """Why a packet of this schema is refused; "" if it is accepted."""
        if not new.compatible:
            return "a reader of that version could not read it"
        if not self.accepts:
            return "it is compatible, but new schemas are refused (producer_new_schemas)"
        if new.schema.fingerprint not in self._taken and len(self._taken) >= MAX_NEW:
            return f"{MAX_NEW} new schemas have been accepted already, more are a mistake"
        self._taken.add(new.schema.fingerprint)
        return ""


REFUSE = Admission()
