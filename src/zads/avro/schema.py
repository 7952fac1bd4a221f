"""Simplifies an Avro schema: spells out names, leaves out documentation and defaults, and refuses harmful parts.

A packet contains its schema, so a schema may hold anything. Schemas that Avro forbids (1.11, "Names", "Unions") are
refused here, and so are those that only cost time or memory: a type within itself, far too many fields, items without
bytes. Libraries accept many of these.
"""

from __future__ import annotations

import json
import re
from typing import Any

from zads.errors import ZadsError

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
#: Real schemas, spelt out, have about 700 types in four levels.
MAX_TYPES = 4_000
MAX_DEPTH = 24
#: The number of a branch then fits in one byte.
MAX_BRANCHES = 63
MAX_FIXED_BYTES = 4_000_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse(text: str) -> Any:
    """A schema's JSON. Raises ZadsError if it is not JSON, or if parsers could differ about what it says."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ZadsError(f"its schema is not JSON: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError(f"it has the key {_repeated([key for key, _ in pairs])!r} twice in one object")
    return result


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def canonical(definition: Any) -> str:
    """Only names, types and order, as JSON text; a named type is spelt out at its first use, and only named later.

    Avro's parsing canonical form does the same. If every use were spelt out, a short schema could grow without bound.
    Raises ZadsError if it is not a schema.
    """
    return json.dumps(_plain(definition, "", _Names(expand=False, logical=True)), separators=(",", ":"))


def resolved(definition: Any, *, logical: bool = False) -> Any:
    """A schema with every named type spelt out at each use: lists and dictionaries, no references.

    A logical type becomes the type beneath it; with `logical`, a dictionary of both.
    Raises ZadsError if it is not a schema, or too large to be an alert's.
    """
    result = _plain(definition, "", _Names(expand=True, logical=logical))
    _check_size(result)
    _least_bytes(result)
    return result


class _Names(dict[str, Any]):
    """The named types that a schema has defined so far; with `expand`, a reference is replaced by its type."""

    def __init__(self, *, expand: bool, logical: bool) -> None:
        super().__init__()
        self.expand, self.logical = expand, logical


def _plain(node: Any, namespace: str, names: _Names) -> Any:
    if isinstance(node, str):
        return _reference(node, namespace, names)
    if isinstance(node, list):
        return _union(node, namespace, names)
    if not isinstance(node, dict):
        raise ZadsError(f"{node!r} is not an Avro type")
    logical = node.get("logicalType")
    if logical is not None and names.logical:
        beneath = {key: value for key, value in node.items() if key != "logicalType"}
        return {"type": _plain(beneath, namespace, names), "logicalType": str(logical)}
    kind = node.get("type")
    if kind in ("record", "enum", "fixed"):
        return _named_type(node, kind, namespace, names)
    if kind == "array":
        return {"type": "array", "items": _plain(_required(node, "items"), namespace, names)}
    if kind == "map":
        return {"type": "map", "values": _plain(_required(node, "values"), namespace, names)}
    if isinstance(kind, (str, dict, list)) and kind != "":
        return _plain(kind, namespace, names)
    raise ZadsError(f"{kind!r} is not an Avro type")


def _required(node: dict[str, Any], key: str) -> Any:
    """A part that the type must have."""
    if key not in node:
        raise ZadsError(f"a type {node.get('type')!r} in it has no {key!r}")
    return node[key]


def _reference(name: str, namespace: str, names: _Names) -> Any:
    if name in PRIMITIVES:
        return name
    full = name if "." in name else f"{namespace}.{name}" if namespace else name
    if full not in names:
        raise ZadsError(f"it uses the type {name!r}, which it does not define")
    return names[full] if names.expand else full


def _union(node: list[Any], namespace: str, names: _Names) -> list[Any]:
    if not 0 < len(node) <= MAX_BRANCHES:
        raise ZadsError(f"a union in it has {len(node)} branches")
    if any(isinstance(branch, list) for branch in node):
        raise ZadsError("a union in it is within another")
    branches = [_plain(branch, namespace, names) for branch in node]
    if twice := _repeated([kind(branch) for branch in branches]):
        raise ZadsError(f"a union in it has the branch {twice!r} twice")
    return branches


def kind(node: Any) -> str:
    """A type in a few words: "float", "array", "record ztf.alert.candidate", "float or null"."""
    if isinstance(node, str):
        return node
    if isinstance(node, list):
        return " or ".join(map(kind, node))
    if "logicalType" in node:
        return f"{node['logicalType']} ({kind(node['type'])})"
    return f"{node['type']} {node['name']}" if "name" in node else str(node["type"])


def _named_type(node: dict[str, Any], what: str, namespace: str, names: _Names) -> dict[str, Any]:
    name = full_name(node, namespace)
    if name in names:
        raise ZadsError(f"it defines {name!r} twice")
    result: dict[str, Any] = {"type": what, "name": name}
    names[name] = result
    if what == "record":
        result["fields"] = _fields(node, name, names)
    elif what == "enum":
        result["symbols"] = _symbols(node, name)
    else:
        size = node.get("size")
        if type(size) is not int or not 0 <= size <= MAX_FIXED_BYTES:
            raise ZadsError(f"{name} has the size {size!r}")
        result["size"] = size
    return result


def full_name(node: dict[str, Any], namespace: str) -> str:
    """The name of a named type with its namespace. Raises ZadsError if it cannot be one."""
    name = _required(node, "name")
    if isinstance(name, str) and "." not in name:
        space = node.get("namespace", namespace)
        name = f"{space}.{name}" if space else name
    if not isinstance(name, str) or not all(map(_NAME.fullmatch, name.split("."))):
        raise ZadsError(f"{name!r} cannot be a type's name")
    return name


def _fields(node: dict[str, Any], name: str, names: _Names) -> list[dict[str, Any]]:
    fields = _required(node, "fields")
    if not isinstance(fields, list) or not all(isinstance(field, dict) for field in fields):
        raise ZadsError(f"the fields of {name} are no list of fields")
    called = [_required(field, "name") for field in fields]
    for one in called:
        if not isinstance(one, str) or not _NAME.fullmatch(one):
            raise ZadsError(f"{one!r} cannot be a field's name")
    if twice := _repeated(called):
        raise ZadsError(f"{name} has the field {twice!r} twice")
    inner = name.rpartition(".")[0]
    return [{"name": field["name"], "type": _plain(_required(field, "type"), inner, names)} for field in fields]


def _symbols(node: dict[str, Any], name: str) -> list[str]:
    symbols = node.get("symbols")
    right = isinstance(symbols, list) and all(isinstance(one, str) and _NAME.fullmatch(one) for one in symbols)
    if not symbols or not right or _repeated(symbols):
        raise ZadsError(f"the symbols of {name} are no list of different names")
    return list(symbols)


def _repeated(words: list[str]) -> str:
    """The first word that is in a list twice, or ""."""
    seen: set[str] = set()
    for word in words:
        if word in seen:
            return word
        seen.add(word)
    return ""


def below(node: Any) -> list[Any]:
    """The types directly within a spelt-out type."""
    if isinstance(node, list):
        return node
    if not isinstance(node, dict):
        return []
    if node["type"] == "record":
        return [field["type"] for field in node["fields"]]
    if node["type"] in ("array", "map"):
        return [node["items"] if node["type"] == "array" else node["values"]]
    return [node["type"]] if "logicalType" in node else []


def pair(values: Any) -> dict[str, Any]:
    """The record of a key and a value: a map is encoded as an array of these."""
    return {"type": "record", "fields": [{"name": "key", "type": "string"}, {"name": "value", "type": values}]}


def _check_size(schema: Any) -> None:
    """Raises ZadsError if a schema, spelt out, has too many types or levels, as a record within itself has."""
    level, count = [schema], 0
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for node in level:
            inner = below(node)
            count += len(inner)
            if count > MAX_TYPES:
                raise ZadsError(f"it has more than {MAX_TYPES} types, or one within itself")
            deeper += inner
        if not deeper:
            return
        level = deeper
    raise ZadsError(f"it has more than {MAX_DEPTH} levels, or a type within itself")


def _least_bytes(node: Any) -> int:
    """The fewest bytes of a value. Raises ZadsError for items without bytes, of which a few bytes claim any number."""
    if isinstance(node, str):
        return 0 if node == "null" else {"float": 4, "double": 8}.get(node, 1)
    least = [_least_bytes(inner) for inner in below(node)]
    if isinstance(node, list):
        return 1 + min(least)
    if node["type"] == "array" and not least[0]:
        raise ZadsError("an array in it has items that take no bytes")
    if node["type"] == "record":
        return sum(least)
    if node["type"] == "fixed":
        return int(node["size"])
    return least[0] if "logicalType" in node else 1
