"""Compressed data, unpacked as a stream in constant memory, with every check of the compression's format.

The data are one or more members (gzip), streams (bzip2, xz) or frames (zstd), one after the other. They are whole only
if the last of them has ended, all checksums and lengths are right, and nothing follows. Zeros may follow gzip data, and
zeros in multiples of four xz data, since tapes and blocks are padded; `gzip -t` and `xz -t` accept the same.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import IO, TYPE_CHECKING, Any, Protocol

import zstandard

from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES = 65_536  # packed, at a time
#: A zstd decoder returns everything that its input holds, at worst 128 KiB for four bytes. So it gets little at a time.
ZSTD_READ_BYTES = 512
UNPACK_BYTES = 1_048_576  # at a time, at most
#: No packets shrink to less than a fifth. Data that unpack to far more than that, and to more than this, are an attack.
BOMB_BYTES, BOMB_RATIO = 2 << 30, 200
WINDOW_BYTES = 1 << 27  # of memory for a decoder: `zstd --long=27` needs all of it, `xz -9` half

GZIP, BZIP2, XZ, ZSTD = "gzip", "bzip2", "xz", "zstd"
_MAGIC = {b"\x1f\x8b": GZIP, b"BZh": BZIP2, b"\xfd7zXZ\x00": XZ, b"\x28\xb5\x2f\xfd": ZSTD}
_ZSTD_SKIPPABLE = tuple(bytes([number, 0x2A, 0x4D, 0x18]) for number in range(0x50, 0x60))
#: Formats that we do not unpack, in the words of the message that says so.
_STRANGE = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "an empty zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a rar archive",
    b"LZIP": "compressed with lzip",
    b"\x04\x22\x4d\x18": "compressed with lz4",
    b"\x1f\x9d": "compressed with compress (.Z)",
    b"\x5d\x00\x00": "compressed with lzma",
    b"SIMPLE  =": "a FITS file",
    b"Obj\x01": "one Avro file",
}
HEAD_BYTES = 16  # enough to recognise what a file is


class DamagedError(ZadsError):
    """Data that are cut, altered or followed by something else."""


class Source(Protocol):
    """Bytes in their order; `read` returns fewer than asked for only at the end."""

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes."""


def kind_of(head: bytes) -> str | None:
    """The compression of a file that begins with these bytes: GZIP, BZIP2, XZ or ZSTD; None for anything else."""
    if head.startswith(_ZSTD_SKIPPABLE):
        return ZSTD
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def describe(head: bytes) -> str:
    """What kind of file begins with these bytes, in words for a message; "" if that is unknown."""
    if kind := kind_of(head):
        return f"compressed with {kind}"
    return next((what for magic, what in _STRANGE.items() if head.startswith(magic)), "")


def unpack(data: bytes, limit: int) -> bytes:
    """Unpack data. Raises DamagedError if they are not whole, or hold more than `limit` bytes."""
    kind = kind_of(data[:HEAD_BYTES])
    if kind is None:
        raise DamagedError("it is not compressed, though its name says so")
    stream = UnpackedStream(io.BytesIO(data), kind)
    found = stream.read(limit + 1)
    if len(found) > limit:
        raise DamagedError(f"it unpacks to more than {limit} bytes")
    return found


class UnpackedStream:
    """A compressed file, unpacked from its present position. Reading to the end makes every check of the format."""

    def __init__(self, packed: IO[bytes], kind: str) -> None:
        self.kind = kind
        self._packed = packed
        self._left = b""  # packed, and not yet given to a decoder
        self._ready = bytearray()
        self._position = 0  # in what is ready
        self._decoder: Any = _DECODERS[kind]()
        self._size = ZSTD_READ_BYTES if kind == ZSTD else READ_BYTES
        self._ended = False
        self._taken = self._given = 0  # bytes, packed and unpacked

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes, fewer only at the end. Raises DamagedError; OSError if the file cannot be read."""
        while len(self._ready) - self._position < size and not self._ended:
            if self._position:
                del self._ready[: self._position]
                self._position = 0
            self._ready += self._more()
        found = bytes(memoryview(self._ready)[self._position : self._position + size])
        self._position += len(found)
        return found

    def _more(self) -> bytes:
        """The decoder's next output. At the end of a member it is b"", and the next member gets a new decoder."""
        given = b""
        if getattr(self._decoder, "needs_input", True):
            given, self._left = self._left or self._packed.read(self._size), b""
            self._taken += len(given)
            if not given:
                raise DamagedError(f"the {self.kind} data end too early")
        try:
            if self.kind == ZSTD:
                found: bytes = self._decoder.decompress(given)
            else:
                found = self._decoder.decompress(given, UNPACK_BYTES)
        except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
            raise DamagedError(f"the {self.kind} data are damaged: {_reason(error)}") from None
        self._given += len(found)
        if self._given > BOMB_BYTES + BOMB_RATIO * self._taken:
            raise DamagedError(f"{self._taken} bytes of {self.kind} data unpack to {self._given} and more")
        if self._decoder.eof:
            self._left = self._decoder.unused_data
            self._next_member()
        elif self.kind == GZIP:
            self._left = self._decoder.unconsumed_tail
        return found

    def _next_member(self) -> None:
        """After the end of a member: begin the next one, or end."""
        zeros = self._pass_zeros() if self.kind in (GZIP, XZ) else 0
        while len(self._left) < HEAD_BYTES and (more := self._packed.read(HEAD_BYTES - len(self._left))):
            self._left += more
        if self.kind == XZ and zeros % 4:
            raise DamagedError(f"{zeros} zeros follow the xz data: such padding comes in fours")
        if not self._left:
            self._ended = True
        elif kind_of(self._left) != self.kind or (self.kind == GZIP and zeros):
            raise DamagedError(f"the {self.kind} data have ended, and something else follows")
        else:
            self._decoder = _DECODERS[self.kind]()

    def _pass_zeros(self) -> int:
        """Pass over zeros. Returns how many there were."""
        zeros = 0
        while self._left or (more := self._packed.read(self._size)):
            self._left = self._left or more
            stripped = self._left.lstrip(b"\0")
            zeros += len(self._left) - len(stripped)
            self._left = stripped
            if stripped:
                break
        return zeros


def _reason(error: Exception) -> str:
    text = str(error)
    # For a wrong checksum or length zlib says "incorrect data check" or "incorrect length check".
    return text.replace("Error -3 while decompressing data: ", "") or type(error).__name__


def _zstd() -> Any:
    return zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).decompressobj()


_DECODERS: dict[str, Callable[[], Any]] = {
    GZIP: lambda: zlib.decompressobj(wbits=31),  # a gzip member: header, checksum and length are checked
    BZIP2: bz2.BZ2Decompressor,
    XZ: lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=WINDOW_BYTES),
    ZSTD: _zstd,
}
