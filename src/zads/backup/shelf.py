"""The backups of an environment in a directory, and the note of the last one that this control machine made."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from zads import wholefile
from zads.errors import ZadsError

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".tar.gz.age"
_TIME = "%Y%m%dT%H%M%SZ"
NOTE = "backup.json"
DAY = 86400.0


def file_name(env: str, made: float) -> str:
    """The name of a backup; names of one environment sort by time."""
    return f"zads-{env}-{datetime.datetime.fromtimestamp(int(made), datetime.UTC).strftime(_TIME)}{SUFFIX}"


def backups(directory: Path, env: str) -> list[Path]:
    """The backups of an environment in a directory, the oldest first. Other files are none."""
    wanted = re.compile(rf"zads-{re.escape(env)}-\d{{8}}T\d{{6}}Z{re.escape(SUFFIX)}")
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if wanted.fullmatch(path.name) and path.is_file())


def tidy(directory: Path, env: str) -> None:
    """Remove what interrupted runs have left: the sites' locks keep a second run out."""
    for path in directory.glob(f".zads-{env}-*{SUFFIX}.part"):
        path.unlink(missing_ok=True)


def prune(directory: Path, env: str, keep: int, made: Path) -> list[Path]:
    """Remove all but the `keep` newest backups of an environment, never the one that was `made`.

    Returns those that were removed. If the clock was set back, the one that was made may be the oldest by its name.
    """
    old = [path for path in backups(directory, env)[: -max(keep, 1)] if path != made]
    for path in old:
        path.unlink(missing_ok=True)
    return old


def digest(path: Path) -> str:
    """The SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note(state: Path, path: Path, made: float) -> None:
    """Note in the state of an environment that a backup was made."""
    about = {"file": str(path), "made": made, "sha256": digest(path), "bytes": path.stat().st_size}
    wholefile.write_private(state / NOTE, json.dumps(about, indent=1).encode())


def last(state: Path) -> dict[str, Any] | None:
    """The note of the last backup; None if there is none that can be read."""
    try:
        about: dict[str, Any] = json.loads(wholefile.read(state / NOTE))
        float(about["made"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return about


def metrics(about: dict[str, Any]) -> str:
    """What Prometheus is told of the last backup, as node exporter reads it from a file."""
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} gauge\n{name} {value}\n"
        for name, text, value in (
            ("zads_backup_last_seconds", "Unix time at which the last backup was made.", float(about["made"])),
            ("zads_backup_bytes", "Size of the last backup.", float(about["bytes"])),
        )
    )


def problem(about: dict[str, Any] | None, days: float, now: float) -> str:
    """Why the last backup is not what an inventory demands (at most so many days old); "" if it is."""
    if days <= 0:
        raise ZadsError(f"verify_backup_days is {days:g}, and must be more than 0")
    if about is None:
        return "this control machine has never made a backup"
    age = (now - float(about["made"])) / DAY
    if age > days:
        return f"the last backup is {age:.1f} days old, and verify_backup_days is {days:g}"
    # A clock that was set back would make every backup new for ever.
    return "the last backup was made in the future: compare the clocks" if age < -1 / 24 else ""
