"""Dotted paths of fields: the form in which a filter declares what it reads."""

from __future__ import annotations

from collections.abc import Iterable

#: Top-level fields that are decoded with the packet; all others are decoded when a filter first reads them.
EAGER = ("schemavsn", "publisher", "objectId", "candid", "candidate")

Tree = dict[str, "Tree"]  # a field's name: the fields below it that are declared, empty if all of it is


def union(sets: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The smallest set of dotted paths that covers several sets: ``a`` includes ``a.b``. Sorted."""
    every = {field for fields in sets for field in fields}
    return tuple(sorted(field for field in every if not any(parent in every for parent in _parents(field))))


def tree(fields: Iterable[str]) -> Tree:
    """The declared fields as nested dictionaries."""
    root: Tree = {}
    for field in union([fields]):
        node = root
        for part in field.split("."):
            node = node.setdefault(part, {})
    return root


def _parents(field: str) -> list[str]:
    parts = field.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]
