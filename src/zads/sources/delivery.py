"""One delivery of an exposure: what is in the spool now, and whether it is complete.

A pipeline that can rename drops an exposure whole. Others (rsync, scp, NFS) use a marker: they write the exposure NAME
as .NAME, then put a file NAME.ready beside it, empty or with the exposure's checksums in the format of `sha256sum`.
An exposure that is copied straight into its place is watched: it is unfinished as long as it changes.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zads.errors import ZadsError
from zads.sources import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READY = ".ready"
#: An unreadable file is refused only when it has not changed for this long: until then somebody may be writing it.
QUIET_SECONDS = 5.0
MAX_MARKER_BYTES = 64_000_000  # the checksums of half a million files
_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *](.+)")


class UnfinishedError(ZadsError):
    """An exposure is not complete yet: it stays where it is, and is looked at again."""


@dataclass(frozen=True)
class Exposure:
    """One exposure in the spool; `name` is without the archive's suffix. `marker` is its NAME.ready, if it has one."""

    name: str
    path: Path
    marker: Path | None = None

    def items(self) -> Iterator[files.Item]:
        """Its files. Raises files.SourceError if it cannot be read at all."""
        return files.read(self.path)

    @property
    def state(self) -> str:
        """Changes whenever the exposure is dropped again or its permissions change; "gone" if it is not there."""
        try:
            facts = self.path.lstat()
        except OSError:
            return "gone"
        return f"{facts.st_ino}-{facts.st_ctime_ns}"


def listing(path: Path) -> str:
    """A digest (hex) of each file's name, size, time of change and inode. A rename of the exposure keeps it."""
    found: list[tuple[bytes, int, int, int]] = []
    pending = [b""]
    root = os.fsencode(path)
    try:
        top = os.lstat(root)
    except OSError:
        return "gone"
    if not stat.S_ISDIR(top.st_mode):
        found.append((b"", top.st_size, top.st_mtime_ns, top.st_ino))
        pending.clear()
    while pending:
        below = pending.pop()
        try:
            with os.scandir(os.path.join(root, below) if below else root) as entries:  # noqa: PTH118 bytes
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(below + entry.name + b"/")
                    else:
                        facts = entry.stat(follow_symlinks=False)
                        found.append((below + entry.name, facts.st_size, facts.st_mtime_ns, facts.st_ino))
        except OSError as error:
            # A directory that cannot be listed is refused when it is read. If it vanished, the digest changes.
            found.append((below, error.errno or 0, 0, 0))
    digest = hashlib.sha256()
    for name, *facts_of in sorted(found):
        digest.update(b"%d:%s%r" % (len(name), name, facts_of))
    return digest.hexdigest()


class Delivery:
    """An exposure as it is when this object is made. `beat` is called from time to time while its files are read."""

    def __init__(self, exposure: Exposure, beat: Callable[[], None] = lambda: None) -> None:
        self.exposure = exposure
        self.listing = listing(exposure.path)
        self._beat = beat

    def check(self) -> None:
        """Check that the exposure is complete.

        Raises UnfinishedError if it is not complete yet; files.SourceError if it is an archive that is not whole.
        """
        if self.exposure.marker is not None:
            _compare(self.exposure, self.exposure.marker, self._beat)
        try:
            files.check(self.exposure.path, self._beat)
        except files.NoArchiveError:
            raise
        except files.SourceError as error:
            if young(self.exposure.path) or self.changed():
                raise UnfinishedError(f"{error.message}; it may still be written") from error
            raise

    def changed(self) -> bool:
        """Whether the exposure has been replaced or changed."""
        return listing(self.exposure.path) != self.listing

    def unfinished(self, item: files.Item) -> bool:
        """Whether a file that cannot be accepted in its present state may still be written."""
        path = self.exposure.path
        if path.is_dir() and not path.is_symlink():
            path = path / item.name
        elif files.archive_suffix(path.name):
            return False  # it is whole
        return young(path) or not os.path.lexists(path)


def young(path: Path) -> bool:
    """Whether a file was written in the last QUIET_SECONDS."""
    try:
        return abs(time.time() - path.lstat().st_mtime) < QUIET_SECONDS
    except (OSError, ValueError):
        return False


def _compare(exposure: Exposure, marker: Path, beat: Callable[[], None]) -> None:
    """Check that an exposure has exactly the files that its marker lists, if any. Raises UnfinishedError."""
    wanted = _checksums(exposure, marker)
    if not wanted:
        return
    path = exposure.path
    if path.is_dir() and not path.is_symlink():
        found = {str(one.relative_to(path)): one for one in sorted(path.rglob("*")) if not one.is_dir()}
    else:
        found = {path.name: path}
    found = {name: one for name, one in found.items() if not files.is_leftover(name) or name in wanted}
    for what, names in (
        ("is not there yet", wanted.keys() - found.keys()),
        ("is not listed", found.keys() - wanted.keys()),
    ):
        if names:
            raise UnfinishedError(f"{marker.name} lists {len(wanted)} files: {min(names)!a} {what} ({len(names)} such)")
    for name, one in found.items():
        digest = hashlib.sha256()
        if one.is_symlink() or not one.is_file():
            raise UnfinishedError(f"{name!a} is not a regular file")
        try:
            with one.open("rb") as stream:
                while part := stream.read(1 << 20):
                    digest.update(part)
                    beat()
        except OSError as error:
            raise UnfinishedError(f"{name!a} cannot be read: {error.strerror}") from error
        if digest.hexdigest() != wanted[name]:
            raise UnfinishedError(f"{name!a} is not (yet) what {marker.name} lists: its SHA-256 differs")


def _checksums(exposure: Exposure, marker: Path) -> dict[str, str]:
    """File name -> SHA-256 (hex), as `sha256sum` writes it when run in the exposure or beside it."""
    try:
        with marker.open("rb") as stream:
            text = stream.read(MAX_MARKER_BYTES + 1)
    except OSError as error:
        raise UnfinishedError(f"{marker.name} cannot be read: {error.strerror}") from error
    if len(text) > MAX_MARKER_BYTES:
        raise UnfinishedError(f"{marker.name} is larger than {MAX_MARKER_BYTES} bytes")
    wanted = {}
    for number, line in enumerate(text.decode("utf-8", "surrogateescape").split("\n"), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.removesuffix("\r"))
        if match is None:
            raise UnfinishedError(f"{marker.name}, line {number} is not a line of sha256sum: DIGEST  NAME")
        name = match[3]
        if match[1]:  # so it is written when a name has a backslash or a new line
            name = re.sub(r"\\([\\nr])", lambda it: {"n": "\n", "r": "\r"}.get(it[1], "\\"), name)
        name = name.removeprefix("./")
        own = exposure.path.name
        for above in (f"{own}/", f".{own}/"):
            name = name.removeprefix(above)
        wanted[own if name == f".{own}" else name] = match[2].lower()
    return wanted
