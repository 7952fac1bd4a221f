"""Tar archives, read strictly and only forward: ustar, GNU's and POSIX's (pax) long names, sizes above 8 GB.

Python's `tarfile` treats the first header that it does not understand as the end. Here an archive is whole only if
every header's checksum is right, sizes and padding fit, the end marker (two blocks of zeros) is present, and only zeros
follow it. Format: IEEE Std 1003.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from zads.sources.compression import DamagedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zads.sources.compression import Source

BLOCK = 512
NUL = b"\0" * BLOCK
SKIP_BYTES = 1 << 20  # read at a time and thrown away
#: Programs that write archives pad their last record with zeros, usually to 10,240 bytes; terabytes are a fault.
MOST_ZEROS = 64_000_000
#: The limit of an extended header: names have at most a few thousand bytes, and headers are held in memory.
MAX_EXTENDED = 1 << 20
MAX_UNPACKED = 1 << 30  # the largest file in a compressed archive, which must be unpacked even to be skipped
MAX_NAME = 4096  # Linux's limit for paths

_REGULAR, _DIRECTORY, _LINKS_AND_DEVICES = b"0\x007", b"5", b"12346"
_SPARSE, _PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"S", b"xX", b"g", b"L", b"K"
_PAX_LENGTH = re.compile(rb"([1-9][0-9]{0,6}) ")
_PAX_SPARSE = "GNU.sparse"
_OTHER = {b"D": "a directory's listing", b"M": "a part of a file in several volumes", b"V": "a volume's label"}


class Member(NamedTuple):
    """One file of an archive: its name as the archive spells it, where its data begin, their size, why it is refused.

    `offset` and `size` are in bytes of the unpacked archive. A refused member has its data, too.
    """

    name: str
    offset: int
    size: int
    refused: str = ""
    directory: bool = False


class Reader:
    """Members of an archive, one after the other; `read` returns data of the latest member.

    If the stream has a method `skip(size)`, unwanted data are skipped with it instead of read.
    """

    def __init__(self, stream: Source) -> None:
        self._stream = stream
        self._position = 0
        self._left = 0  # of the last member's data
        self._padding = 0
        self._globals: dict[str, bytes] = {}
        self.last = ""  # the last member's name

    def __iter__(self) -> Iterator[Member]:
        """Every member, then the end's checks. Raises DamagedError; OSError if the file cannot be read."""
        while (member := self._next()) is not None:
            self.last = member.name
            yield member
        self._finish()

    def read(self, size: int) -> bytes:
        """The latest member's next `size` bytes, fewer only at its end. Raises DamagedError if the archive ends."""
        wanted = min(size, self._left)
        found = self._read(wanted)
        self._left -= wanted
        return found

    # Headers

    def _next(self) -> Member | None:
        self._pass_member()
        local: dict[str, bytes] = {}
        long_name: bytes | None = None
        extended = False
        while True:
            header = self._block(extended)
            if header == NUL:
                if extended:
                    raise DamagedError("an extended header is followed by no file")
                return None
            fields = _Fields.of(header)
            if fields.kind in _PAX_GLOBAL + _PAX + _GNU_NAME + _GNU_LINK:
                data = self._extended(fields.size)
                if fields.kind in _PAX_GLOBAL:
                    self._globals |= _pax(data)
                elif fields.kind in _PAX:
                    local |= _pax(data)
                    extended = True
                else:
                    extended = True
                    if fields.kind == _GNU_NAME:
                        long_name = data.partition(b"\0")[0]
                continue
            return self._member(fields, header, self._globals | local, long_name)

    def _member(self, fields: _Fields, header: bytes, pax: dict[str, bytes], long_name: bytes | None) -> Member:
        name = pax.get("path") or long_name or fields.name
        size = fields.size
        if text := pax.get("size"):
            if not re.fullmatch(rb"[0-9]{1,19}", text):
                raise DamagedError(f"{_quoted(name)}: its size is {text[:40]!r}")
            size = int(text)
        if size > MAX_UNPACKED and not hasattr(self._stream, "skip"):
            raise DamagedError(f"{_quoted(name)} unpacks to {size} bytes; no exposure has such a file")
        kind, refused = fields.kind, ""
        directory = kind in _DIRECTORY or (kind == b"\0" and name.endswith(b"/"))
        if (directory or kind in _LINKS_AND_DEVICES) and size:
            # Some programs write that many bytes, others none: the next header could be at either place.
            raise DamagedError(f"{_quoted(name)} is no regular file and has a size of {size}")
        if kind in _LINKS_AND_DEVICES:
            refused = "a link or a device; only regular files are read"
        elif kind == _SPARSE or _PAX_SPARSE in pax:
            refused = "a sparse file; pack it without --sparse"
        elif kind in _OTHER:
            refused = f"{_OTHER[kind]}; only regular files are read"
        elif not directory and kind not in _REGULAR:
            refused = f"a member of the unknown type {kind!r}; only regular files are read"
        elif b"\0" in name:
            refused = "its name has a NUL"
        elif len(name) > MAX_NAME:
            refused, name = f"its name has {len(name)} bytes", name[:MAX_NAME]
        more = kind == _SPARSE and header[482]
        while more:  # the map of the file continues in further blocks
            more = self._block(True)[504]
        self._left, self._padding = size, -size % BLOCK
        return Member(name.decode("utf-8", "surrogateescape"), self._position, size, refused, directory)

    def _extended(self, size: int) -> bytes:
        if size > MAX_EXTENDED:
            raise DamagedError(f"an extended header of {size} bytes")
        data = self._read(size)
        self._zeros(-size % BLOCK)
        return data

    # Bytes

    def _block(self, extended: bool) -> bytes:
        block = self._stream.read(BLOCK)
        self._position += len(block)
        if not block and not extended:
            raise DamagedError("it has no end marker (two blocks of zeros)")
        if len(block) < BLOCK:
            raise DamagedError("it ends within a header")
        return block

    def _read(self, size: int) -> bytes:
        found = self._stream.read(size)
        self._position += len(found)
        if len(found) < size:
            raise DamagedError("it ends within a file")
        return found

    def _zeros(self, size: int) -> None:
        if self._read(size).strip(b"\0"):
            raise DamagedError("what fills a file's last block is not zeros")

    def _pass_member(self) -> None:
        skip = getattr(self._stream, "skip", None)
        if skip is not None and self._left:
            skip(self._left)
            self._position += self._left
            self._left = 0
        while self._left:
            self.read(SKIP_BYTES)
        if self._padding:
            self._zeros(self._padding)
            self._padding = 0

    def _finish(self) -> None:
        second = self._stream.read(BLOCK)
        if len(second) < BLOCK:
            raise DamagedError("half of its end marker (two blocks of zeros) is missing")
        if second != NUL:
            raise DamagedError("a lone block of zeros")
        zeros = 0
        while rest := self._stream.read(SKIP_BYTES):
            if rest.strip(b"\0"):
                raise DamagedError("something follows its end marker; another archive is to be delivered on its own")
            zeros += len(rest)
            if zeros > MOST_ZEROS:
                raise DamagedError(f"more than {MOST_ZEROS} zeros follow its end marker")


