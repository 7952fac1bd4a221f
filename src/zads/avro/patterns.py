"""Regular expressions over bytes for values whose encodings have a fixed shape.

Most of an alert is runs of such fields: a double is any eight bytes, an optional float is ``00``, or ``02`` and four
bytes, an integer is a variable-length number. A run is one match, in C. The lengths of strings, byte strings and arrays
cannot be counted by a regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from zads.avro import schema
from zads.avro.errors import MismatchError

#: A regular expression at one position: (bytes, start, end) -> the match there.
Match = Callable[[bytes, int, int], "re.Match[bytes] | None"]

#: An int has 32 bits in at most five bytes, a long 64 in ten: the last byte of the longest form has 4 bits or 1.
#: The groups are atomic, since there is only one way to match. `........` and not `.{8}`: a count is a loop, which
#: takes twice the time.
_PATTERNS = {
    "null": rb"",
    "boolean": rb"[\x00\x01]",
    "int": rb"(?>[\x00-\x7f]|[\x80-\xff]{1,3}[\x00-\x7f]|[\x80-\xff]{4}[\x00-\x0f])",
    "long": rb"(?>[\x00-\x7f]|[\x80-\xff]{1,8}[\x00-\x7f]|[\x80-\xff]{9}[\x00\x01])",
    "float": rb"....",
    "double": rb"........",
}
#: A text of at most 63 ASCII characters: one byte, which is twice its length, comes first.
_SHORT_TEXT = b"(?>" + b"|".join(b"\\x%02x[\\x00-\\x7f]{%d}" % (2 * size, size) for size in range(64)) + b")"


def is_fixed(kind: Any) -> bool:
    """Whether one regular expression matches all encodings of a type, and nothing else."""
    return _pattern(kind) is not None


def matcher(types: Sequence[Any], captured: Sequence[bool] = ()) -> Match:
    """Matches the encodings of consecutive values of fixed shape; a captured value is a group, None for null."""
    wanted = captured or [False] * len(types)
    return _compiled([_pattern(kind, capture=capture) or b"" for kind, capture in zip(types, wanted, strict=True)])


def short_matcher(types: Sequence[Any]) -> Match | None:
    """Matches the usual encodings of consecutive values: those whose texts have up to 63 ASCII characters.

    Bytes that it does not match may still be valid. None if one of the types is neither a text nor of fixed shape.
    """
    patterns = [_short(kind) for kind in types]
    return _compiled([one for one in patterns if one is not None]) if None not in patterns else None


def _compiled(patterns: Sequence[bytes]) -> Match:
    return re.compile(b"".join(patterns), re.DOTALL).match


def _pattern(kind: Any, *, capture: bool = False) -> bytes | None:
    if isinstance(kind, str):
        found = _PATTERNS.get(kind)
        return b"(%s)" % found if capture and found else found
    return _any_of([_pattern(branch, capture=capture) for branch in kind]) if isinstance(kind, list) else None


def _short(kind: Any) -> bytes | None:
    if kind == "string":
        return _SHORT_TEXT
    return _any_of([_short(branch) for branch in kind]) if isinstance(kind, list) else _pattern(kind)


def _any_of(branches: Sequence[bytes | None]) -> bytes | None:
    """The pattern of a union: a branch's number, doubled, comes before its value."""
    coded = [b"\\x%02x%s" % (2 * index, branch) for index, branch in enumerate(branches) if branch is not None]
    return b"(?>" + b"|".join(coded) + b")" if len(coded) == len(branches) else None


def first_misfit(fields: Sequence[tuple[str, Any]], data: bytes, start: int, end: int) -> MismatchError:
    """The error of the first of consecutive fields (path, type) that does not fit, where their matcher failed."""
    for path, kind in fields:
        found = matcher([kind])(data, start, end)
        if found is None:
            if start >= end:
                return MismatchError(path, "the data end here")
            if isinstance(kind, list) and data[start] not in range(0, 2 * len(kind), 2):
                return MismatchError(path, f"no branch of its union has the number {data[start] / 2:g}")
            return MismatchError(path, f"these bytes are no {schema.kind(kind)}, or the data end within it")
        start = found.end()
    return MismatchError(fields[-1][0], "these bytes do not fit")  # unreachable: each field fits, so the run does
