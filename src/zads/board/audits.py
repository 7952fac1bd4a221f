"""The audits of the last nights, from the auditor's JSON files, or those of ``zads audit --json``: NIGHT.json each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zads import names, wholefile
from zads.board.view import View
from zads.errors import ZadsError

#: Nights that are listed, and the largest file that is read.
MOST_NIGHTS = 60
_MOST_BYTES = 4_000_000
_TOPIC = re.compile(rf"{names.SURVEY}_[a-zA-Z0-9_]+")


@dataclass(frozen=True)
class Row:
    """A topic of a night: its records at both sites; None where there is none."""

    topic: str
    origin: int | None
    public: int | None


@dataclass(frozen=True)
class NightAudit:
    """A night's audit as a view sees it. ``found``: disagreements; ``hidden``: how many others it may not see.

    ``status``: the auditor's word: whole, differs, unread or late.
    """

    night: str
    status: str
    rows: list[Row]
    found: list[str]
    hidden: int


def nights(directory: Path | None, view: View) -> list[NightAudit]:
    """The audits in a directory, the newest night first. Files that are no audits are left out."""
    return list(_nights(directory, view)) if directory else []


def _nights(directory: Path, view: View) -> Iterator[NightAudit]:
    try:
        files = sorted((path for path in directory.iterdir() if path.suffix == ".json"), reverse=True)
    except OSError:
        return
    count = 0
    for path in files:
        if count == MOST_NIGHTS:
            return
        try:
            night = names.check_night(path.stem)
            yield _read(night, json.loads(wholefile.read(path, _MOST_BYTES)), view)
            count += 1
        except (OSError, ValueError, RecursionError, ZadsError, AttributeError, TypeError):
            continue


def _read(night: str, found: Mapping[str, Any], view: View) -> NightAudit:
    sites = {site: _records(found[site]) for site in ("origin", "public") if site in found}
    origin, public = sites.get("origin", {}), sites.get("public", {})
    topics = sorted(name for name in origin.keys() | public.keys() if visible(name, view))
    lines = [str(line) for line in found.get("disagreements", [])]
    # A sentence that names no topic may be about any.
    shown = [line for line in lines if (about := _TOPIC.findall(line)) and all(visible(name, view) for name in about)]
    rows = [Row(name, origin.get(name), public.get(name)) for name in topics]
    status = str(found.get("status") or ("whole" if found.get("agree") is True else "differs"))
    return NightAudit(night, status, rows, shown, len(lines) - len(shown))


def _records(site: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(about["records"]) for kind in ("topics", "filters") for name, about in site.get(kind, {}).items()}


def visible(topic: str, view: View) -> bool:
    """Whether a view may know of a topic: a night's of its programmes, or one of its filters'."""
    parsed = names.parse_topic(topic)
    if parsed:
        return parsed[1] in view.programmes
    return names.filter_name(topic) in view.filters
