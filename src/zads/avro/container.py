"""An Avro object container file of one record: its header's entries, and the block that the record is in.

Source: Avro specification 1.11, "Object Container Files". Every function raises MismatchError.
"""

from __future__ import annotations

import zlib

from zads.avro.errors import MismatchError
from zads.avro.numbers import read_block, read_long
from zads.inflate import inflate

MAGIC = b"Obj\x01"
SYNC_BYTES = 16


def read_header(data: bytes) -> tuple[dict[str, bytes], int]:
    """The entries of a header, by their names, and where its sync marker starts; `data` start with MAGIC."""
    entries: dict[str, bytes] = {}
    position, end = len(MAGIC), len(data)
    while True:
        count, position, _ = read_block(data, position, end, "header")
        if not count:
            return entries, position
        if count > end - position:
            raise MismatchError("header", f"it claims {count} entries")
        for _ in range(count):
            name, position = _sized(data, position, end)
            value, position = _sized(data, position, end)
            try:
                value.decode()  # Avro lets it be anything; fastavro, hence most clients, fails when it is not text
                key = name.decode()
            except UnicodeDecodeError:
                raise MismatchError("header", "an entry is not UTF-8") from None
            if key in entries:  # readers differ in which of the two they use
                raise MismatchError("header", f"it has the entry {key!r} twice")
            entries[key] = value


def _sized(data: bytes, start: int, end: int) -> tuple[bytes, int]:
    size, first = read_long(data, start, end, "header")
    if size < 0 or first + size > end:
        raise MismatchError("header", "the data end within it")
    return data[first : first + size], first + size


def read_record(data: bytes, position: int, *, packed: bool, limit: int) -> tuple[bytes, int, int]:
    """The bytes that hold the one record (`data`, unless that is `packed`), and where the record starts and ends there.

    The sync marker starts at `position`; nothing may follow the block. At most `limit` bytes are unpacked.
    """
    sync = data[position : position + SYNC_BYTES]
    if len(sync) < SYNC_BYTES:
        raise MismatchError("header", "the data end within its header")
    count, position = read_long(data, position + SYNC_BYTES, len(data), "block")
    if count != 1:
        raise MismatchError("block", f"it holds {count} records, not one")
    size, start = read_long(data, position, len(data), "block")
    stop = start + size
    if size < 0 or stop + SYNC_BYTES > len(data):
        raise MismatchError("block", f"it is cut off: its block claims {size} bytes, {len(data) - start} are left")
    if data[stop : stop + SYNC_BYTES] != sync:
        raise MismatchError("block", "the marker after its record is not the one in its header")
    if stop + SYNC_BYTES != len(data):
        raise MismatchError("block", _following(data, stop + SYNC_BYTES, sync))
    if not packed:
        return data, start, stop
    plain = _unpack(data[start:stop], limit)
    return plain, 0, len(plain)


def _unpack(block: bytes, limit: int) -> bytes:
    try:
        plain, rest = inflate(block, -zlib.MAX_WBITS, limit)
    except ValueError as error:
        raise MismatchError("block", f"its record cannot be unpacked: {error}") from None
    # fastavro leaves three of the four bytes of zlib's checksum behind what it compresses.
    if rest and rest != zlib.adler32(plain).to_bytes(4, "big")[:3]:
        raise MismatchError("block", f"{len(rest)} bytes follow its compressed record")
    return plain


def _following(data: bytes, end: int, sync: bytes) -> str:
    """The error for bytes that follow a packet's end."""
    if data.startswith(MAGIC, end):
        return f"{len(data) - end} bytes follow its end, where another packet begins: one packet is one file"
    try:
        count, first = read_long(data, end, len(data), "block")
        size, first = read_long(data, first, len(data), "block")
        if count > 0 and size >= 0 and data[first + size : first + size + SYNC_BYTES] == sync:
            return f"it has more than one block, the second of {count} records: a packet is one record in one block"
    except MismatchError:
        pass
    return f"{len(data) - end} bytes follow its end"
