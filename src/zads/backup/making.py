"""Makes a backup: what it holds of the control machine, of each site, and of the ledger."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zads import __version__
from zads.backup import contents, definitions, records, shelf
from zads.backup.contents import Manifest
from zads.errors import ZadsError

SECRETS = "secrets"


@dataclass(frozen=True)
class Made:
    """A backup that was made: its file, its SHA-256 (hex) and size, and the old ones that it replaces."""

    path: Path
    digest: str
    size: int
    removed: list[Path]


def make(
    env: str,
    root: Path,
    state: Path,
    sites: Mapping[str, Mapping[str, str]],
    ensembles: Mapping[str, bytes],
    *,
    keys: Sequence[str],
    to: Path,
    keep: int,
    clock: Callable[[], float] = time.time,
) -> Made:
    """Make a backup of an environment in the directory `to`, and remove all but the `keep` newest there.

    `sites`: the properties of each site's administrator; `ensembles`: the archive of each ensemble's data.
    Raises ZadsError; then there is no new file, and no old one is removed.
    """
    made = float(int(clock()))
    found = {name: definitions.look(conf) for name, conf in sites.items()}
    kept = secrets(state / SECRETS)
    manifest = Manifest(
        env,
        made,
        __version__,
        commit(root),
        inventory_digest(root, env),
        {name: one.cluster for name, one in found.items()},
    )

    def members() -> Iterator[tuple[str, bytes]]:
        yield from ((f"{SECRETS}/{name}", data) for name, data in kept.items())
        yield from ((f"{name}/definitions.json", one.text()) for name, one in found.items())
        yield from ((f"{name}/ensemble.tar.gz", data) for name, data in ensembles.items())
        if "origin" in sites:
            yield from records.pack(records.read(sites["origin"]))

    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    shelf.tidy(to, env)
    path = to / shelf.file_name(env, made)
    contents.write(path, keys, manifest, members())
    shelf.note(state, path, made)
    return Made(path, shelf.digest(path), path.stat().st_size, shelf.prune(to, env, keep, path))


def secrets(directory: Path) -> dict[str, bytes]:
    """Every file of the secrets by its name below the directory. Raises ZadsError if there are none, or for a link."""
    if not (directory / "passwords.yml").is_file():
        raise ZadsError(f"{directory} has no passwords.yml", hint="a backup is made where the deployment is made")
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ZadsError(f"{path} is no ordinary file", hint="put the file itself there: a backup follows no links")
        if path.is_file() and not path.name.startswith("."):  # a hidden name is half a file of a run that ended
            found[path.relative_to(directory).as_posix()] = path.read_bytes()
    return found


def inventory_digest(root: Path, env: str) -> str:
    """SHA-256 (hex) over the names and bytes of an inventory's files."""
    directory = root / "inventories" / env
    whole = hashlib.sha256()
    for path in sorted(one for one in directory.rglob("*") if one.is_file()):
        for part in (path.relative_to(directory).as_posix().encode(), path.read_bytes()):
            whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()


def commit(root: Path) -> str:
    """The commit that is checked out, "" if that is unknown; with "+" if files differ from it."""
    try:
        answers = [
            subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=60, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return answers[0].strip() + ("+" if answers[1].strip() else "")
