"""Packets in files: a directory, a tar archive (compressed or not), or one file.

Archives are never extracted to disk, and a file that is too large for a packet is not read. A file that must not be
read becomes an item with a reason, in its place in the order, so that one bad file does not affect the others.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, NamedTuple

from zads.avro.container import MAGIC
from zads.errors import ZadsError
from zads.packet import MAX_BYTES
from zads.sources import compression, tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Suffixes of archives, in upper or lower case, and how each is compressed (None: not at all).
ARCHIVES = {
    ".tar": None,
    ".tar.gz": compression.GZIP, ".tgz": compression.GZIP,
    ".tar.bz2": compression.BZIP2, ".tbz2": compression.BZIP2, ".tbz": compression.BZIP2,
    ".tar.xz": compression.XZ, ".txz": compression.XZ,
    ".tar.zst": compression.ZSTD, ".tzst": compression.ZSTD,
}  # fmt: skip
#: A single packet may be compressed, too.
PACKED = (".avro.gz", ".avro.bz2", ".avro.xz", ".avro.zst")
ARCHIVES_HINT = "an archive's name ends in .tar, .tar.gz, .tar.bz2, .tar.xz or .tar.zst"
HEAD_BYTES = 1_000_000  # bytes of a too large file that are kept as evidence
#: Files that macOS, old tars and Windows leave behind.
_LEFTOVER = re.compile(
    r"(.*/)?(\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini)|(.*/)?(__MACOSX|PaxHeaders(\.[0-9]+)?)/.*", re.S
)


class Item(NamedTuple):
    """One file: its name within the source (with /), its bytes, its size, and why it is refused ("" if it is not).

    A refused item has the bytes that could be read, at most HEAD_BYTES. `passed` says why a file is neither read nor
    refused: for instance, macOS left it in an archive.
    """

    name: str
    data: bytes
    size: int
    refused: str = ""
    passed: str = ""


class SourceError(ZadsError):
    """A source cannot be read at all."""


class NoArchiveError(SourceError):
    """A file's first bytes contradict its name. Appending to the file cannot change that."""


def read(path: Path) -> Iterator[Item]:
    """Every file of `path`: by name, except in a compressed archive, which is read once, in its own order.

    Two readings of the same source give the same items in the same order. If an archive is damaged, its last item says
    so; `check` finds that beforehand. Raises SourceError if the source as a whole cannot be read, always before the
    first item.
    """
    try:
        kind = path.lstat().st_mode
    except OSError as error:
        raise SourceError(f"cannot read {path.name}: {error.strerror}") from error
    if stat.S_ISDIR(kind):
        return _directory(path)
    if not stat.S_ISREG(kind):
        raise SourceError(f"{path.name} is neither a directory nor a file", hint="links and devices are not followed")
    if archive_suffix(path.name):
        return _Archive(path).items()
    return iter([_file(path, path.name)])


def check(path: Path, beat: Callable[[], None] = lambda: None) -> None:
    """Read an archive to its end to check that it is whole; does nothing for any other source.

    `beat` is called from time to time. Raises SourceError if the archive is damaged or not whole yet.
    """
    if archive_suffix(path.name) and path.is_file() and not path.is_symlink():
        _Archive(path).check(beat)


