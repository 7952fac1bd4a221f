"""What the ledger says was published of a night: its alerts, and how many of them each exposure brought."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zads import ledger, names, reading
from zads.ledger import LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_Rows = np.ndarray[Any, np.dtype[np.void]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]


def _none() -> Numbers:
    return np.zeros(0, np.int64)


@dataclass
class Published:
    """The ledger's part about a night.

    `candids` and `digests` (the first 48 bits of the SHA-256 of the bytes) are those of each alert, in the same order.
    `first`: when the first of them was written (Unix seconds; infinite without one). `entries`: what the ledger says
    of each exposure, of other nights too.
    """

    candids: Numbers = field(default_factory=_none)
    digests: Numbers = field(default_factory=_none)
    first: float = math.inf
    entries: dict[str, LedgerEntry] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many alerts were published."""
        return len(self.candids)

    def counted(self, night: str) -> dict[str, int]:
        """How many alerts of the night each exposure says that it published, by its name, if any."""
        counts = {name: published_of(entry.published, night) for name, entry in self.entries.items()}
        return {name: count for name, count in counts.items() if count}

    def indexed(self, night: str) -> bool:
        """Whether all exposures of the night have rows: those of an older release lack them."""
        return all(self.entries[name].indexed for name in self.counted(night))


def published_of(published: Mapping[str, int], night: str) -> int:
    """How many alerts of a night are among those published by topic."""
    return sum(count for topic, count in published.items() if (parts := names.parse_topic(topic)) and parts[0] == night)


def collect(records: Iterable[tuple[str, bytes | None, float]], night: str) -> Published:
    """The part about a night. `records`: each record's key, value and time (Unix seconds), in the topic's order."""
    found, number = Published(), int(night)
    rows: dict[str, tuple[_Rows, float]] = {}
    for key, value, written in records:
        if ledger.has_rows(key):
            rows.pop(key, None)
            if value is not None and len(chosen := _of_night(ledger.unpacked(value), number)):
                rows[key] = chosen, written
        elif value is None:
            found.entries.pop(key, None)
        else:
            found.entries[key] = LedgerEntry.of(value)
    if rows:
        together = np.concatenate([one for one, _ in rows.values()])
        found.candids = together["candid"].astype(np.int64)
        found.digests = (together["content"] >> np.uint64(16)).astype(np.int64)
        found.first = min(written for _, written in rows.values())
    return found


def _of_night(rows: _Rows, night: int) -> _Rows:
    chosen: _Rows = rows[rows["night"] == night]
    return chosen.copy()  # not a view, which would keep the other nights' rows


def read(conf: Mapping[str, str], night: str, turn: Callable[[], object]) -> Published:
    """The ledger's part about a night. `turn` is called between batches. Raises what `reading.read_topics` raises."""
    messages = reading.read_topics(conf, [names.LEDGER_TOPIC], turn=turn)
    return collect(
        (
            ((message.key() or b"").decode("utf-8", "surrogateescape"), message.value(), message.timestamp()[1] / 1000)
            for message in messages
        ),
        night,
    )
