"""Some fields of a record, read straight from its bytes.

A schema and the fields wanted of it become a chain of steps. A run of fields of fixed shape (`zads.layout`) is one
match of a regular expression, in C, that captures the wanted ones and passes over the others; only what is captured
becomes a Python object. After the last wanted field nothing more is looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from zads import layout
from zads.errors import ZadsError
from zads.layout import MismatchError, read_long

#: Fields that are wanted, as nested names; an empty mapping means everything below.
Wanted = Mapping[str, "Wanted"]
#: A step over one value or several: (bytes, start, end of the record, values) -> end; wanted values are appended.
_Step = Callable[[bytes, int, int, list[Any]], int]
#: The wanted fields of the record at (bytes, start, end).
Reader = Callable[[bytes, int, int], dict[str, Any]]

_FLOAT, _DOUBLE = struct.Struct("<f").unpack, struct.Struct("<d").unpack


def compile_reader(schema: Mapping[str, Any], wanted: Wanted) -> Reader:
    """A reader of the wanted fields of a record whose named types are spelt out (``schemas.resolved``).

    It gives nested dictionaries in the schema's order, arrays as lists. What it passes over may be anything.
    Errors: ZadsError naming a field that the schema does not have; the reader's are MismatchError and ValueError, for
    bytes that no such record has.
    """
    if lacking := missing(schema, wanted):
        raise ZadsError(
            f"alerts of this schema have no field {lacking!r}", hint="see schemas/ztf for the fields there are"
        )
    steps, names = _record_steps(schema, wanted, "", cut=True)

    def read(data: bytes, start: int, end: int) -> dict[str, Any]:
        values: list[Any] = []
        for step in steps:
            start = step(data, start, end, values)
        return dict(zip(names, values, strict=True))

    return read


def missing(schema: Any, wanted: Wanted) -> str:
    """The dotted path of a wanted field that the schema does not have; "" if it has all."""
    if isinstance(schema, list):
        return min((missing(branch, wanted) for branch in schema if branch != "null"), default=min(wanted, default=""))
    if isinstance(schema, dict) and schema["type"] == "array":
        return missing(schema["items"], wanted)
    types = {field["name"]: field["type"] for field in schema.get("fields", ())} if isinstance(schema, dict) else {}
    for name, below in sorted(wanted.items()):
        if name not in types:
            return name
        if below and (inner := missing(types[name], below)):
            return f"{name}.{inner}"
    return ""


def _record_steps(schema: Any, wanted: Wanted, path: str, *, cut: bool) -> tuple[list[_Step], list[str]]:
    """Steps over a record's fields, and the names of those wanted; with `cut`, none after the last of these."""
    fields: list[Any] = schema["fields"]
    names = [field["name"] for field in fields if not wanted or field["name"] in wanted]
    steps: list[_Step] = []
    run: list[tuple[str, Any, bool]] = []
    final = names[-1] if cut and names else ""
    for field in fields:
        name, kind = field["name"], field["type"]
        place, mine = f"{path}.{name}".lstrip("."), name in names
        if _value_type(kind):
            run.append((place, kind, mine))
        else:
            steps += _run(run)
            run = []
            last = name == final
            steps.append(_value(kind, wanted.get(name, {}), place, cut=last) if mine else _passed_over(kind, place))
        if name == final:
            break
    return [*steps, *_run(run)], names


def _value_type(kind: Any) -> str:
    """The type of a field of fixed shape, of which a union may have one beside null; else ""."""
    branches = [branch for branch in kind if branch != "null"] if isinstance(kind, list) else [kind]
    single = branches[0] if len(branches) == 1 else None
    return single if isinstance(single, str) and single in _DECODERS else ""


def _run(fields: list[tuple[str, Any, bool]]) -> list[_Step]:
    """Consecutive fields of fixed shape: one match for all."""
    if not fields:
        return []
    match = layout.matcher([kind for _, kind, _ in fields], captured=[mine for _, _, mine in fields])
    decoders = [_DECODERS[_value_type(kind)] for _, kind, mine in fields if mine]
    plain = [(path, kind) for path, kind, _ in fields]

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        found = match(data, start, end)
        if found is None:
            raise layout.first_misfit(plain, data, start, end)
        if decoders:
            values += [
                None if coded is None else decode(coded) for decode, coded in zip(decoders, found.groups(), strict=True)
            ]
        return found.end()

    return [step]


