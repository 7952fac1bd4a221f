"""What a deployment tells the board: the data policy, the brokers that each site must have, and pages of objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from zads import wholefile
from zads.alert_card import OBJECT_PAGE
from zads.errors import ZadsError
from zads.site.entry import Entry
from zads.site.policy import Policy


class Settings(Entry):
    """The file that a deployment writes: the inventory's data policy, and its brokers by site and number."""

    policy: dict[str, Any] = Field(description="the variables of the inventory that are the data policy")
    brokers: dict[str, dict[int, str]] = Field(default={}, description="{origin: {1: NAME, …}, public: {…}}")
    object_page: str = Field(default=OBJECT_PAGE, description="a web address with {object} in it, or nothing")


class SettingsFile:
    """The settings in a file, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._now()
        self.settings, self.policy = self._read()

    def look(self) -> Policy:
        """The present data policy. A file that cannot be used leaves the one before in force."""
        stamp = self._now()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self.settings, self.policy = self._read()
            except ZadsError:
                return self.policy
        return self.policy

    def _now(self) -> tuple[int, int]:
        try:
            about = self._path.stat()
        except OSError:
            return 0, 0
        return about.st_mtime_ns, about.st_ino

    def _read(self) -> tuple[Settings, Policy]:
        """Raises ZadsError if the file cannot be used."""
        hint = "a deployment writes it: make deploy"
        try:
            settings = Settings.model_validate(json.loads(wholefile.read(self._path)))
        except (OSError, ValueError, RecursionError) as error:
            reason = f"{error.error_count()} errors" if isinstance(error, ValidationError) else str(error)
            raise ZadsError(f"{self._path} holds no settings of the board: {reason}", hint=hint) from error
        return settings, Policy.read(settings.policy)
