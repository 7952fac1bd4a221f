"""What is known of an archive: its name, what it holds, and how it can be checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from zads import names
from zads.errors import ZadsError

_SUFFIX = ".tar.gz"
_STEM = re.compile(r"(?P<topic>ztf_[0-9]{8}_programid[0-9])(?:\.v(?P<version>[2-9]|[1-9][0-9]{1,4}))?")
_MEMBER = re.compile(r"(?P<candid>[1-9][0-9]{0,18})(?:\.v(?P<version>[2-9]|[1-9][0-9]{1,4}))?\.avro")


@dataclass(frozen=True)
class Archive:
    """An archive. ``Archive.stem`` begins the names of its files.

    `version`: 1 for the first of a night; a later one holds everything that an earlier one held. `alerts`: different
    candids; `files`: packets, since an alert that was processed again has several; `unpacked`: bytes of all packets.
    `size` and `sha256` are those of the archive's file. `content` does not depend on how the packets are packed: see
    `Contents`. `made`: when it was made (UTC, ISO 8601). `added`: packets that the version before did not have.
    """

    night: str
    programme: int
    version: int
    alerts: int
    files: int
    unpacked: int
    size: int
    sha256: str
    content: str
    made: str
    added: int = 0
    missing: int = 0

    @property
    def topic(self) -> str:
        """The topic whose alerts it holds."""
        return names.night_topic(self.night, self.programme)

    @property
    def stem(self) -> str:
        """The name of its files without their suffixes."""
        return stem(self.topic, self.version)

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.stem}{_SUFFIX}"

    def as_json(self) -> dict[str, Any]:
        """Everything that is known of it, as plain data."""
        return {"file": self.file, **asdict(self)}

    def text(self) -> str:
        """The contents of its JSON file."""
        return json.dumps(self.as_json(), indent=1) + "\n"

    def checksum(self) -> str:
        """The contents of its checksum file, as ``sha256sum --check`` reads them."""
        return f"{self.sha256}  {self.file}\n"

    @classmethod
    def of_json(cls, text: bytes, where: str) -> Archive:
        """The archive that a JSON file describes. Raises ZadsError, which names the file `where`."""
        try:
            known: Mapping[str, Any] = json.loads(text)
            found = cls(**{name: kind(known[name]) for name, kind in _FIELDS.items()})
        except (ValueError, TypeError, KeyError) as error:
            raise ZadsError(
                f"{where} does not describe an archive: {error!r}",
                hint="restore it, or remove it with its .tar.gz: the night is archived again while Kafka has it",
            ) from error
        if names.parse_topic(found.topic) is None or found.version < 1:
            raise ZadsError(f"{where} describes no night's archive", hint="remove it: it is not ours")
        return found


_FIELDS = {
    "night": str, "programme": int, "version": int, "alerts": int, "files": int, "unpacked": int, "size": int,
    "sha256": str, "content": str, "made": str, "added": int, "missing": int,
}  # fmt: skip


def stem(topic: str, version: int) -> str:
    """The name of an archive's files without their suffixes."""
    return topic if version == 1 else f"{topic}.v{version}"


def parse_stem(text: str) -> tuple[str, int] | None:
    """Topic and version of the name of an archive's files; None for any other name."""
    match = _STEM.fullmatch(text)
    return (match["topic"], int(match["version"] or 1)) if match and names.parse_topic(match["topic"]) else None


def member(candid: int, version: int) -> str:
    """The name of a packet's file in an archive: a second packet of an alert, with other bytes, is CANDID.v2.avro."""
    return f"{candid}.avro" if version == 1 else f"{candid}.v{version}.avro"


def parse_member(name: str) -> tuple[int, int] | None:
    """Candid and version of a packet's file; None for any other name."""
    match = _MEMBER.fullmatch(name)
    return (int(match["candid"]), int(match["version"] or 1)) if match else None