def _number(coded: bytes) -> int:
    """An integer from its zigzag variable-length form."""
    value = coded[0] & 0x7F
    if len(coded) > 1:
        for shift, byte in enumerate(coded[1:], 1):
            value |= (byte & 0x7F) << 7 * shift
    return (value >> 1) ^ -(value & 1)


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "boolean": lambda coded: coded == b"\x01",
    "int": _number,
    "long": _number,
    "float": lambda coded: _FLOAT(coded)[0],
    "double": lambda coded: _DOUBLE(coded)[0],
}


def _passed_over(kind: Any, path: str) -> _Step:
    if kind in ("string", "bytes"):
        return _sized(path, None)
    if isinstance(kind, list):
        return _union([_passed_over(branch, path) for branch in kind], path)
    walk = layout.compile_layout(kind)
    return lambda data, start, end, _: walk(data, start, end)


def _value(kind: Any, wanted: Wanted, path: str, *, cut: bool) -> _Step:
    if isinstance(kind, list):
        return _union([_value(branch, wanted, path, cut=cut) for branch in kind], path)
    if isinstance(kind, dict):
        return _compound(kind, wanted, path, cut=cut)
    if kind == "null":
        return _null
    if kind in ("string", "bytes"):
        return _sized(path, bytes.decode if kind == "string" else bytes)
    return _run([(path, kind, True)])[0]


def _compound(kind: Any, wanted: Wanted, path: str, *, cut: bool) -> _Step:
    if kind["type"] == "record":
        return _record(kind, wanted, path, cut=cut)
    if kind["type"] == "array":
        return _array(kind["items"], wanted, path)
    if kind["type"] == "map":
        return _map(kind["values"], path)
    walk = layout.compile_layout(kind)
    symbols = kind.get("symbols")

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        stop = walk(data, start, end)
        values.append(symbols[_number(data[start:stop])] if symbols else data[start:stop])
        return stop

    return step


def _map(kind: Any, path: str) -> _Step:
    """As an array of pairs."""
    fields = [{"name": "key", "type": "string"}, {"name": "value", "type": kind}]
    inner = _array({"type": "record", "fields": fields}, {}, path)

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        pairs: list[Any] = []
        stop = inner(data, start, end, pairs)
        values.append({pair["key"]: pair["value"] for pair in pairs[0]})
        return stop

    return step


def _null(_: bytes, start: int, __: int, values: list[Any]) -> int:
    values.append(None)
    return start


def _sized(path: str, decode: Callable[[bytes], Any] | None) -> _Step:
    """A length and as many bytes; no decoder: they are passed over."""

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        if start < end and data[start] < 0x80:
            size, start = data[start] >> 1, start + 1
        else:
            size, start = read_long(data, start, end, path)
        last = start + size
        if not start <= last <= end:
            raise MismatchError(path, f"its length ({size} bytes) reaches beyond the data")
        if decode is not None:
            values.append(decode(data[start:last]))
        return last

    return step


def _union(steps: list[_Step], path: str) -> _Step:
    coded = {2 * index: step for index, step in enumerate(steps)}

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        if start >= end or data[start] not in coded:
            raise MismatchError(path, "no branch of its union has this number")
        return coded[data[start]](data, start + 1, end, values)

    return step


def _record(schema: Any, wanted: Wanted, path: str, *, cut: bool) -> _Step:
    steps, names = _record_steps(schema, wanted, path, cut=cut)

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        mine: list[Any] = []
        for inner in steps:
            start = inner(data, start, end, mine)
        values.append(dict(zip(names, mine, strict=True)))
        return start

    return step


def _array(items: Any, wanted: Wanted, path: str) -> _Step:
    inner = _value(items, wanted, path, cut=False)

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        mine: list[Any] = []
        while True:
            count, start = read_long(data, start, end, path)
            if count < 0:  # the block's size in bytes follows
                count = -count
                _, start = read_long(data, start, end, path)
            if not count:
                values.append(mine)
                return start
            if count > end - start:
                raise MismatchError(path, f"it claims {count} items in {end - start} bytes")
            for _ in range(count):
                start = inner(data, start, end, mine)

    return step
