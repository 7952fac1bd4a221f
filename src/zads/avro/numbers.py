"""Variable-length numbers, and their meanings: a length, a branch of a union, the items of an array.

Each function takes (bytes, start, end, the field's path for the error) and returns the value and where it ends.
Source: Avro specification 1.11, "Binary Encoding".
"""

from __future__ import annotations

from zads.avro.errors import MismatchError


def read_long(data: bytes, start: int, end: int, field: str) -> tuple[int, int]:
    """A zigzag variable-length number and where it ends. Raises MismatchError."""
    if start < end and data[start] < 0x80:  # most have one byte
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


def decode_long(coded: bytes) -> int:
    """The number that valid variable-length bytes encode."""
    value = coded[0] & 0x7F
    if len(coded) > 1:
        for shift, byte in enumerate(coded[1:], 1):
            value |= (byte & 0x7F) << 7 * shift
    return (value >> 1) ^ -(value & 1)


def read_span(data: bytes, start: int, end: int, field: str) -> tuple[int, int]:
    """Where the bytes of a string or byte string start and end. Raises MismatchError."""
    size, first = read_long(data, start, end, field)
    if size < 0:
        raise MismatchError(field, f"its length is negative ({size})")
    last = first + size
    if last > end:
        raise MismatchError(field, f"its length ({size} bytes) reaches beyond the data")
    return first, last


def read_branch(data: bytes, start: int, end: int, field: str, branches: int) -> tuple[int, int]:
    """The number of a union's branch, one of `branches`, and where its value starts. Raises MismatchError."""
    index, first = read_long(data, start, end, field)
    if not 0 <= index < branches:
        raise MismatchError(field, f"no branch of its union has the number {index}")
    return index, first


def read_block(data: bytes, start: int, end: int, field: str) -> tuple[int, int, int | None]:
    """How many items the next block of an array or map has, where they start, and where they end if the block says so.

    The last block has none. Raises MismatchError.
    """
    count, start = read_long(data, start, end, field)
    if count >= 0:
        return count, start, None
    size, start = read_long(data, start, end, field)  # for readers that skip the block
    return -count, start, start + size
