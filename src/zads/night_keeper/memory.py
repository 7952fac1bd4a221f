"""Remembers since when each topic of a past night has held no record, also after a restart."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import structlog

from zads import wholefile
from zads.site.policy import SITES, Site

_log = structlog.get_logger("zads.night-keeper")


class Memory:
    """Kept in a file, if there is a path. A lost or damaged file only means that topics stay for a day longer."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._since: dict[Site, dict[str, float]] = {site: {} for site in SITES}
        if path is not None and path.exists():
            self._load(path)

    def see(self, site: Site, empty: Collection[str], now: float) -> dict[str, float]:
        """Note which topics of a site hold no record at a moment. Returns since when (Unix seconds) each held none.

        A topic that holds a record, or is gone, is forgotten. A clock that has stepped back leaves no moment to come.
        """
        before = self._since[site]
        self._since[site] = {name: min(before.get(name, now), now) for name in empty}
        if self._path is not None and self._since[site] != before:
            self._save(self._path)
        return dict(self._since[site])

    def _load(self, path: Path) -> None:
        try:
            found: Any = json.loads(wholefile.read(path))
            for site in SITES:
                self._since[site] = {str(name): float(since) for name, since in found[site].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            _log.warning(
                "the memory of empty topics is not readable and begins again", file=str(path), reason=str(error)
            )

    def _save(self, path: Path) -> None:
        try:
            wholefile.write(path, json.dumps(self._since, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            _log.warning("the memory of empty topics cannot be written", file=str(path), reason=str(error))
