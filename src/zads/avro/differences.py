"""The differences of two schemas, and whether a reader that knows the old schema can read the new one.

A reader finds fields by name, with the schema that comes with the data: every field must still exist with the same
type. Avro lets a ``float`` be read as a ``double``, but a date would lose its hours. New fields, another order of
fields or of a union's branches, and a null that no longer occurs do not affect a reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zads.avro import schema
from zads.avro.fields import below


@dataclass(frozen=True)
class Difference:
    """One thing in which a new schema differs from an old one.

    ``field`` is the dotted path ("" for the record itself), ``what`` is the difference in words, and ``breaks`` says
    whether a reader of the old schema could not read the new one.
    """

    field: str
    what: str
    breaks: bool

    def __str__(self) -> str:
        return f"{self.field or 'the record'} {self.what}"


def differences(old: Any, new: Any) -> list[Difference]:
    """All differences of one schema's definition from another's, those that break readers first.

    Empty if both mean the same. Raises ZadsError as `schema.resolved` does.
    """
    found = _differ(schema.resolved(old, logical=True), schema.resolved(new, logical=True), "")
    return sorted(found, key=lambda one: (not one.breaks, not one.what.startswith("is new")))


def _differ(old: Any, new: Any, path: str) -> Iterator[Difference]:
    olds, news = _branches(old), _branches(new)
    if olds.keys() - {"null"} != news.keys() - {"null"} or ("null" in news and "null" not in olds):
        yield Difference(path, f"is {schema.kind(new)}, not {schema.kind(old)}", breaks=True)
        return
    if "null" in olds and "null" not in news:
        yield Difference(path, "is never null", breaks=False)
    elif list(olds) != list(news):
        yield Difference(path, f"is {schema.kind(new)}, in another order", breaks=False)
    for kind, branch in olds.items():
        if kind in news:
            yield from _within(branch, news[kind], path)


def _branches(node: Any) -> dict[str, Any]:
    """The types that a value may have, by their names."""
    return {schema.kind(branch): branch for branch in (node if isinstance(node, list) else [node])}


def _within(old: Any, new: Any, path: str) -> Iterator[Difference]:
    """The differences of two types of one kind."""
    if isinstance(old, str):
        return
    if old["type"] == "record":
        yield from _fields_differ(old, new, path)
    elif old.get("symbols") != new.get("symbols"):
        yield Difference(path, "has other symbols", breaks=True)
    elif old.get("size") != new.get("size"):
        yield Difference(path, "has another size", breaks=True)
    else:
        for inner_old, inner_new in zip(schema.below(old), schema.below(new), strict=True):
            yield from _differ(inner_old, inner_new, path)


def _fields_differ(old: Any, new: Any, path: str) -> Iterator[Difference]:
    olds, news = ({field["name"]: field["type"] for field in record["fields"]} for record in (old, new))
    for name, kind in olds.items():
        if name not in news:
            yield Difference(below(path, name), "is gone", breaks=True)
        else:
            yield from _differ(kind, news[name], below(path, name))
    for name, kind in news.items():
        if name not in olds:
            yield Difference(below(path, name), f"is new: {schema.kind(kind)}", breaks=False)
    if [name for name in olds if name in news] != [name for name in news if name in olds]:
        yield Difference(path, "has its fields in another order", breaks=False)