def packets(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of all packets of `path`, without leftovers of macOS and the like.

    Raises SourceError at the first file that is refused.
    """
    for item in read(path):
        if item.refused:
            raise SourceError(f"{path.name}/{item.name}: {item.refused}")
        if not item.passed:
            yield item.name, item.data


def archive_suffix(name: str) -> str:
    """The archive suffix of a file's name, spelt as it is there; "" if it has none."""
    known = next((suffix for suffix in sorted(ARCHIVES, key=len, reverse=True) if name.lower().endswith(suffix)), "")
    return name[len(name) - len(known) :]


def exposure_name(path: Path) -> str:
    """The name of a source without its suffix: ``58451.21875.tar`` and ``58451.21875/`` are one exposure."""
    return path.name.removesuffix(archive_suffix(path.name)) or path.name


def is_leftover(name: str) -> bool:
    """Whether a file has the name of one that macOS, Windows and old tars leave behind."""
    return _LEFTOVER.fullmatch(name) is not None


def _directory(path: Path) -> Iterator[Item]:
    """The files below `path`, by name. They are listed before this returns, so that a failure precedes every item."""
    names: list[str] = []
    pending = [""]
    while pending:
        below = pending.pop()
        try:
            with os.scandir(path / below) as entries:
                for entry in entries:
                    name = f"{below}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{name}/")
                    else:
                        names.append(name)
        except OSError as error:
            where = f"{path.name}/{below}".rstrip("/")
            raise SourceError(
                f"cannot read the directory {where}: {error.strerror}",
                hint="give its files to the producer's user (chmod -R a+rX)",
            ) from error
    return (_file(path / name, name) for name in sorted(names))


def _file(path: Path, name: str) -> Item:
    """One regular file; a link, a device or a pipe is not opened (a pipe would block)."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            return Item(name, b"", 0, "a symbolic link; only regular files are read")
        return Item(name, b"", 0, f"cannot be read: {error.strerror}")
    with os.fdopen(handle, "rb") as stream:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            return Item(name, b"", 0, "not a regular file")
        try:
            return _limited(name, stream, facts.st_size)
        except OSError as error:
            return Item(name, b"", facts.st_size, f"cannot be read: {error.strerror}")


def _limited(name: str, stream: compression.Source, size: int) -> Item:
    if size > MAX_BYTES:
        head = stream.read(HEAD_BYTES)
        return _judged(Item(name, head, size, f"{size} bytes: a packet has at most {MAX_BYTES}"))
    # One byte more shows that a file has grown. A buffer for the largest packet would cost an allocation each time.
    data = stream.read(size + 1)
    if len(data) != size:
        return Item(name, data[:HEAD_BYTES], len(data), f"changed while it was read: {size} bytes, then {len(data)}")
    return _judged(Item(name, data, size))


def _judged(item: Item) -> Item:
    """The item: unpacked if it is a compressed packet, passed over if it is a leftover, refused if it is no packet."""
    if item.data.startswith(MAGIC):
        return item
    if is_leftover(item.name):
        return item._replace(data=item.data[:HEAD_BYTES], refused="", passed="a leftover of macOS, Windows or tar")
    if item.refused:
        return item
    if item.name.lower().endswith(PACKED):
        try:
            return item._replace(data=compression.unpack(item.data, MAX_BYTES))
        except compression.DamagedError as error:
            return item._replace(data=item.data[:HEAD_BYTES], refused=error.message)
    if what := compression.describe(item.data[: compression.HEAD_BYTES]):
        return item._replace(refused=f"it is {what}; a packet is as it is, or its name ends in {', '.join(PACKED)}")
    if item.data[257:262] == b"ustar":
        return item._replace(refused="it is a tar archive; an archive is an exposure of its own")
    return item


class _Archive:
    """A tar archive, compressed or not. Raises SourceError if the file is something else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            self._file = os.fdopen(handle, "rb")
            head = self._file.read(tar.BLOCK)
            self._file.seek(0)
        except OSError as error:
            raise SourceError(f"{path.name} is not a readable archive: {error.strerror}") from error
        self._kind = ARCHIVES[archive_suffix(path.name).lower()]
        if why := self._unlike(head):
            self._file.close()
            kind = NoArchiveError if head else SourceError
            raise kind(f"{path.name} is not a readable archive: {why}", hint=ARCHIVES_HINT)

    def _unlike(self, head: bytes) -> str:
        """Why a file with this head is not what its name says; "" if it may be."""
        found = compression.kind_of(head[: compression.HEAD_BYTES])
        if not head:
            return "empty file"
        if self._kind is None and found is None:
            what = compression.describe(head[: compression.HEAD_BYTES])
            return f"it is {what}" if what else _first_header(head)
        if found == self._kind:
            return ""
        if found is not None:
            return f"it is compressed with {found}, and its name does not say so"
        if head[257:262] == b"ustar":
            return f"it is a tar that is not compressed with {self._kind}, though its name says so"
        return f"it is {compression.describe(head[: compression.HEAD_BYTES]) or f'not compressed with {self._kind}'}"

    def _reader(self) -> tar.Reader:
        if self._kind is None:
            return tar.Reader(_Seekable(self._file))
        return tar.Reader(compression.UnpackedStream(self._file, self._kind))

    def check(self, beat: Callable[[], None]) -> None:
        """Check that the archive is whole. Raises SourceError."""
        reader = self._reader()
        with self._file:
            try:
                for number, _ in enumerate(reader):
                    if number % 100 == 0:
                        beat()
            except (OSError, compression.DamagedError) as error:
                what = f": {_broken(reader, error)}" if reader.last else f" is not a readable archive: {error}"
                raise SourceError(f"{self._path.name}{what}") from error

    def items(self) -> Iterator[Item]:
        """Every file. Raises SourceError if there is not even a first one."""
        reader = self._reader()
        members = iter(reader)
        try:
            first = next(members, None)
        except (OSError, compression.DamagedError) as error:
            self._file.close()
            raise SourceError(f"{self._path.name} is not a readable archive: {error}") from error
        if first is None:
            self._file.close()
            return iter(())
        if self._kind is None:
            return self._by_name(reader, first, members)
        return self._in_passing(reader, first, members)

    def _by_name(self, reader: tar.Reader, first: tar.Member, members: Iterator[tar.Member]) -> Iterator[Item]:
        with self._file:
            found, broken = [first], ""
            try:
                found += members
            except (OSError, compression.DamagedError) as error:
                broken = _broken(reader, error)
            for member in sorted(found, key=lambda one: str(PurePosixPath(one.name))):
                self._file.seek(member.offset)
                if (item := _member(member, _Span(self._file, member.size))) is not None:
                    yield item
            if broken:
                yield Item(_END, b"", 0, broken)

    def _in_passing(self, reader: tar.Reader, first: tar.Member, members: Iterator[tar.Member]) -> Iterator[Item]:
        with self._file:
            member: tar.Member | None = first
            try:
                while member is not None:
                    if (item := _member(member, reader)) is not None:
                        yield item
                    member = next(members, None)
            except (OSError, compression.DamagedError) as error:
                yield Item(_END, b"", 0, _broken(reader, error))


