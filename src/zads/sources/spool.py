"""The spool: where the telescope's pipeline drops exposures and the producer leaves its receipts.

incoming/NAME or NAME.tar   one exposure, dropped by renaming it into place (the pipeline writes elsewhere, or under
                            a name that begins with a dot, on the same file system)
done/NAME, done/NAME.json   what has been published, and its receipt
refused/NAME/FILE           copies of refused files; refused/NAME.json when the exposure as a whole was refused
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zads import wholefile
from zads.errors import ZadsError
from zads.sources import files

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Exposure:
    """One exposure in the spool; `name` is without the archive's suffix."""

    name: str
    path: Path

    def items(self) -> Iterator[files.Item]:
        """Its files. Raises files.SourceError if it cannot be read at all."""
        return files.read(self.path)

    @property
    def state(self) -> str:
        """Changes whenever the exposure is dropped anew or its permissions change; "gone" if it is not there."""
        try:
            facts = self.path.lstat()
        except OSError:
            return "gone"
        return f"{facts.st_ino}-{facts.st_ctime_ns}"


class Spool:
    """A spool directory; its three parts are made if missing. Raises ZadsError if they cannot be."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming, self.done, self.refused = (root / part for part in ("incoming", "done", "refused"))
        try:
            for part in (self.incoming, self.done, self.refused):
                part.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ZadsError(
                f"cannot make the spool {root}: {error.strerror}", hint="the producer's user must own that directory"
            ) from error

    def pending(self) -> list[Exposure]:
        """What is to be published, by name. Raises ZadsError if the spool cannot be listed."""
        try:
            names = sorted(entry.name for entry in os.scandir(self.incoming) if not entry.name.startswith("."))
        except OSError as error:
            raise ZadsError(f"cannot list the spool {self.incoming}: {error.strerror}") from error
        return [Exposure(files.exposure_name(Path(name)), self.incoming / name) for name in names]

    def keep_refused(self, exposure: Exposure, item: files.Item) -> None:
        """Leave a copy of a refused file where people look for it; doing so twice changes nothing."""
        directory = self.refused / exposure.name
        directory.mkdir(exist_ok=True)
        wholefile.write(directory / (item.name.strip("/").replace("/", "_").lstrip(".") or "unnamed"), item.data)

    def finish(self, exposure: Exposure, receipt: dict[str, Any]) -> Path:
        """Write the receipt of a published exposure, then move it away (if it can be). Returns the receipt's path.

        A producer killed between the two finds the exposure again, knows it from the ledger, and comes here again.
        """
        return self._settle(exposure, self.done, receipt)

    def refuse(self, exposure: Exposure, receipt: dict[str, Any]) -> Path:
        """The same for an exposure that was refused as a whole."""
        return self._settle(exposure, self.refused, receipt)

    def sweep(self, keep_seconds: float) -> int:
        """Remove published originals (never receipts) that were finished longer ago. Returns how many."""
        removed = 0
        for entry in list(os.scandir(self.done)):
            if entry.name.endswith(".json"):
                continue
            receipt = Path(f"{self.done / files.exposure_name(Path(entry.name))}.json")
            # What has no receipt is not finished; and whoever takes away what is done may do so at this moment.
            with contextlib.suppress(FileNotFoundError):
                if receipt.stat().st_mtime < time.time() - keep_seconds:
                    remove(Path(entry.path))
                    removed += 1
        return removed

    def _settle(self, exposure: Exposure, place: Path, receipt: dict[str, Any]) -> Path:
        target = _free(place, exposure)
        name = Path(f"{place / files.exposure_name(target)}.json")
        wholefile.write(name, json.dumps(receipt, indent=1, sort_keys=True) + "\n")
        with contextlib.suppress(OSError):
            # A directory of another user may not change its parent: it stays, the caller remembers that it is settled.
            exposure.path.rename(target)
        return name


def remove(path: Path) -> None:
    """Remove a file or a directory with all that it holds."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _free(place: Path, exposure: Exposure) -> Path:
    """Where the exposure can be moved: under its own name, or with +2, +3 ... if one of that name lies there."""
    suffix = exposure.path.name.removeprefix(exposure.name)
    number = 1
    while True:
        name = exposure.name if number == 1 else f"{exposure.name}+{number}"
        target = place / f"{name}{suffix}"
        # refused/NAME may hold the copies of single files, which are not the exposure.
        if not target.exists() and not target.is_symlink():
            return target
        number += 1