def check_header(header: bytes) -> None:
    """Check that a block is a header, or the zeros of an empty archive. Raises DamagedError."""
    if header != NUL:
        _Fields.of(header)


@dataclass(frozen=True)
class _Fields:
    """What one header says."""

    name: bytes
    size: int
    kind: bytes

    @classmethod
    def of(cls, header: bytes) -> _Fields:
        """Read the fields of a header. Raises DamagedError if its checksum or size is wrong."""
        said = _number(header[148:156])
        counted = sum(header) - sum(header[148:156]) + 8 * ord(" ")
        # Some old programs summed signed bytes.
        if said != counted and said != counted - 256 * sum(byte > 127 for byte in header[:148] + header[156:]):
            raise DamagedError("a header's checksum is wrong")
        size = _number(header[124:136])
        if size is None or size < 0:
            raise DamagedError("a header's size is no number")
        name = header[:100].partition(b"\0")[0]
        prefix = header[345:500].partition(b"\0")[0]
        if prefix and header[257:263] == b"ustar\0":
            name = prefix + b"/" + name
        return cls(name, size, header[156:157])


def _number(field: bytes) -> int | None:
    """An octal number in ASCII, or GNU's: big-endian after a first byte of 0x80, negative after 0xff."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field, "big", signed=True) if field[0] == 0xFF else int.from_bytes(field[1:], "big")
    text = field.partition(b"\0")[0].strip(b" ")
    if not text:
        return 0
    return int(text, 8) if re.fullmatch(rb"[0-7]+", text) else None


def _pax(data: bytes) -> dict[str, bytes]:
    """The records of a pax header, "LENGTH KEY=VALUE\\n" each; the length is that of the whole record."""
    found: dict[str, bytes] = {}
    position = 0
    while position < len(data):
        match = _PAX_LENGTH.match(data, position)
        end = position + int(match[1]) if match else 0
        record = data[match.end() : end - 1] if match else b""
        key, equals, value = record.partition(b"=")
        if not match or end > len(data) or data[end - 1 : end] != b"\n" or not key or not equals:
            raise DamagedError("an extended header cannot be understood")
        # Only what is needed is kept: the headers of an archive may hold any number of keys.
        if key in (b"path", b"size"):
            found[key.decode()] = value
        elif key.startswith(b"GNU.sparse."):
            found[_PAX_SPARSE] = b""
        position = end
    return found


def _quoted(name: bytes) -> str:
    return ascii(name[:200].decode("utf-8", "backslashreplace"))
