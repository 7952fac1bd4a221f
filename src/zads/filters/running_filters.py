"""The filters that a worker runs now: the group's configuration, the processes, and what follows from both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from zads.filters.group import Configuration
from zads.filters.launcher import NurseryLauncher
from zads.filters.records import AlertRecord
from zads.filters.sandbox import Sandbox
from zads.site import policy

_log = structlog.get_logger()


class RunningFilters:
    """The filters of the configuration at ``path``, started. Raises ZadsError if it cannot be read or started."""

    def __init__(self, path: Path, nursery: Path | None, beat: Callable[[], object]) -> None:
        self.config = Configuration.read(path)
        self.sandbox = Sandbox(
            self.config.specs(path.parent), memory_bytes=self.config.memory_mb * 1_000_000, beat=beat,
            launcher=NurseryLauncher(nursery) if nursery is not None else None,
        )  # fmt: skip
        self.entries = {entry.name: entry for entry in self.config.filters if entry.runs}
        self.caps = {name: entry.cap or self.sandbox.declared[name].cap for name, entry in self.entries.items()}
        self.programmes = {name: self._programmes(entry) for name, entry in self.entries.items()}
        for name, declared in self.sandbox.declared.items():
            if declared.error:
                _log.error("filter cannot be loaded", filter=name, reason=declared.error)

    def _programmes(self, entry: policy.Filter) -> frozenset[int]:
        declared = self.sandbox.declared[entry.name]
        wanted = frozenset([1] if declared.error else declared.programmes) & self.config.programmes
        return wanted if entry.programmes is None else wanted & entry.programmes

    def eligible(self, batch: Sequence[AlertRecord]) -> dict[str, list[int]]:
        """The alerts of a batch that each filter may see; filters of the same programmes share one list object."""
        chosen = {
            programmes: [index for index, alert in enumerate(batch) if alert.programme in programmes]
            for programmes in set(self.programmes.values())
        }
        return {name: chosen[programmes] for name, programmes in self.programmes.items()}
