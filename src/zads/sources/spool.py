"""The spool: where the telescope's pipeline drops exposures and the producer leaves its receipts.

incoming/NAME or NAME.tar   one exposure, dropped by renaming it into place (the pipeline writes elsewhere, or under
                            a name that begins with a dot, on the same file system)
incoming/NAME.ready         written by a pipeline that cannot rename: .NAME is complete, and the producer renames it
done/NAME, done/NAME.json   what has been published, and its receipt
done/NAME.json.sidecar      a file that the pipeline wrote beside an exposure
refused/NAME/FILE           copies of refused files; refused/NAME.json when the exposure as a whole was refused

Only what was read is moved away: an exposure is first moved aside (.moving), looked at once more, and goes back if it
has changed. Names may have up to 255 bytes of any kind. A name that gets a suffix is shortened first.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import structlog

from zads import wholefile
from zads.errors import ZadsError
from zads.sources import files
from zads.sources.delivery import READY, Exposure, UnfinishedError, listing

#: Errors of a disk after which waiting may help: it is full, or read-only until somebody has repaired it.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
#: Suffixes of files that pipelines write beside an exposure.
SIDECARS = (
    ".json", ".md5", ".sha1", ".sha256", ".sha512", ".sum", ".txt", ".log", ".xml", ".yaml", ".yml", ".csv", ".asc",
)  # fmt: skip
RECHECK_SECONDS = (1.0, 60.0)
_NAME_BYTES = 200  # the longest name that may get a suffix; a file system's limit is 255

_log = structlog.get_logger("zads.spool")

__all__ = ["DISK_ERRORS", "Exposure", "Spool", "remove"]


class Spool:
    """A spool directory; its three parts are made if missing. Raises ZadsError if they cannot be."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming, self.done, self.refused = (root / part for part in ("incoming", "done", "refused"))
        self._moving = root / ".moving"  # exposures on their way, which are looked at once more
        self._warned: set[str] = set()
        self._recent: list[tuple[float, Path, Path]] = []  # time of the next look, what was moved, its receipt
        try:
            for part in (self.incoming, self.done, self.refused, self._moving):
                part.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ZadsError(
                f"cannot make the spool {root}: {error.strerror}", hint="the producer's user must own that directory"
            ) from error

    def open(self) -> None:
        """Put back what a producer was about to move when it died, and check that moving works.

        Raises ZadsError if an exposure cannot be renamed from incoming/ to done/ and refused/; OSError of DISK_ERRORS.
        """
        for place in (self._moving, self.done, self.refused):
            probe = self.incoming / f".probe-{os.getpid()}"
            try:
                probe.touch()
                probe.replace(place / probe.name).unlink()
            except OSError as error:
                with contextlib.suppress(OSError):
                    probe.unlink()
                if error.errno in DISK_ERRORS:
                    raise
                if error.errno == errno.EXDEV:
                    raise ZadsError(
                        f"{self.incoming} and {place} are on different file systems: nothing can be renamed from one"
                        " to the other",
                        hint="mount one file system for all of the spool",
                    ) from error
                # Exposures that cannot be moved stay where they are, and the log says so.
                _log.warning("exposures cannot be moved away", directory=str(place), reason=error.strerror)
        self.put_back()

    def put_back(self) -> None:
        """Move exposures from .moving back to incoming/, except those whose name is taken again."""
        with contextlib.suppress(OSError):
            for aside in list(self._moving.iterdir()):
                if not _exists(self.incoming / aside.name):
                    aside.replace(self.incoming / aside.name)

    def admit(self) -> None:
        """Rename every .NAME that has a NAME.ready beside it to NAME, and put sidecars away."""
        for entry in self._listed():
            try:
                if entry.name.endswith(READY) and not entry.is_dir(follow_symlinks=False):
                    self._admit(entry.name.removesuffix(READY))
                elif entry.name.lower().endswith(SIDECARS) and entry.is_file(follow_symlinks=False):
                    target = _free(self.done, entry.name, ".sidecar")
                    Path(entry.path).replace(target)
                    _log.info("passed over: it is no exposure", file=entry.name, kept=str(target))
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno in DISK_ERRORS:
                    raise
                if entry.name not in self._warned:
                    _log.warning("cannot be renamed", path=entry.path, reason=error.strerror)
                    self._warned.add(entry.name)

    def _admit(self, name: str) -> None:
        hidden, place = self.incoming / f".{name}", self.incoming / name
        if not _exists(place):
            if _exists(hidden):
                hidden.replace(place)
            elif name not in self._warned:
                _log.warning("a marker without its exposure", marker=f"{name}{READY}", expected=str(hidden))
                self._warned.add(name)
        elif _exists(hidden) and name not in self._warned:
            _log.warning("waits until the exposure before it is settled", path=str(hidden))
            self._warned.add(name)
        else:
            self._warned.discard(name)

    def pending(self) -> list[Exposure]:
        """The exposures to be published, by name. Raises ZadsError if the spool cannot be listed."""
        listed = self._listed()
        markers = {entry.name for entry in listed if entry.name.endswith(READY) and not entry.is_dir()}
        exposures = []
        for entry in listed:
            if entry.name not in markers:
                marker = f"{entry.name}{READY}"
                exposures.append(
                    Exposure(
                        files.exposure_name(Path(entry.name)),
                        self.incoming / entry.name,
                        self.incoming / marker if marker in markers else None,
                    )
                )
        return exposures

    def _listed(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.incoming) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise ZadsError(f"cannot list the spool {self.incoming}: {error.strerror}") from error
        return sorted(found, key=lambda entry: entry.name)

    def keep_refused(self, exposure: Exposure, item: files.Item) -> None:
        """Leave a copy of a refused file where people look for it; doing so twice changes nothing.

        Raises OSError of DISK_ERRORS. If a copy cannot be made for another reason, the log says so.
        """
        flat = item.name.strip("/").replace("/", "_").lstrip(".") or "unnamed"
        name = _short("".join(one if one.isprintable() or "\udc80" <= one <= "\udcff" else "_" for one in flat))
        try:
            directory = self._copies(exposure)
            target = directory / name
            if target.exists() and target.read_bytes() != item.data:
                target = directory / f"{name}~{hashlib.sha256(item.data).hexdigest()[:8]}"
            wholefile.write(target, item.data)
        except OSError as error:
            if error.errno in DISK_ERRORS:
                raise
            _log.warning("no copy of a refused file", exposure=exposure.name, file=item.name, reason=error.strerror)

    def _copies(self, exposure: Exposure) -> Path:
        """The directory for copies of an exposure's refused files."""
        stem = _stem(exposure.name)
        for name in (stem, f"{stem}.files"):
            with contextlib.suppress(FileExistsError, PermissionError):
                (self.refused / name).mkdir(exist_ok=True)
                if os.access(self.refused / name, os.W_OK | os.X_OK):
                    return self.refused / name
        raise FileExistsError(errno.EEXIST, "something else has the name of its directory", stem)

    def finish(self, exposure: Exposure, receipt: dict[str, Any], seen: str = "") -> Path:
        """Move a published exposure away (if it can be), and write its receipt. Returns the receipt's path.

        `seen`: the `listing` that was read. If it is given and the exposure has changed since, the exposure stays where
        it was, and UnfinishedError is raised. A producer that is killed in this step finds the exposure again after
        its restart, knows it from the ledger, and repeats the step. Raises OSError of DISK_ERRORS before it has changed
        anything.
        """
        return self._move(exposure, self.done, receipt, seen)

    def refuse(self, exposure: Exposure, receipt: dict[str, Any], seen: str = "") -> Path:
        """Do as `finish` does, for an exposure that was refused as a whole."""
        return self._move(exposure, self.refused, receipt, seen)

    def sweep(self, keep_seconds: float) -> int:
        """Remove published originals (never receipts) that were finished longer ago. Returns how many.

        An original whose contents differ from what was read goes back to incoming/.
        """
        removed = 0
        for entry in list(os.scandir(self.done)):
            if entry.name.endswith(".json") or entry.name.startswith("."):
                continue
            receipt = Path(f"{self.done / files.exposure_name(Path(entry.name))}.json")
            try:
                # An exposure without a receipt is not finished. Other programs may be removing finished ones right now.
                if receipt.stat().st_mtime < time.time() - keep_seconds:
                    if self._is_late(Path(entry.path), receipt):
                        continue
                    remove(Path(entry.path))
                    removed += 1
            except FileNotFoundError:
                continue
            except OSError as error:
                if entry.name not in self._warned:
                    _log.warning("cannot be removed", path=entry.path, reason=error.strerror)
                    self._warned.add(entry.name)
        return removed

    def recheck(self) -> None:
        """Look again at directories that were moved a moment ago; one that has changed goes back to incoming/."""
        due = [one for one in self._recent if one[0] <= time.monotonic()]
        self._recent = [one for one in self._recent if one not in due]
        for _, path, receipt in due:
            with contextlib.suppress(FileNotFoundError):
                self._is_late(path, receipt)

    def _is_late(self, path: Path, receipt: Path) -> bool:
        """Whether a settled exposure has changed since it was read; then it is put back to be read again."""
        try:
            content = json.loads(receipt.read_bytes())
            seen, name = content.get("listing"), content.get("file")
        except (ValueError, AttributeError):
            return False
        if not seen or not name or listing(path) in (seen, "gone"):
            return False
        _log.warning("has changed since it was published: it is read again", path=str(path))
        if not _exists(self.incoming / name):
            path.replace(self.incoming / name)
        return True

    def _move(self, exposure: Exposure, place: Path, receipt: dict[str, Any], seen: str) -> Path:
        suffix = exposure.path.name.removeprefix(exposure.name)
        target = _free(place, exposure.name, suffix)
        name = Path(f"{place / files.exposure_name(target)}.json")
        if seen:
            receipt = {**receipt, "file": exposure.path.name, "listing": seen}
        content = json.dumps(receipt, indent=1, sort_keys=True) + "\n"
        # Written before anything moves, so that a full disk is noticed here.
        hidden = name.with_name(f".{name.name}.part")
        hidden.write_text(content)
        aside = self._moving / exposure.path.name
        try:
            exposure.path.rename(aside)
        except OSError as error:
            if error.errno in DISK_ERRORS:
                raise
            # A directory of another user cannot be moved: it stays, and the caller remembers that it is settled.
            _log.warning("settled, but cannot be moved away", path=str(exposure.path), reason=error.strerror)
            hidden.replace(name)
            return name
        try:
            if seen and listing(aside) != seen:
                raise UnfinishedError(f"{exposure.path.name} has changed while it was moved")
            if exposure.marker is not None:
                exposure.marker.unlink(missing_ok=True)
            hidden.replace(name)
            aside.rename(target)
            if seen and target.is_dir():
                # A program that had it open may have gone on writing.
                self._recent += [(time.monotonic() + pause, target, name) for pause in RECHECK_SECONDS]
        except (OSError, UnfinishedError):
            self.put_back()
            raise
        return name


def remove(path: Path) -> None:
    """Remove a file or a directory with all that it holds."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _short(name: str) -> str:
    """A name with room for a suffix; a long name is cut, and ends in a digest of the whole name."""
    raw = os.fsencode(name)
    if len(raw) <= _NAME_BYTES:
        return name
    return f"{os.fsdecode(raw[: _NAME_BYTES - 17])}~{hashlib.sha256(raw).hexdigest()[:16]}"


def _stem(name: str) -> str:
    """An exposure's name beside receipts, whose names end in .json."""
    return _short(f"{name}.exposure" if name.endswith((".json", ".sidecar")) else name)


def _free(place: Path, name: str, suffix: str) -> Path:
    """A free path to move something to: its own name, or with +2, +3 ... if that name is taken."""
    stem = _short(name) if suffix == ".sidecar" else _stem(name)
    number = 1
    while True:
        tried = stem if number == 1 else f"{stem}+{number}"
        # An exposure's receipt is called the same whatever its suffix. refused/NAME may hold the copies of single
        # files, which are not the exposure.
        if not any(_exists(place / f"{tried}{other}") for other in {"", suffix, *files.ARCHIVES}):
            return place / f"{tried}{suffix}"
        number += 1
