"""Decompression of data that may be hostile: a few bytes must not become gigabytes."""

from __future__ import annotations

import zlib


def inflate(packed: bytes, wbits: int, limit: int) -> tuple[bytes, bytes]:
    """The decompressed data, and the bytes that follow them; `wbits` is the format, as in `zlib.decompressobj`.

    Raises ValueError for data that are broken, or have more than `limit` bytes when they are unpacked.
    """
    unpacker = zlib.decompressobj(wbits)
    try:
        plain = unpacker.decompress(packed, limit + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(plain) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    if not unpacker.eof:
        raise ValueError("the compressed data are cut off")
    return plain, unpacker.unused_data
