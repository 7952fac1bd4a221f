"""What became of the alerts that each filter was offered: counts in a compacted topic of Kafka beside the outputs.

When a worker starts, it reads its own counts to the end before it runs a filter. If its caps began at zero, too many
alerts of a visit would pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from confluent_kafka import Message

from zads import names, reading
from zads.errors import ZadsError

# The visits whose caps are kept. Exposures are 30 s apart: the cap of a visit starts again from zero after 25 minutes.
REMEMBERED_VISITS = 50
REMEMBERED_NIGHTS = 8  # whose counts are kept: a night's topics last seven days

Number = Literal["seen", "passed", "published", "capped", "failed", "skipped"]
NUMBERS: tuple[Number, ...] = get_args(Number)


@dataclass
class Counts:
    """What became of the alerts that one worker offered to one filter, in all and for each night; and its caps.

    `zads.filters.outcome` says what each number counts.
    """

    seen: int = 0
    passed: int = 0
    published: int = 0
    capped: int = 0
    failed: int = 0
    skipped: int = 0
    visits: dict[str, int] = field(default_factory=dict)
    nights: dict[str, dict[str, int]] = field(default_factory=dict)

    def copy(self) -> Counts:
        """A copy that does not change with these counts."""
        nights = {night: dict(row) for night, row in self.nights.items()}
        return replace(self, visits=dict(self.visits), nights=nights)

    def add(self, what: Number, night: str, number: int = 1) -> None:
        """Count alerts of a night in the total and for that night."""
        setattr(self, what, getattr(self, what) + number)
        row = self.nights.setdefault(night, dict.fromkeys(NUMBERS, 0))
        # What an older release has left of this night may lack a number: it stays unknown.
        if what in row:
            row[what] += number
        while len(self.nights) > REMEMBERED_NIGHTS:
            del self.nights[next(iter(self.nights))]

    def admit(self, visit: str, cap: int, night: str = "") -> bool:
        """Whether one more alert of a visit may pass; counts it as passed or capped."""
        number = self.visits.get(visit, 0)
        if number >= cap:
            self.add("capped", night)
            return False
        self.visits[visit] = number + 1
        while len(self.visits) > REMEMBERED_VISITS:
            del self.visits[next(iter(self.visits))]
        self.add("passed", night)
        return True

    def summary(self) -> dict[str, int]:
        """The numbers alone."""
        return {name: getattr(self, name) for name in NUMBERS}


class RestoreInterrupted(Exception):
    """The worker was asked to stop before it had read its counts."""


def restore(
    conf: Mapping[str, str],
    group_id: str,
    name: str,
    *,
    asked_to_stop: Callable[[], bool] = lambda: False,
    beat: Callable[[], object] = lambda: None,
) -> dict[str, Counts]:
    """The counts that a worker has committed, by filter.

    Waits until everything that was written before this call has been read (`reading.read_own`). `beat` is called
    meanwhile.

    Raises RestoreInterrupted when `asked_to_stop` returns true, ZadsError if the topic cannot be read or a record has
    no counts.
    """

    def turn() -> None:
        beat()
        if asked_to_stop():
            raise RestoreInterrupted

    counts: dict[str, Counts] = {}
    for message in reading.read_own(conf, group_id, names.FILTER_COUNTS_TOPIC, turn):
        counts.update(_of(message, name))
    return counts


def _of(message: Message, name: str) -> dict[str, Counts]:
    """The contents of a record, if it is one of the worker `name`."""
    key = message.key() or b""
    if not (key if isinstance(key, bytes) else key.encode()).endswith(f"/{name}".encode()):
        return {}
    try:
        value = json.loads(message.value() or b"")
        numbers = {key: int(value.get(key, 0)) for key in Counts().summary()}
        return {value["filter"]: Counts(**numbers, visits=dict(value["visits"]), nights=value.get("nights", {}))}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        where = f"{message.topic()}/{message.partition()}/{message.offset()}"
        raise ZadsError(f"the record {where} holds no counts of a worker: {error!r:.200}") from error
