"""The results of audits, kept in a directory: NIGHT.json and NIGHT.html for each night, index.html over all.

Each file appears whole or not at all. The JSON is what other programs read: its form is in docs/audit.md.
"""

from __future__ import annotations

import fcntl
import json
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import structlog

from zads import output, wholefile
from zads.audit import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Status = Literal["whole", "differs", "unread", "late"]
#: What a result has of its evidence, if a night could be read.
EVIDENCE = ("public_programmes", "receipts", "published", "origin", "public", "filters")
_FILE = re.compile(r"([0-9]{8})\.json")

_log = structlog.get_logger("zads.auditor")


@dataclass
class Result:
    """What the last audit of a night found.

    `status`: *whole*: nothing contradicts a promise; *differs*: `differences` say what does; *unread*: a site could
    not be read; *late*: records had expired before the night was audited. `audited` and `expires` are Unix seconds:
    when the audit ended, and until when the night can be audited (None without alerts). `tries`: audits in a row that
    were not whole. `ends`: the end offset of each partition at each site, by site and TOPIC/PARTITION. `mailed`: the
    status that was last sent by mail. `evidence`: what was counted, for the page and other programs.
    """

    night: str
    status: Status
    audited: float
    expires: float | None = None
    tries: int = 0
    seconds: float = 0.0
    memory_bytes: int = 0
    alerts: int = 0
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ends: dict[str, dict[str, int]] = field(default_factory=dict)
    mailed: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The result in one line, every character visible."""
        if self.status == "whole":
            return f"night {self.night}: whole, {self.alerts} alerts"
        first = self.differences[0].text if self.differences else ""
        more = f" (and {len(self.differences) - 1} more)" if len(self.differences) > 1 else ""
        words = {"differs": "DIFFERS", "unread": "could not be audited", "late": "was not audited in time"}
        return output.plain(f"night {self.night}: {words[self.status]}: {first}{more}")

    def as_json(self) -> dict[str, Any]:
        """The result as plain data, with all that `zads audit --json` has of a night."""
        known = asdict(self)
        evidence: dict[str, Any] = known.pop("evidence")
        return {
            **known,
            "differences": [one._asdict() for one in self.differences],
            "nights": [self.night],
            "agree": self.status == "whole",
            "disagreements": [one.text for one in self.differences],
            **evidence,
        }

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Result:
        """The result in plain data. What a later release has added is ignored. Raises TypeError, KeyError."""
        fields = {name: known[name] for name in cls.__dataclass_fields__ if name in known}
        fields["differences"] = [Difference(one["kind"], one["text"]) for one in known["differences"]]
        fields["evidence"] = {name: known[name] for name in EVIDENCE if name in known}
        return cls(**fields)


class Results:
    """The results in a directory, of which those of the last `keep` nights stay."""

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory, self._keep = directory, keep
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other auditor works in this directory; none begins to before the end of the context."""
        with (self.directory / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def read(self) -> dict[str, Result]:
        """Every result by its night, the oldest first. A file that is damaged counts as none: its night is due."""
        found = {}
        for path in sorted(self.directory.iterdir()):
            if (match := _FILE.fullmatch(path.name)) is None:
                continue
            try:
                found[match[1]] = Result.of(json.loads(wholefile.read(path)))
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                _log.warning(
                    "a result cannot be read, and its night is audited again", file=path.name, reason=str(error)
                )
        return found

    def write(self, result: Result, page: str) -> None:
        """Write a night's result and its page. Raises OSError."""
        # The page first: a result without its page would look finished.
        wholefile.write(self.directory / f"{result.night}.html", page)
        wholefile.write(self.directory / f"{result.night}.json", output.json_text(result.as_json(), indent=1) + "\n")

    def write_index(self, page: str) -> None:
        """Write the page over all results. Raises OSError."""
        wholefile.write(self.directory / "index.html", page)

    def prune(self) -> None:
        """Remove what is older than the results to keep."""
        nights = sorted(match[1] for path in self.directory.iterdir() if (match := _FILE.fullmatch(path.name)))
        for night in nights[: max(0, len(nights) - self._keep)]:
            for suffix in ("html", "json"):
                (self.directory / f"{night}.{suffix}").unlink(missing_ok=True)
