"""Archives that a deployment brings to hosts, each with a record that roles read."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from zads import wholefile
from zads.build.inputs import HASH_DIGITS, file_sha256
from zads.build.step import Say
from zads.errors import ZadsError


@dataclass(frozen=True)
class Archive:
    """A file for hosts: the name and tag of what is in it, its path on this computer, its SHA-256."""

    name: str
    tag: str
    archive: str
    sha256: str


def save(name: str, tag: str, directory: Path, say: Say) -> Archive:
    """Save an image as a zstd archive in a directory, beside its record ``NAME.json``.

    Nothing is done if the archive of this tag exists; archives of the name's other tags are removed. Raises ZadsError
    if the engine cannot save the image.
    """
    record = directory / f"{name}.json"
    archive = directory / f"{name}-{tag.rpartition(':')[2]}.tar.zst"
    if record.exists() and archive.exists():
        known = Archive(**json.loads(record.read_text()))
        if known.tag == tag:
            return known
    say(f"archive of {tag}")
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob(f"{name}-{'?' * HASH_DIGITS}.tar.zst*"):
        old.unlink()
    _write(tag, archive)
    result = Archive(f"zads/{name}", tag, str(archive), file_sha256(archive))
    wholefile.write(record, json.dumps(asdict(result), indent=1) + "\n")
    return result


def _write(tag: str, archive: Path) -> None:
    partial = archive.with_suffix(".partial")
    with partial.open("wb") as target:
        engine = subprocess.Popen(["docker", "save", tag], stdout=subprocess.PIPE)
        subprocess.run(["zstd", "-q", "-3", "-T0", "-c"], stdin=engine.stdout, stdout=target, check=True)
        if engine.wait():
            raise ZadsError(f"docker save {tag} failed", hint="see its message above")
    partial.rename(archive)
