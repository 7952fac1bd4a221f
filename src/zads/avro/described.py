"""What a schema says of each field beside its type: the default and the documentation.

No reader of a packet needs either, so `zads.avro.differences` ignores both. People want to see them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from zads.avro import schema
from zads.avro.differences import Difference
from zads.avro.fields import below


class Described(NamedTuple):
    """A field: its type in words, its default as JSON ("" for none), and its documentation in one line."""

    kind: str
    default: str
    doc: str

    def __str__(self) -> str:
        default = f", default {self.default}" if self.default else ""
        return f"{self.kind}{default}{f': {self.doc}' if self.doc else ''}"


def fields(definition: Any) -> dict[str, Described]:
    """Every field by its dotted path, in the schema's order. Raises ZadsError as `schema.resolved` does."""
    kinds = dict(_kinds(schema.resolved(definition, logical=True), ""))
    found: dict[str, Described] = {}

    def note(path: str, entry: dict[str, Any]) -> None:
        default = json.dumps(entry["default"]) if "default" in entry else ""
        found.setdefault(path, Described(kinds.get(path, ""), default, " ".join(str(entry.get("doc", "")).split())))

    _walk(definition, "", "", {}, note)
    return found


def defaults(old: Any, new: Any) -> list[Difference]:
    """How the defaults of fields that both schemas have differ; that breaks no reader of packets.

    Raises ZadsError as `schema.resolved` does.
    """
    return [
        Difference(path, _other_default(before.default, after.default), breaks=False)
        for path, before, after in _both(old, new)
        if before.default != after.default
    ]


def docs(old: Any, new: Any) -> list[Difference]:
    """How the documentation of fields that both schemas have differs. Raises ZadsError as `schema.resolved` does."""
    return [
        Difference(path, f"is documented as {after.doc!r}, not {before.doc!r}", breaks=False)
        for path, before, after in _both(old, new)
        if before.doc != after.doc
    ]


def _both(old: Any, new: Any) -> Iterator[tuple[str, Described, Described]]:
    olds, news = fields(old), fields(new)
    yield from ((path, olds[path], field) for path, field in news.items() if path in olds)


def _other_default(before: str, after: str) -> str:
    if not before or not after:
        return f"has the default {after}, and had none" if after else f"has no default, and had {before}"
    return f"has the default {after}, not {before}"


def documented(definition: dict[str, Any], like: Any) -> dict[str, Any]:
    """A copy of a schema in which each field that another schema has is documented as there."""
    copied: dict[str, Any] = json.loads(json.dumps(definition))
    texts = {path: field.doc for path, field in fields(like).items()}

    def write(path: str, entry: dict[str, Any]) -> None:
        if path in texts:
            entry.pop("doc", None)
            if texts[path]:
                entry["doc"] = texts[path]

    _walk(copied, "", "", {}, write)
    return copied


def _kinds(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """The type of every field of a spelt-out type, in words."""
    if isinstance(node, dict) and node["type"] == "record":
        for field in node["fields"]:
            inner = below(path, field["name"])
            yield inner, schema.kind(field["type"])
            yield from _kinds(field["type"], inner)
    else:
        for inner_node in schema.below(node):
            yield from _kinds(inner_node, path)


def _walk(
    node: Any, path: str, namespace: str, names: dict[str, Any], visit: Callable[[str, dict[str, Any]], None]
) -> None:
    """Visit every field of a schema as it is written; a named type is visited again wherever it is used.

    The schema has been resolved before, so that no type is within itself and every name is known.
    """
    if isinstance(node, str):
        full = node if "." in node or not namespace else f"{namespace}.{node}"
        if node not in schema.PRIMITIVES:
            _walk(names[full], path, namespace, names, visit)
    elif isinstance(node, list):
        for branch in node:
            _walk(branch, path, namespace, names, visit)
    elif node.get("type") == "record":
        full = schema.full_name(node, namespace)
        names[full] = node
        for field in node["fields"]:
            inner = below(path, field["name"])
            visit(inner, field)
            _walk(field["type"], inner, full.rpartition(".")[0], names, visit)
    elif node.get("type") in ("enum", "fixed"):
        names[schema.full_name(node, namespace)] = {"type": "string"}  # it has no fields
    else:
        _walk(node.get("items", node.get("values", node["type"])), path, namespace, names, visit)
