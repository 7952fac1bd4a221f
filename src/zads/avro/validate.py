"""A schema compiled into a validator of records, which accepts or refuses their bytes without decoding them.

Runs of fields of fixed shape are one match of a regular expression (`zads.avro.patterns`). Strings, byte strings and
arrays are steps of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zads.avro import fields, patterns, schema
from zads.avro.errors import MismatchError
from zads.avro.numbers import read_block, read_branch, read_long, read_span

#: Validates one value or several: (bytes, start, end of the record) -> end of the value. Raises MismatchError.
Validator = Callable[[bytes, int, int], int]


def compile_validator(definition: Any) -> Validator:
    """The validator of one value of a schema whose named types are spelt out (`schema.resolved`)."""
    return _value(definition, "")


def _value(kind: Any, path: str) -> Validator:
    if isinstance(kind, list):
        return _union(kind, path)
    if isinstance(kind, dict):
        return _compound(kind, path)
    if kind in ("string", "bytes"):
        return _sized(path, text=kind == "string")
    return _run([(path, kind)])


def _compound(kind: dict[str, Any], path: str) -> Validator:
    what = kind["type"]
    if what == "record":
        return _record(kind, path)
    if what == "enum":
        return _enum(len(kind["symbols"]), path)
    if what == "fixed":
        return _fixed(kind["size"], path)
    return _array(kind["items"] if what == "array" else schema.pair(kind["values"]), path)


def _enum(symbols: int, path: str) -> Validator:
    def validate(data: bytes, start: int, end: int) -> int:
        number, start = read_long(data, start, end, path)
        if not 0 <= number < symbols:
            raise MismatchError(path, f"none of its {symbols} symbols has the number {number}")
        return start

    return validate


def _fixed(size: int, path: str) -> Validator:
    def validate(_: bytes, start: int, end: int) -> int:
        if start + size > end:
            raise MismatchError(path, f"the data end within its {size} bytes")
        return start + size

    return validate


def _run(run: list[tuple[str, Any]]) -> Validator:
    """The validator of consecutive fields of fixed shape (path, type): one match for all."""
    match = patterns.matcher([kind for _, kind in run])

    def validate(data: bytes, start: int, end: int) -> int:
        found = match(data, start, end)
        if found is None:
            raise patterns.first_misfit(run, data, start, end)
        return found.end()

    return validate


def _sized(path: str, *, text: bool) -> Validator:
    """The validator of a byte string or, with `text`, of a string, which must be UTF-8."""

    def validate(data: bytes, start: int, end: int) -> int:
        first, last = read_span(data, start, end, path)
        if text:
            try:
                data[first:last].decode()
            except UnicodeDecodeError as error:
                raise MismatchError(path, f"it is not UTF-8 ({error.reason} at byte {error.start})") from None
        return last

    return validate


def _union(branches: list[Any], path: str) -> Validator:
    if patterns.is_fixed(branches):
        return _run([(path, branches)])
    validators = [_value(branch, path) for branch in branches]

    def validate(data: bytes, start: int, end: int) -> int:
        index, first = read_branch(data, start, end, path, len(validators))
        return validators[index](data, first, end)

    return validate


def _array(items: Any, path: str) -> Validator:
    item = _value(items, "")

    def validate(data: bytes, start: int, end: int) -> int:
        number = 0
        while True:
            count, start, block_end = read_block(data, start, end, path)
            if not count:
                return start
            if count > end - start:  # every item of an alert's arrays takes bytes: a larger count is a lie
                raise MismatchError(path, f"it claims {count} items in {end - start} bytes")
            for _ in range(count):
                try:
                    start = item(data, start, end)
                except MismatchError as error:
                    inner = f".{error.field}" if error.field else ""
                    raise MismatchError(f"{path}[{number}]{inner}", error.reason) from None
                number += 1
            if block_end not in (None, start):
                raise MismatchError(path, "a block's size is not that of its items")

    return validate


def _record(kind: dict[str, Any], path: str) -> Validator:
    """The validator of a record: one match if all fields are numbers and short texts; otherwise it goes by steps."""
    steps = _steps(kind, path)
    match = patterns.short_matcher([field["type"] for field in kind["fields"]])
    if match is None:
        return steps

    def validate(data: bytes, start: int, end: int) -> int:
        found = match(data, start, end)
        return found.end() if found else steps(data, start, end)

    return validate


def _steps(kind: dict[str, Any], path: str) -> Validator:
    validators: list[Validator] = []
    run: list[tuple[str, Any]] = []
    for field in kind["fields"]:
        place = fields.below(path, field["name"])
        if patterns.is_fixed(field["type"]):
            run.append((place, field["type"]))
            continue
        if run:
            validators.append(_run(run))
            run = []
        validators.append(_value(field["type"], place))
    if run:
        validators.append(_run(run))

    def validate(data: bytes, start: int, end: int) -> int:
        for step in validators:
            start = step(data, start, end)
        return start

    return validate
