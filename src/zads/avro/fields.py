"""Dotted names of fields, and which of them a schema has.

"candidate.magpsf" is a field within a record; "candidate" alone means all of that record. A path goes through an array
as if its items stood there: "prv_candidates.magpsf".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Fields as nested names; an empty mapping means everything below.
Wanted = Mapping[str, "Wanted"]


def below(path: str, name: str) -> str:
    """The path of a field of the record at `path`, which is "" for the outermost."""
    return f"{path}.{name}" if path else name


def union(sets: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The fewest fields that cover all of several sets, sorted: ``a`` covers ``a.b``."""
    every = {field for fields in sets for field in fields}
    return tuple(sorted(field for field in every if not any(parent in every for parent in _parents(field))))


def _parents(field: str) -> list[str]:
    parts = field.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def tree(fields: Iterable[str]) -> dict[str, Any]:
    """Fields as nested dictionaries (`Wanted`)."""
    root: dict[str, Any] = {}
    for field in union([fields]):
        node = root
        for part in field.split("."):
            node = node.setdefault(part, {})
    return root


def missing(kind: Any, wanted: Wanted) -> str:
    """The first wanted field that a type (`schema.resolved`) does not have; "" if it has all."""
    if isinstance(kind, list):
        return min((missing(branch, wanted) for branch in kind if branch != "null"), default=min(wanted, default=""))
    if isinstance(kind, dict) and kind["type"] == "array":
        return missing(kind["items"], wanted)
    types = {field["name"]: field["type"] for field in kind.get("fields", ())} if isinstance(kind, dict) else {}
    for name, inner in sorted(wanted.items()):
        if name not in types:
            return name
        if inner and (lacking := missing(types[name], inner)):
            return below(name, lacking)
    return ""
