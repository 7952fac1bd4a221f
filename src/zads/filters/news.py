"""What the owner of a filter may know of it: its counts, and the alerts on which it failed, on a topic of the owner's.

Everybody's counts are together in one topic, and everybody's failures in the topic of refused input, for the operators.
An owner may read neither of them: there they would see what the filters of others do. So a worker writes an owner's
part a second time. A failure is in the same transaction as its first record. Counts follow at most once a minute, when
they have changed. They are totals: of each filter and worker only the newest record is of interest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from zads import names
from zads.filters.counts import Counts
from zads.filters.running_filters import RunningFilters
from zads.transactions import Record

SECONDS = 60.0


def of_counts(name: str, worker: str, filters: RunningFilters, counts: Counts) -> Record:
    """The record of a filter's counts, from which the worker goes on after a restart."""
    value = {**_summary(name, worker, filters, counts), "visits": counts.visits}
    return Record(names.FILTER_COUNTS_TOPIC, f"{name}/{worker}".encode(), json.dumps(value).encode())


def of_failure(failure: Record, owner: str) -> Record:
    """The owner's own record of an alert on which their filter failed."""
    return failure._replace(topic=names.owner_topic(owner))


class News:
    """The counts that owners have not seen yet. ``clock`` gives seconds."""

    def __init__(self, worker: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._worker, self._clock = worker, clock
        self._sent: dict[str, tuple[float, bytes | None]] = {}

    def due(self, filters: RunningFilters, counts: Mapping[str, Counts]) -> list[Record]:
        """The records to write now, for the filters of ``counts`` that run."""
        now, found = self._clock(), []
        for name, entry in filters.entries.items():
            if name not in counts:
                continue
            then, before = self._sent.get(name, (float("-inf"), None))
            value = json.dumps(_summary(name, self._worker, filters, counts[name])).encode()
            if value != before and now - then >= SECONDS:
                headers = [(names.HEADER_FILTER, name.encode()), (names.HEADER_FORMAT, names.FORMAT_JSON)]
                key = f"{name}/{self._worker}".encode()
                found.append(Record(names.owner_topic(entry.owner), key, value, headers))
        return found

    def sent(self, written: Iterable[Record]) -> None:
        """Remember what has been committed."""
        for record in written:
            name = dict(record.headers)[names.HEADER_FILTER].decode()
            self._sent[name] = (self._clock(), record.value)


def _summary(name: str, worker: str, filters: RunningFilters, counts: Counts) -> dict[str, Any]:
    return {
        "filter": name, "worker": worker, "group": filters.config.group, "state": filters.entries[name].state,
        "programmes": sorted(filters.programmes[name]),
        "circuit": filters.sandbox.circuits[name].state, **counts.summary(), "nights": counts.nights,
    }  # fmt: skip
