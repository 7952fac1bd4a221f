"""Compiles a schema and the wanted fields into a reader of only these fields.

A reader is a chain of steps. A run of fields of fixed shape is one match of a regular expression
(`zads.avro.patterns`), which captures the wanted ones and passes over the others; only what is captured becomes a
Python object. Nothing after the last wanted field is looked at.

The bytes are assumed to be valid. Some functions here have counterparts in `zads.avro.validate`. The ones here leave
out checks and calls, since each alert is read many times.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from zads.avro import patterns, schema
from zads.avro.errors import MismatchError
from zads.avro.fields import Wanted, below, missing
from zads.avro.numbers import decode_long, read_block, read_branch, read_span
from zads.avro.validate import compile_validator
from zads.errors import ZadsError

#: A step over one value or several: (bytes, start, end of the record, values) -> end; wanted values are appended.
_Step = Callable[[bytes, int, int, list[Any]], int]
#: The wanted fields of the record at (bytes, start, end). Raises MismatchError or ValueError for other bytes.
Reader = Callable[[bytes, int, int], dict[str, Any]]

_FLOAT, _DOUBLE = struct.Struct("<f").unpack, struct.Struct("<d").unpack
_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "boolean": lambda coded: coded == b"\x01",
    "int": decode_long,
    "long": decode_long,
    "float": lambda coded: _FLOAT(coded)[0],
    "double": lambda coded: _DOUBLE(coded)[0],
}


def compile_reader(kind: Mapping[str, Any], wanted: Wanted) -> Reader:
    """The reader of the wanted fields of a record whose named types are spelt out (`schema.resolved`).

    It returns nested dictionaries in the schema's order, arrays as lists. Raises ZadsError that names a field which the
    schema does not have.
    """
    if lacking := missing(kind, wanted):
        raise ZadsError(
            f"alerts of this schema have no field {lacking!r}", hint="see schemas/ztf for the fields there are"
        )
    steps, names = _record_steps(kind, wanted, "", cut=True)

    def read(data: bytes, start: int, end: int) -> dict[str, Any]:
        values: list[Any] = []
        for step in steps:
            start = step(data, start, end, values)
        return dict(zip(names, values, strict=True))

    return read


def _record_steps(kind: Any, wanted: Wanted, path: str, *, cut: bool) -> tuple[list[_Step], list[str]]:
    """Steps over a record's fields, and the names of the wanted ones; with `cut`, no step after the last of these."""
    fields: list[Any] = kind["fields"]
    names = [field["name"] for field in fields if not wanted or field["name"] in wanted]
    steps: list[_Step] = []
    run: list[tuple[str, Any, bool]] = []
    final = names[-1] if cut and names else ""
    for field in fields:
        name, inner = field["name"], field["type"]
        place, taken = below(path, name), name in names
        if _decoded_type(inner):
            run.append((place, inner, taken))
        else:
            steps += _run(run)
            run = []
            last = name == final
            steps.append(_value(inner, wanted.get(name, {}), place, cut=last) if taken else _passed_over(inner, place))
        if name == final:
            break
    return [*steps, *_run(run)], names


def _decoded_type(kind: Any) -> str:
    """The type of a field of fixed shape, of which a union may have one beside null; else ""."""
    branches = [branch for branch in kind if branch != "null"] if isinstance(kind, list) else [kind]
    single = branches[0] if len(branches) == 1 else None
    return single if isinstance(single, str) and single in _DECODERS else ""


def _run(run: list[tuple[str, Any, bool]]) -> list[_Step]:
    """Consecutive fields of fixed shape (path, type, wanted): one match for all."""
    if not run:
        return []
    match = patterns.matcher([kind for _, kind, _ in run], captured=[taken for _, _, taken in run])
    decoders = [_DECODERS[_decoded_type(kind)] for _, kind, taken in run if taken]
    fields = [(path, kind) for path, kind, _ in run]

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        found = match(data, start, end)
        if found is None:
            raise patterns.first_misfit(fields, data, start, end)
        if decoders:
            values += [
                None if coded is None else decode(coded) for decode, coded in zip(decoders, found.groups(), strict=True)
            ]
        return found.end()

    return [step]


def _passed_over(kind: Any, path: str) -> _Step:
    if kind in ("string", "bytes"):
        return _sized(path, None)
    if isinstance(kind, list):
        return _union([_passed_over(branch, path) for branch in kind], path)
    validate = compile_validator(kind)
    return lambda data, start, end, _: validate(data, start, end)


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
    validate = compile_validator(kind)
    symbols = kind.get("symbols")

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        stop = validate(data, start, end)
        values.append(symbols[decode_long(data[start:stop])] if symbols else data[start:stop])
        return stop

    return step


def _map(kind: Any, path: str) -> _Step:
    pairs = _array(schema.pair(kind), {}, path)

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        found: list[Any] = []
        stop = pairs(data, start, end, found)
        values.append({pair["key"]: pair["value"] for pair in found[0]})
        return stop

    return step


def _null(_: bytes, start: int, __: int, values: list[Any]) -> int:
    values.append(None)
    return start


def _sized(path: str, decode: Callable[[bytes], Any] | None) -> _Step:
    """A string or byte string; without a decoder it is passed over."""

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        # Most lengths have one byte: to call read_span for them would take longer than all the rest.
        if start >= end or data[start] >= 0x80 or (last := (first := start + 1) + (data[start] >> 1)) > end:
            first, last = read_span(data, start, end, path)
        if decode is not None:
            values.append(decode(data[first:last]))
        return last

    return step


def _union(steps: list[_Step], path: str) -> _Step:
    coded = {2 * index: step for index, step in enumerate(steps)}

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        if start < end and data[start] in coded:
            return coded[data[start]](data, start + 1, end, values)
        index, first = read_branch(data, start, end, path, len(steps))  # a longer form of the number, or an error
        return steps[index](data, first, end, values)

    return step


def _record(kind: Any, wanted: Wanted, path: str, *, cut: bool) -> _Step:
    steps, names = _record_steps(kind, wanted, path, cut=cut)

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        found: list[Any] = []
        for inner in steps:
            start = inner(data, start, end, found)
        values.append(dict(zip(names, found, strict=True)))
        return start

    return step


def _array(items: Any, wanted: Wanted, path: str) -> _Step:
    item = _value(items, wanted, path, cut=False)

    def step(data: bytes, start: int, end: int, values: list[Any]) -> int:
        found: list[Any] = []
        while True:
            count, start, _ = read_block(data, start, end, path)
            if not count:
                values.append(found)
                return start
            if count > end - start:
                raise MismatchError(path, f"it claims {count} items in {end - start} bytes")
            for _ in range(count):
                start = item(data, start, end, found)

    return step
