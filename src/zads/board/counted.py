"""What the filters' workers have counted: the newest record of each filter and worker, as it comes."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass

from confluent_kafka import Message

from zads.errors import ZadsError
from zads.filters.status import COUNTED


@dataclass(frozen=True)
class Count:
    """What a filter did with a night's alerts. ``open``: at how many workers it is stopped because it failed."""

    filter: str
    state: str
    seen: int
    passed: int
    capped: int
    failed: int
    open: int


class Counted:
    """The newest counts of all filters. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[bytes, dict[str, object]] = {}

    def add(self, message: Message) -> None:
        """Take a record of the topic of counts. Raises ZadsError if it holds none."""
        key = message.key() or b""
        key = key if isinstance(key, bytes) else key.encode()
        value = message.value()
        try:
            record = json.loads(value) if value else None
        except (ValueError, RecursionError) as error:
            raise ZadsError(f"no counts: {error!r:.200}") from None
        with self._lock:
            if isinstance(record, dict) and isinstance(record.get("filter"), str):
                self._newest[key] = record
            else:  # its worker has gone for good
                self._newest.pop(key, None)

    def of_night(self, night: str, wanted: frozenset[str]) -> list[Count]:
        """The counts of a night by each of the wanted filters that has any, by name."""
        with self._lock:
            records = list(self._newest.values())
        found = []
        for name in sorted({str(one["filter"]) for one in records} & wanted):
            mine = [one for one in records if one["filter"] == name]
            rows = [row for one in mine if isinstance(nights := one.get("nights"), dict) and (row := nights.get(night))]
            numbers = {kind: sum(_number(row, kind) for row in rows) for kind in COUNTED}
            stopped = sum(one.get("circuit") == "open" for one in mine)
            found.append(Count(name, str(mine[-1].get("state", "")), **numbers, open=stopped))
        return found


def _number(row: object, kind: str) -> int:
    value = row.get(kind) if isinstance(row, dict) else None
    return value if isinstance(value, int) else 0
