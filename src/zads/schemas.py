"""The alert schemas that are known, by version and form, and what becomes of a new one.

The files are ``schemas/ztf/VERSION/FORM.avsc``: the survey has changed its schema without changing the version, so one
may have several forms; ``alert`` is the first. Two schemas are the same when names, types and the order of fields are:
these decide what a packet's bytes mean; documentation, defaults and other attributes do not.

A schema that is none of these is compared with the version that it claims. It is compatible if whoever reads that
version finds every field in it, under the same name and of the same type: fields may be new, and in another order.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeGuard

from fastavro.schema import fingerprint as _fingerprint
from fastavro.schema import to_parsing_canonical_form

from zads import avro
from zads.avro import canonical as canonical
from zads.avro import resolved as resolved
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The first form of a version, which the simulator writes.
FIRST_FORM = "alert"
#: How many new schemas a process takes: a survey has one at a time, and each costs memory.
MAX_NEW = 16
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}")


@dataclass(frozen=True)
class Schema:
    """One form of a version: ``definition`` is the parsed schema, ``canonical`` what two of the same meaning share.

    ``form`` is the file's name without suffix; "" for a schema that is not known.
    """

    version: str
    definition: dict[str, Any]
    canonical: str
    form: str = FIRST_FORM

    @property
    def name(self) -> str:
        """What people call it: "3.2", "3.2 (alert_2019)"."""
        return self.version if self.form in (FIRST_FORM, "") else f"{self.version} ({self.form})"

    @property
    def mark(self) -> str:
        """Version and fingerprint, as a new schema is counted and told: "4.03:42460973aa3610bd"."""
        return f"{self.version}:{self.fingerprint}"

    @functools.cached_property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of SHA-256 over Avro's parsing canonical form."""
        return _fingerprint(to_parsing_canonical_form(self.definition), "SHA-256")[:16]


@functools.cache
def forms() -> tuple[Schema, ...]:
    """Every form of every known version: oldest version first, its first form first."""
    found = []
    root = resources.files("zads") / "schema_files" / "ztf"
    for directory in sorted(root.iterdir(), key=lambda entry: entry.name):
        if not directory.is_dir():
            continue
        files = [file for file in directory.iterdir() if file.name.endswith(".avsc")]
        for file in sorted(files, key=lambda file: (file.name != f"{FIRST_FORM}.avsc", file.name)):
            definition = json.loads(file.read_text())
            form = file.name.removesuffix(".avsc")
            found.append(Schema(directory.name, definition, canonical(definition), form))
    return tuple(found)


@functools.cache
def known() -> dict[str, Schema]:
    """Every known version by its first form, oldest first."""
    first: dict[str, Schema] = {}
    for schema in forms():
        first.setdefault(schema.version, schema)
    return first


def get(version: str) -> Schema:
    """A known version, in its first form. Raises ZadsError naming those that there are."""
    try:
        return known()[version]
    except KeyError:
        raise ZadsError(f"schema version {version!r} is not known", hint=f"known are {', '.join(known())}") from None


def identify(definition: Any) -> Schema | None:
    """The known form that a schema is, whatever its wording; None for one that is new or altered.

    Two versions may agree in all that decides what bytes mean; then the one that the schema itself claims is returned.
    What it claims else does not count: the survey's own schemas lag behind (3.1 in packets of 3.2).
    Raises ZadsError if it is no schema.
    """
    text = canonical(definition)
    same = [schema for schema in forms() if schema.canonical == text]
    claimed = definition.get("version") if same else None
    for schema in same:
        if schema.version == claimed:
            return schema
    return same[0] if same else None


def renumbered(definition: dict[str, Any]) -> NewSchema | None:
    """What a schema is if the version that it claims is a new one, though all else is known; None if it is not.

    Its packets say which version they are of, as they must.
    """
    claimed = definition.get("version")
    return compare(definition) if _is_version(claimed) and claimed not in known() else None


@dataclass(frozen=True)
class Difference:
    """One thing in which a new schema differs from a known one.

    ``field`` is the dotted path (through arrays, as ``Packet.read`` takes it; "" for the record itself), ``what`` what
    is different there, ``breaks`` whether who reads the known one could not read the new.
    """

    field: str
    what: str
    breaks: bool

    def __str__(self) -> str:
        return f"{self.field or 'the record'} {self.what}"


def differences(old: Schema, new: Schema) -> list[Difference]:
    """Everything in which ``new`` differs from ``old``, what breaks readers first; none if they mean the same.

    Raises ZadsError as ``resolved``.
    """
    found = _differ(resolved(old.definition, logical=True), resolved(new.definition, logical=True), "")
    return sorted(found, key=lambda one: (not one.breaks, not one.what.startswith("is new")))


