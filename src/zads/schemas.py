"""The alert schemas that are known, by version, and whether one can follow another.

The files are ``schemas/ztf/VERSION/alert.avsc``. Two schemas are the same when names, types and the order of fields
are: these decide what a packet's bytes mean; documentation, defaults and other attributes do not.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from zads.errors import ZadsError

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
#: What a reader may take the place of what was written (Avro 1.11, "Schema Resolution").
_PROMOTIONS = {
    "int": {"int", "long", "float", "double"},
    "long": {"long", "float", "double"},
    "float": {"float", "double"},
    "string": {"string", "bytes"},
    "bytes": {"bytes", "string"},
}


@dataclass(frozen=True)
class Schema:
    """One version: ``definition`` is the parsed schema, ``canonical`` what two of the same meaning share."""

    version: str
    definition: dict[str, Any]
    canonical: str


@functools.cache
def known() -> dict[str, Schema]:
    """Every known version, oldest first."""
    found = {}
    root = resources.files("zads") / "schema_files" / "ztf"
    for directory in sorted(root.iterdir(), key=lambda entry: entry.name):
        file = directory / "alert.avsc"
        if directory.is_dir() and file.is_file():
            definition = json.loads(file.read_text())
            found[directory.name] = Schema(directory.name, definition, canonical(definition))
    return found


def get(version: str) -> Schema:
    """A known version. Errors: ZadsError naming those that there are."""
    try:
        return known()[version]
    except KeyError:
        raise ZadsError(f"schema version {version!r} is not known", hint=f"known are {', '.join(known())}") from None


def identify(definition: dict[str, Any]) -> Schema | None:
    """The known version that a schema is, whatever its wording; None for one that is new or altered.

    Two versions may agree in all that decides what bytes mean; then the one that the schema itself claims is returned.
    """
    text = canonical(definition)
    same = [schema for schema in known().values() if schema.canonical == text]
    for schema in same:
        if schema.version == str(definition.get("version")):
            return schema
    return same[0] if same else None


def canonical(definition: Any) -> str:
    """Names, types and order alone, as JSON text; a named type is spelt out where it is first used, then named.

    As Avro's parsing canonical form, so that its length is at most that of the schema: spelling out every use would
    let a few lines of schema grow without bound.
    """
    return json.dumps(_resolved(definition, "", _Names(expand=False)), separators=(",", ":"))


def resolved(definition: Any) -> Any:
    """A schema that is trusted, every named type spelt out where it is used: lists and dictionaries, no references."""
    return _resolved(definition, "", _Names(expand=True))


class _Names(dict[str, Any]):
    """The named types that a schema has defined so far; ``expand``: a reference becomes what it refers to."""

    def __init__(self, *, expand: bool) -> None:
        super().__init__()
        self.expand = expand


def _resolved(node: Any, namespace: str, names: _Names) -> Any:
    if isinstance(node, str):
        if node in PRIMITIVES:
            return node
        full = node if "." in node else f"{namespace}.{node}" if namespace else node
        if full not in names:
            raise ZadsError(f"it uses the type {node!r}, which it does not define")
        return names[full] if names.expand else full
    if isinstance(node, list):
        return [_resolved(branch, namespace, names) for branch in node]
    if not isinstance(node, dict):
        raise ZadsError(f"{node!r} is not an Avro type")
    if "logicalType" in node:  # readers would turn the value into something else
        raise ZadsError(f"logical types are not what alerts use: {node['logicalType']!r}")
    kind = node.get("type")
    if kind == "array":
        return {"type": "array", "items": _resolved(node["items"], namespace, names)}
    if kind == "record":
        return _record(node, namespace, names)
    if isinstance(kind, str) and kind in PRIMITIVES:
        return kind
    if isinstance(kind, (dict, list)):
        return _resolved(kind, namespace, names)
    raise ZadsError(f"the Avro type {kind!r} is not one that alerts use")


def _record(node: dict[str, Any], namespace: str, names: _Names) -> dict[str, Any]:
    name = str(node["name"])
    if "." not in name:
        space = node.get("namespace", namespace)
        name = f"{space}.{name}" if space else name
    if name in names:
        raise ZadsError(f"it defines {name!r} twice")
    result: dict[str, Any] = {"type": "record", "name": name, "fields": []}
    names[name] = result
    inner = name.rpartition(".")[0]
    for field in node["fields"]:
        result["fields"].append({"name": field["name"], "type": _resolved(field["type"], inner, names)})
    return result


def compatible(old: Schema, new: Schema) -> list[str]:
    """Why a reader that knows ``old`` could not read alerts of ``new``: one line a reason, none if it can.

    A reader goes by names: a field that it needs must still be there with a type that its own can take the place of.
    Fields that are new do not disturb it.
    """
    return list(_differences(resolved(old.definition), resolved(new.definition), ""))


def _differences(reader: Any, writer: Any, path: str) -> list[str]:
    if isinstance(reader, list) or isinstance(writer, list):
        wanted = reader if isinstance(reader, list) else [reader]
        given = writer if isinstance(writer, list) else [writer]
        return [
            f"{path}: {_kind(branch)} cannot be read as {' or '.join(map(_kind, wanted))}"
            for branch in given
            if all(_differences(one, branch, path) for one in wanted)
        ]
    if isinstance(reader, str) or isinstance(writer, str):
        both = isinstance(reader, str) and isinstance(writer, str)
        fits = both and reader in _PROMOTIONS.get(writer, {writer})
        return [] if fits else [f"{path}: {_kind(writer)} cannot be read as {_kind(reader)}"]
    if reader["type"] != writer["type"]:
        return [f"{path}: {_kind(writer)} cannot be read as {_kind(reader)}"]
    if reader["type"] == "array":
        return _differences(reader["items"], writer["items"], f"{path}[]")
    there = {field["name"]: field["type"] for field in writer["fields"]}
    reasons = []
    for field in reader["fields"]:
        name = f"{path}.{field['name']}".lstrip(".")
        if field["name"] not in there:
            reasons.append(f"{name} is gone")
        else:
            reasons += _differences(field["type"], there[field["name"]], name)
    return reasons


def _kind(node: Any) -> str:
    return node if isinstance(node, str) else str(node.get("name", node["type"]))
