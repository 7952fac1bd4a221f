"""Known packets in a new form, for a rehearsal: what both forms have is copied, the rest is filled in.

A field that the packet does not have is null where that is allowed, and else gets a value that is
right in its type alone. A converted packet therefore shows how programs take the form, not what new fields mean.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import fastavro

from zads import schemas
from zads.avro import schema
from zads.errors import ZadsError

if TYPE_CHECKING:
    from zads.packet import Packet

_ABSENT = object()
_SYNC = b"zads-rehearsal--"
_NOTHING: dict[str, Any] = {
    "null": None, "boolean": False, "int": 0, "long": 0, "float": 0.0, "double": 0.0, "bytes": b"", "string": "",
}  # fmt: skip
_PYTHON: dict[str, tuple[type, ...]] = {
    "null": (type(None),), "boolean": (bool,), "int": (int,), "long": (int,), "float": (float, int),
    "double": (float, int), "bytes": (bytes,), "string": (str,),
}  # fmt: skip


class Conversion:
    """Converts packets into one schema. Raises ZadsError if fastavro cannot write it."""

    def __init__(self, form: schemas.Schema) -> None:
        self._version = form.version
        self._resolved = schema.resolved(form.definition)
        try:
            self._parsed = fastavro.parse_schema(form.definition)
        except (fastavro.schema.SchemaParseException, KeyError, TypeError, ValueError) as error:
            raise ZadsError(f"packets of {form.mark} cannot be made: {error}") from error

    def packet(self, packet: Packet) -> bytes:
        """The bytes of a packet with the same contents in this schema. Raises ZadsError if they cannot be made."""
        record: Any = next(iter(fastavro.reader(io.BytesIO(packet.data))))
        fitted = fit(self._resolved, {**record, "schemavsn": self._version})
        out = io.BytesIO()
        try:
            fastavro.writer(out, self._parsed, [fitted], sync_marker=_SYNC)
        except (ValueError, TypeError, OverflowError, AttributeError) as error:
            raise ZadsError(f"a packet cannot be written with this schema: {error}") from error
        return out.getvalue()


def fit(kind: Any, value: Any) -> Any:
    """A value as a type (`schema.resolved`) takes it; what the type does not have is left out, what it has is added."""
    if isinstance(kind, list):
        return _of_union(kind, value)
    if isinstance(kind, str):
        return value if _is(kind, value) else _NOTHING[kind]
    if kind["type"] == "record":
        given = value if isinstance(value, dict) else {}
        return {field["name"]: fit(field["type"], given.get(field["name"], _ABSENT)) for field in kind["fields"]}
    if kind["type"] == "array":
        return [fit(kind["items"], one) for one in value] if isinstance(value, list) else []
    if kind["type"] == "map":
        return {key: fit(kind["values"], one) for key, one in value.items()} if isinstance(value, dict) else {}
    if kind["type"] == "enum":
        return value if value in kind["symbols"] else kind["symbols"][0]
    return value if isinstance(value, bytes) and len(value) == kind["size"] else bytes(kind["size"])


def _of_union(branches: list[Any], value: Any) -> Any:
    if value is not _ABSENT:
        for branch in branches:
            if _is(branch, value):
                return fit(branch, value)
    return None if "null" in branches else fit(branches[0], _ABSENT)


def _is(kind: Any, value: Any) -> bool:
    """Whether a value is of a type's kind; what is within a record or an array is not looked at."""
    if isinstance(kind, str):
        return isinstance(value, _PYTHON[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if kind["type"] in ("record", "map"):
        return isinstance(value, dict)
    if kind["type"] == "array":
        return isinstance(value, list)
    if kind["type"] == "enum":
        return value in kind["symbols"]
    return isinstance(value, bytes) and len(value) == kind["size"]
