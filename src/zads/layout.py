"""A schema compiled into a walk over the bytes of a record, which is accepted or refused without being decoded.

Most of an alert is runs of fields whose encodings can be told by a regular expression over bytes: a double is any eight
bytes, an optional float is ``00`` and four bytes or ``02``, an integer is a variable-length number. A run is one match
in C. Strings, byte strings and arrays have lengths that a regular expression cannot count: they are steps of their own.
All follows the Avro specification 1.11, "Binary Encoding".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

#: A step over one value: (bytes, start, end of the record) -> end of the value.
Walk = Callable[[bytes, int, int], int]
#: A regular expression at one place: (bytes, start, end) -> what it found there.
Match = Callable[[bytes, int, int], "re.Match[bytes] | None"]

#: Encodings of fixed shape. An int has 32 bits in at most five bytes, a long 64 in ten: the last byte of the longest
#: form has 4 bits or 1. Atomic groups: there is one way to match. Dots, not
#: `.{8}`: a count is a loop, which costs twice as much.
_PATTERNS = {
    "null": rb"",
    "boolean": rb"[\x00\x01]",
    "int": rb"(?>[\x00-\x7f]|[\x80-\xff]{1,3}[\x00-\x7f]|[\x80-\xff]{4}[\x00-\x0f])",
    "long": rb"(?>[\x00-\x7f]|[\x80-\xff]{1,8}[\x00-\x7f]|[\x80-\xff]{9}[\x00\x01])",
    "float": rb"....",
    "double": rb"........",
}
#: A text of at most 63 ASCII characters: its length is one byte, twice the number.
_SHORT_TEXT = b"(?>" + b"|".join(b"\\x%02x[\\x00-\\x7f]{%d}" % (2 * size, size) for size in range(64)) + b")"


class MismatchError(Exception):
    """The bytes are not what the schema says: ``field`` is the dotted path, ``reason`` what is wrong there."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def read_long(data: bytes, start: int, end: int, field: str) -> tuple[int, int]:
    """A zigzag variable-length number: its value and where it ends. Errors: MismatchError when it is none."""
    if start < end and data[start] < 0x80:  # most are of one byte
        return (data[start] >> 1) ^ -(data[start] & 1), start + 1
    value = shift = 0
    for position in range(start, min(end, start + 10)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                raise MismatchError(field, "a number has more than 64 bits")
            return (value >> 1) ^ -(value & 1), position + 1
        shift += 7
    raise MismatchError(
        field, "the data end within a number" if end < start + 10 else "a number has more than ten bytes"
    )


def compile_layout(schema: Any) -> Walk:
    """The walk over one value of a schema whose named types are spelt out (``schemas.resolved``)."""
    return _walk(schema, "")


def _walk(schema: Any, path: str) -> Walk:
    if isinstance(schema, list):
        return _union(schema, path)
    if isinstance(schema, dict):
        return _compound(schema, path)
    if schema in ("string", "bytes"):
        return _sized(path, text=schema == "string")
    return _run([(path, schema)])


def _compound(schema: dict[str, Any], path: str) -> Walk:
    kind = schema["type"]
    if kind == "record":
        return _record(schema, path)
    if kind == "enum":
        return _enum(len(schema["symbols"]), path)
    if kind == "fixed":
        return _fixed(schema["size"], path)
    return _array(schema["items"], path) if kind == "array" else _map(schema["values"], path)


def _enum(symbols: int, path: str) -> Walk:
    def walk(data: bytes, start: int, end: int) -> int:
        number, start = read_long(data, start, end, path)
        if not 0 <= number < symbols:
            raise MismatchError(path, f"none of its {symbols} symbols has the number {number}")
        return start

    return walk


def _fixed(size: int, path: str) -> Walk:
    def walk(_: bytes, start: int, end: int) -> int:
        if start + size > end:
            raise MismatchError(path, f"the data end within its {size} bytes")
        return start + size

    return walk


def _map(values: Any, path: str) -> Walk:
    """As an array of pairs."""
    return _array(
        {"type": "record", "fields": [{"name": "key", "type": "string"}, {"name": "value", "type": values}]}, path
    )


def _pattern(schema: Any, *, capture: bool = False) -> bytes | None:
    """A regular expression for every encoding of the type; None if it has none."""
    if isinstance(schema, str):
        found = _PATTERNS.get(schema)
        return b"(%s)" % found if capture and found else found
    if isinstance(schema, list):
        branches = [_pattern(branch, capture=capture) for branch in schema]
        if all(branch is not None for branch in branches):
            coded = (b"\\x%02x%s" % (2 * index, branch) for index, branch in enumerate(branches))
            return b"(?>" + b"|".join(coded) + b")"
    return None


def _run(fields: list[tuple[str, Any]]) -> Walk:
    """Consecutive fields of fixed shape: one match for all."""
    match = matcher([schema for _, schema in fields])

    def walk(data: bytes, start: int, end: int) -> int:
        found = match(data, start, end)
        if found is None:
            raise first_misfit(fields, data, start, end)
        return found.end()

    return walk


def matcher(types: Sequence[Any], captured: Sequence[bool] = ()) -> Match:
    """Matches the encodings of consecutive values of fixed shape; those that are captured are groups, null is none."""
    wanted = captured or [False] * len(types)
    parts = [_pattern(schema, capture=capture) or b"" for schema, capture in zip(types, wanted, strict=True)]
    return re.compile(b"".join(parts), re.DOTALL).match


def first_misfit(fields: list[tuple[str, Any]], data: bytes, start: int, end: int) -> MismatchError:
    """Walk a run field by field to find which one does not fit."""
    for path, schema in fields:
        found = re.compile(_pattern(schema) or b"", re.DOTALL).match(data, start, end)
        if found is None:
            if start >= end:
                return MismatchError(path, "the data end here")
            if isinstance(schema, list) and data[start] not in range(0, 2 * len(schema), 2):
                return MismatchError(path, f"no branch of its union has the number {data[start] / 2:g}")
            return MismatchError(path, f"these bytes are no {_named(schema)}, or the data end within it")
        start = found.end()
    return MismatchError(fields[-1][0], "these bytes do not fit")  # unreachable: each field fits, so the run does


def _named(schema: Any) -> str:
    return " or ".join(_named(branch) for branch in schema) if isinstance(schema, list) else str(schema)


def _sized(path: str, *, text: bool) -> Walk:
    """A length and as many bytes; a string's are UTF-8."""

    def walk(data: bytes, start: int, end: int) -> int:
        size, first = read_long(data, start, end, path)
        if size < 0:
            raise MismatchError(path, f"its length is negative ({size})")
        last = first + size
        if last > end:
            raise MismatchError(path, f"its length ({size} bytes) reaches beyond the data")
        if text:
            try:
                data[first:last].decode()
            except UnicodeDecodeError as error:
                raise MismatchError(path, f"it is not UTF-8 ({error.reason} at byte {error.start})") from None
        return last

    return walk


def _union(branches: list[Any], path: str) -> Walk:
    if _pattern(branches) is not None:
        return _run([(path, branches)])
    walks = [_walk(branch, path) for branch in branches]

    def walk(data: bytes, start: int, end: int) -> int:
        index, first = read_long(data, start, end, path)
        if not 0 <= index < len(walks):
            raise MismatchError(path, f"no branch of its union has the number {index}")
        return walks[index](data, first, end)

    return walk


def _array(items: Any, path: str) -> Walk:
    step = _walk(items, "")

    def walk(data: bytes, start: int, end: int) -> int:
        number = 0
        while True:
            count, start = read_long(data, start, end, path)
            block_end = None
            if count < 0:  # the block's size in bytes follows, for readers that skip it
                count = -count
                size, start = read_long(data, start, end, path)
                block_end = start + size
            if not count:
                return start
            if count > end - start:  # every item of an alert's arrays takes bytes: a larger count is a lie
                raise MismatchError(path, f"it claims {count} items in {end - start} bytes")
            for _ in range(count):
                try:
                    start = step(data, start, end)
                except MismatchError as error:
                    inner = f".{error.field}" if error.field else ""
                    raise MismatchError(f"{path}[{number}]{inner}", error.reason) from None
                number += 1
            if block_end not in (None, start):
                raise MismatchError(path, "a block's size is not that of its items")

    return walk


def _short(schema: Any) -> bytes | None:
    """A regular expression for the usual encodings of the type, with texts of up to 63 ASCII characters; None if none.

    What it matches is valid; what it does not match may be.
    """
    if schema == "string":
        return _SHORT_TEXT
    if isinstance(schema, list):
        branches = [_short(branch) for branch in schema]
        if all(branch is not None for branch in branches):
            coded = (b"\\x%02x%s" % (2 * index, branch) for index, branch in enumerate(branches))
            return b"(?>" + b"|".join(coded) + b")"
    return _pattern(schema)


def _record(schema: dict[str, Any], path: str) -> Walk:
    """A record whose fields are all numbers and short texts is one match; others, and misfits, go by steps."""
    steps = _steps(schema, path)
    patterns = [_short(field["type"]) for field in schema["fields"]]
    if any(pattern is None for pattern in patterns):
        return steps
    match = re.compile(b"".join(pattern or b"" for pattern in patterns), re.DOTALL).match

    def walk(data: bytes, start: int, end: int) -> int:
        found = match(data, start, end)
        return found.end() if found else steps(data, start, end)

    return walk


def _steps(schema: dict[str, Any], path: str) -> Walk:
    walks: list[Walk] = []
    pending: list[tuple[str, Any]] = []
    for field in schema["fields"]:
        name = f"{path}.{field['name']}".lstrip(".")
        if _pattern(field["type"]) is not None:
            pending.append((name, field["type"]))
            continue
        if pending:
            walks.append(_run(pending))
            pending = []
        walks.append(_walk(field["type"], name))
    if pending:
        walks.append(_run(pending))

    def walk(data: bytes, start: int, end: int) -> int:
        for step in walks:
            start = step(data, start, end)
        return start

    return walk
