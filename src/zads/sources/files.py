"""Packets in files: a directory, a tar archive (compressed or not), or one file.

Nothing of an archive is ever extracted to disk, and no file is read that is too large to be a packet. What may not be
read comes out as an item with a reason, in its place, so that one bad file harms no other.
"""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from zads.errors import ZadsError
from zads.packet import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

TAR = ".tar"
COMPRESSED = (".tar.gz", ".tgz")
HEAD_BYTES = 1_000_000  # of a file that is too large, so much is kept as evidence


class Item(NamedTuple):
    """One file: its name within the source (with /), its bytes, its size, and why it is refused ("" when it is not).

    The bytes of a refused item are what could be had of it, at most HEAD_BYTES.
    """

    name: str
    data: bytes
    size: int
    refused: str = ""


class SourceError(ZadsError):
    """A source cannot be read at all."""


def read(path: Path) -> Iterator[Item]:
    """Every file of `path`: by name, except in a compressed archive, which is read once, in its own order.

    Two readings of the same source give the same items in the same order. Raises SourceError if the source as a whole
    cannot be read, always before the first item.
    """
    try:
        kind = path.lstat().st_mode
    except OSError as error:
        raise SourceError(f"cannot read {path.name}: {error.strerror}") from error
    if stat.S_ISDIR(kind):
        return _directory(path)
    if not stat.S_ISREG(kind):
        raise SourceError(f"{path.name} is neither a directory nor a file", hint="links and devices are not followed")
    if path.name.endswith((TAR, *COMPRESSED)):
        return _archive(path)
    return iter([_file(path, path.name)])


def packets(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of `path`, for those who want all of it or nothing.

    Raises SourceError at the first file that is refused.
    """
    for item in read(path):
        if item.refused:
            raise SourceError(f"{path.name}/{item.name}: {item.refused}")
        yield item.name, item.data


def exposure_name(path: Path) -> str:
    """The name of a source without its suffix: ``58451.21875.tar`` and ``58451.21875/`` are one exposure."""
    for suffix in (*COMPRESSED, TAR):
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.name


def _directory(path: Path) -> Iterator[Item]:
    """The files below `path`, by name; the listing is made here and now, so that its failure comes first."""
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


def _limited(name: str, stream: IO[bytes], size: int) -> Item:
    if size > MAX_BYTES:
        return Item(name, stream.read(HEAD_BYTES), size, f"{size} bytes: a packet has at most {MAX_BYTES}")
    # One byte more shows a file that has grown; room for the largest packet would be fetched from the system each time.
    data = stream.read(size + 1)
    if len(data) != size:
        return Item(name, data[:HEAD_BYTES], len(data), f"changed while it was read: {size} bytes, then {len(data)}")
    return Item(name, data, size)


def _archive(path: Path) -> Iterator[Item]:
    compressed = path.name.endswith(COMPRESSED)
    try:
        # "r|gz" reads forward only, in constant memory: seeking to and fro in a compressed file would be quadratic.
        archive = tarfile.open(path, "r|gz" if compressed else "r:")  # noqa: SIM115 closed by the generators
    except (OSError, EOFError, tarfile.TarError) as error:
        raise SourceError(f"{path.name} is not a readable archive: {error}") from error
    return _in_passing(archive) if compressed else _by_name(archive)


def _by_name(archive: tarfile.TarFile) -> Iterator[Item]:
    with archive:
        members: list[tuple[PurePosixPath, tarfile.TarInfo]] = []
        broken = ""
        try:
            while (member := archive.next()) is not None:
                members.append((PurePosixPath(member.name), member))
        except (OSError, tarfile.TarError) as error:
            broken = str(error)
        for name, member in sorted(members, key=lambda pair: str(pair[0])):
            if not member.isdir():
                yield _member(archive, member, name)
        if broken:
            yield _break([member for _, member in members], broken)


def _in_passing(archive: tarfile.TarFile) -> Iterator[Item]:
    last: list[tarfile.TarInfo] = []
    with archive:
        try:
            while (member := archive.next()) is not None:
                last = [member]
                # Without this the archive remembers every member that it has passed.
                archive.members.clear()  # type: ignore[attr-defined]
                if not member.isdir():
                    yield _member(archive, member, PurePosixPath(member.name))
        except (OSError, EOFError, tarfile.TarError) as error:
            yield _break(last, str(error))


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, name: PurePosixPath) -> Item:
    if name.is_absolute() or ".." in name.parts:
        return Item(member.name, b"", member.size, "a path that leads out of the archive")
    if not member.isreg():
        return Item(member.name, b"", 0, "a link or a device; only regular files are read")
    try:
        # A regular member always has a stream.
        return _limited(str(name), cast("IO[bytes]", archive.extractfile(member)), member.size)
    except (OSError, EOFError, tarfile.TarError) as error:
        return Item(str(name), b"", member.size, f"the archive breaks off here: {error}")


def _break(members: list[tarfile.TarInfo], why: str) -> Item:
    after = f" after {members[-1].name}" if members else ""
    return Item("(end of archive)", b"", 0, f"the archive breaks off{after}: {why}")
