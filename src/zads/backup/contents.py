"""What is in a backup: members (a name and bytes) in a compressed tar, with a manifest and checksums.

``manifest.json`` says what the backup is of. ``SHA256SUMS``, the last member, has the checksum of every other one in
the form that ``sha256sum --check`` reads. A tar without it was not finished. Nobody signs a backup, and anybody can
encrypt to a public key. So the reader trusts nothing: it takes only regular files with harmless names, and a limited
number of bytes.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import itertools
import json
import re
import tarfile
import zlib
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING

from zads.backup import envelope
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

FORMAT = 1
MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
#: A ledger of eight nights of 1.2 million alerts has 0.4 GB.
MOST_BYTES = 4 << 30
_MOST_MEMBERS = 100_000
_PART = re.compile(r"(?!\.\.?$)[\w.@+=-][\w.@+= -]{0,254}")


@dataclass(frozen=True)
class Manifest:
    """What a backup is of: the environment, when it was made (Unix seconds), by which release and commit.

    `inventory`: SHA-256 over the inventory's files; `clusters`: Kafka's own number of each site's cluster. A site with
    another number is not the site that was backed up. `format` changes when readers must change.
    """

    environment: str
    made: float
    release: str
    commit: str
    inventory: str
    clusters: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def text(self) -> bytes:
        """The manifest as readable JSON."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def read(cls, text: bytes) -> Manifest:
        """The manifest of a backup. Raises ZadsError if it is none that this release can read."""
        try:
            known = json.loads(text)
            if known["format"] > FORMAT:
                raise ZadsError(
                    f"the backup has the format {known['format']}, and this release reads {FORMAT}",
                    hint=f"check out the commit {known.get('commit', 'that made it')}",
                )
            found = cls(**{name: known[name] for name in cls.__dataclass_fields__ if name in known})
            # Somebody else may have written it.
            if not isinstance(found.environment, str) or not isinstance(found.clusters, dict):
                raise TypeError
            datetime.datetime.fromtimestamp(float(found.made), datetime.UTC)
        except (ValueError, KeyError, TypeError, OverflowError, OSError) as error:
            raise ZadsError("the backup's manifest cannot be read") from error
        return found


@dataclass(frozen=True)
class Backup:
    """A backup that was read whole, with every checksum right."""

    manifest: Manifest
    members: dict[str, bytes]

    def below(self, directory: str) -> dict[str, bytes]:
        """The members below a directory, by the rest of their names."""
        prefix = f"{directory}/"
        return {name.removeprefix(prefix): data for name, data in self.members.items() if name.startswith(prefix)}


def write(path: Path, keys: Sequence[str], manifest: Manifest, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a backup for the holders of `keys`; the members come one after the other, and are encrypted at once.

    Raises ZadsError, also for a member whose name no reader would take.
    """
    with envelope.sealed(path, keys) as stream, tarfile.open(fileobj=stream, mode="w|gz") as tar:
        sums = []
        for name, data in itertools.chain([(MANIFEST, manifest.text())], members):
            _check_name(name)
            _add(tar, name, data, manifest.made)
            sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
        _add(tar, SUMS, "".join(sums).encode(), manifest.made)


def read(path: Path, identity: Path) -> Backup:
    """A whole backup by the private key in the file `identity`. Raises ZadsError if anything of it is wrong."""
    with envelope.opened(path, identity) as stream:
        try:
            members = _members(stream)
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise ZadsError(f"{path} is damaged: {error}") from error
    _check_sums(path, members)
    return Backup(Manifest.read(members.pop(MANIFEST)), members)


def _add(tar: tarfile.TarFile, name: str, data: bytes, made: float) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(data), 0o600, int(made)
    tar.addfile(member, io.BytesIO(data))


def _members(stream: IO[bytes]) -> dict[str, bytes]:
    """Every member of a tar in memory. Raises ZadsError for one that a backup cannot have."""
    found: dict[str, bytes] = {}
    size = 0
    with tarfile.open(fileobj=stream, mode="r|gz") as tar:
        for member in tar:
            size += member.size
            if not member.isreg() or member.name in found:
                raise ZadsError(f"the backup has a member that is no file, or twice: {member.name!r}")
            if size > MOST_BYTES or len(found) >= _MOST_MEMBERS:
                raise ZadsError(f"the backup has more than {MOST_BYTES} bytes or {_MOST_MEMBERS} members")
            _check_name(member.name)
            data = tar.extractfile(member)
            assert data is not None
            found[member.name] = data.read()
    return found


def _check_name(name: str) -> None:
    """Raises ZadsError for a name that leads out of a directory, or that does not fit into a line."""
    if not all(_PART.fullmatch(part) for part in name.split("/")):
        raise ZadsError(f"the backup would have a member of the name {name!r}", hint="rename that file")


def _check_sums(path: Path, members: dict[str, bytes]) -> None:
    try:
        lines = members.pop(SUMS).decode().splitlines()
    except (KeyError, UnicodeDecodeError) as error:
        raise ZadsError(f"{path} is no whole backup: it has no checksums at its end") from error
    wanted = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    wrong = sorted(wanted.keys() ^ members.keys()) or [
        name for name, data in sorted(members.items()) if hashlib.sha256(data).hexdigest() != wanted[name]
    ]
    if wrong or MANIFEST not in members:
        raise ZadsError(f"{path} is damaged: the checksums of {', '.join(wrong[:5]) or MANIFEST} are wrong")
