"""The receipts that the pipeline got: done/NAME.json in the producer's spool, one for each exposure."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zads import wholefile
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Looks between two signs of life.
_BEAT_FILES = 500


@dataclass(frozen=True)
class Receipt:
    """What the pipeline was told of an exposure: the digest of its files, and how many alerts went to each topic.

    `finished` is in Unix seconds. `exposure` is empty if the file is no receipt.
    """

    file: str
    exposure: str = ""
    digest: str = ""
    published: Mapping[str, int] | None = None
    finished: float = 0.0


def read(directory: Path, since: float, turn: Callable[[], object]) -> list[Receipt]:
    """The receipts that were written at the moment `since` (Unix seconds) or later, by the names of their files.

    Raises ZadsError if they cannot be read: then it is not known whether they are right.
    """
    found = []
    try:
        for number, entry in enumerate(sorted(os.scandir(directory), key=lambda one: one.name)):
            if number % _BEAT_FILES == 0:
                turn()
            if entry.name.endswith(".json") and not entry.name.startswith("."):
                # The pipeline may remove receipts at any time.
                try:
                    if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime >= since:
                        found.append(_receipt(entry.name, wholefile.read(Path(entry.path))))
                except FileNotFoundError:
                    continue
    except OSError as error:
        raise ZadsError(
            f"the receipts in {directory} cannot be read: {error.strerror}",
            hint="the auditor's user must be in the spool's group",
        ) from error
    return found


def _receipt(name: str, content: bytes) -> Receipt:
    try:
        known: Any = json.loads(content)
        return Receipt(
            name,
            str(known["exposure"]),
            str(known["digest"]),
            {str(topic): int(count) for topic, count in known["published"].items()},
            float(known["finished"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Receipt(name)
