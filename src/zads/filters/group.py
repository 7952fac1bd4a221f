"""A group's file: which filters its workers run, of which programmes, and where each filter's code is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from zads import wholefile
from zads.errors import ZadsError
from zads.filters.owner import MEMORY_BYTES, Spec
from zads.site import entry, policy


class Configuration(entry.Entry):
    """The contents of a group's file. It holds the inventory's lines of filters, so the inventory's rules apply."""

    group: str = Field(pattern=policy.GROUP_NAME, description=policy.GROUP_NAME_IN_WORDS)
    programmes: frozenset[int] = Field(default=frozenset({1}), description="a list of programmes' numbers, such as [1]")
    filters: tuple[policy.Filter, ...] = Field(default=(), description="a list of filters")
    memory_mb: int = Field(default=MEMORY_BYTES // 1_000_000, ge=64, description="a number of megabytes, 64 or more")

    @classmethod
    def read(cls, path: Path) -> Configuration:
        """The configuration in a JSON file. Raises ZadsError that names the file and all problems in it."""
        try:
            data = json.loads(wholefile.read(path))
        except OSError as error:
            raise ZadsError(f"cannot read the group's configuration {path}: {error.strerror}") from error
        except ValueError as error:
            raise ZadsError(f"{path} is not JSON: {error}") from error
        problems: list[entry.Problem] = []
        config = entry.checked(cls, "", _with_filters(data, problems), problems)
        if problems or config is None:
            raise ZadsError(
                "\n".join(": ".join(filter(None, (str(path), one.variable, one.reason))) for one in problems)
            )
        return config

    def specs(self, directory: Path) -> list[Spec]:
        """Where each filter is: a file beside the configuration, else a built-in one."""
        return [Spec(one.name, place(one, directory), one.owner) for one in self.filters if one.runs]


def _with_filters(data: Any, problems: list[entry.Problem]) -> Any:
    """The file's contents, with each filter that can be read by itself in place of its line."""
    if not isinstance(data, dict):
        return data
    filters = entry.named(policy.Filter, "filters", data.get("filters"), problems)
    return {**data, "filters": [one for _, one in filters if one is not None]}


def place(one: policy.Filter, directory: Path) -> str:
    """Where a filter's code is: its file in the directory of a deployment's own filters, else the built-in one."""
    _, colon, kind = one.file.partition(":")
    file = directory / one.code
    return f"{file if file.is_file() else file.stem}{colon}{kind}"