_END = "(end of archive)"


class _Seekable:
    """The file of an uncompressed tar; data that are not wanted are skipped without reading them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def read(self, size: int, /) -> bytes:
        return self._file.read(size)

    def skip(self, size: int) -> None:
        """Pass over `size` bytes. Raises DamagedError if there are fewer."""
        if self._file.tell() + size > self._size:
            raise compression.DamagedError("it ends within a file")
        self._file.seek(size, os.SEEK_CUR)


def _first_header(head: bytes) -> str:
    """Why a tar cannot begin with these bytes; "" if it can. No program writes less than a header at a time."""
    if len(head) < tar.BLOCK:
        return "it ends within a header"
    try:
        tar.check_header(head)
    except compression.DamagedError as error:
        return str(error)
    return ""


def _member(member: tar.Member, data: compression.Source) -> Item | None:
    """The item of an archive's member; None for a directory."""
    name = PurePosixPath(member.name)
    if member.directory:
        return None
    if member.refused:
        return Item(member.name, b"", member.size, member.refused)
    if name.is_absolute() or ".." in name.parts:
        return Item(member.name, b"", member.size, "a path that leads out of the archive")
    return _limited(str(name), data, member.size)


class _Span:
    """The next bytes of a file, from its present position."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int, /) -> bytes:
        found = self._file.read(min(size, self._left))
        self._left -= len(found)
        return found


def _broken(reader: tar.Reader, error: Exception) -> str:
    return f"the archive breaks off after {reader.last}: {error}"