def _differ(old: Any, new: Any, path: str) -> Iterator[Difference]:
    olds, news = _branches(old), _branches(new)
    if olds.keys() - {"null"} != news.keys() - {"null"} or ("null" in news and "null" not in olds):
        yield Difference(path, f"is {avro.kind(new)}, not {avro.kind(old)}", breaks=True)
        return
    if "null" in olds and "null" not in news:
        yield Difference(path, "is never null", breaks=False)
    elif list(olds) != list(news):
        yield Difference(path, f"is {avro.kind(new)}, in another order", breaks=False)
    for kind, branch in olds.items():
        if kind in news:
            yield from _within(branch, news[kind], path)


def _branches(node: Any) -> dict[str, Any]:
    """The types that a value may have, by what they are."""
    return {avro.kind(branch): branch for branch in (node if isinstance(node, list) else [node])}


def _within(old: Any, new: Any, path: str) -> Iterator[Difference]:
    """In what two types of one kind differ."""
    if isinstance(old, str):
        return
    if old["type"] == "record":
        yield from _fields_differ(old, new, path)
    elif old.get("symbols") != new.get("symbols"):
        yield Difference(path, "has other symbols", breaks=True)
    elif old.get("size") != new.get("size"):
        yield Difference(path, "has another size", breaks=True)
    else:
        for inner_old, inner_new in zip(avro.below(old), avro.below(new), strict=True):
            yield from _differ(inner_old, inner_new, path)


def _fields_differ(old: Any, new: Any, path: str) -> Iterator[Difference]:
    olds, news = ({field["name"]: field["type"] for field in record["fields"]} for record in (old, new))
    for name, kind in olds.items():
        place = f"{path}.{name}".lstrip(".")
        if name not in news:
            yield Difference(place, "is gone", breaks=True)
        else:
            yield from _differ(kind, news[name], place)
    for name, kind in news.items():
        if name not in olds:
            yield Difference(f"{path}.{name}".lstrip("."), f"is new: {avro.kind(kind)}", breaks=False)
    if [name for name in olds if name in news] != [name for name in news if name in olds]:
        yield Difference(path, "has its fields in another order", breaks=False)


@dataclass(frozen=True)
class NewSchema:
    """A schema that is not known, beside the known form nearest to it of the version that it claims."""

    schema: Schema
    nearest: Schema
    differences: tuple[Difference, ...]

    @property
    def compatible(self) -> bool:
        """Whether who reads the nearest form can read this one."""
        return not any(one.breaks for one in self.differences)

    def __str__(self) -> str:
        return f"it differs from {self.nearest.name}: {'; '.join(map(str, self.differences)) or 'by its number alone'}"


def compare(definition: Any) -> NewSchema:
    """A schema that is not known beside the version that it claims, or the one before, if that is not known either.

    Raises ZadsError if it claims no version, or is no schema that an alert could have.
    """
    version = definition.get("version") if isinstance(definition, dict) else None
    if not _is_version(version):
        raise ZadsError(f"it says version {version!r}, which is none")
    new = Schema(version, definition, canonical(definition), form="")
    compared = [NewSchema(new, form, tuple(differences(form, new))) for form in _before(version)]
    return min(compared, key=lambda one: (not one.compatible, len(one.differences)))


def _is_version(claimed: object) -> TypeGuard[str]:
    return isinstance(claimed, str) and _VERSION.fullmatch(claimed) is not None


def _before(version: str) -> list[Schema]:
    """The forms of a version; of the latest before it, if it is not known; of the earliest, if all came later."""
    versions = list(known())
    earlier = [one for one in versions if _numbers(one) <= _numbers(version)]
    chosen = version if version in known() else max(earlier, key=_numbers, default=versions[0])
    return [form for form in forms() if form.version == chosen]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


class Admission:
    """Whether a process takes packets of new schemas: of compatible ones if it ``accepts``, and of MAX_NEW at most."""

    def __init__(self, *, accepts: bool = False) -> None:
        self.accepts = accepts
        self._taken: set[str] = set()

    def refusal(self, new: NewSchema) -> str:
        """Why a packet of this schema is refused; "" if it is not."""
        if not new.compatible:
            return "a reader of that version could not read it"
        if not self.accepts:
            return "it is compatible, but new schemas are refused (producer_new_schemas)"
        if new.schema.fingerprint not in self._taken and len(self._taken) >= MAX_NEW:
            return f"{MAX_NEW} new schemas have been accepted already, more are a mistake"
        self._taken.add(new.schema.fingerprint)
        return ""


REFUSE = Admission()
