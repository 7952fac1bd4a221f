"""What is told of an alert: its hops, as plain data for a terminal, for JSON and for a page."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from confluent_kafka import Message

from zads import names, reading
from zads.site.entry import Site

Verdict = Literal["passed", "cut", "not passed", "cut or not passed", "failed", "waiting", "shadow", "off", "not read"]
"""What became of an alert at a filter.

``cut``: it passed, and the cap of its visit was reached. ``failed``: the filter raised an error, or took too long.
``waiting``: the workers have not come so far. ``not read``: the filter does not read this programme. ``shadow``: it
publishes nothing.
"""


@dataclass(frozen=True)
class LedgerHop:
    """The ledger's row of an alert: the exposure that brought it, its night, and when it was published (Unix seconds).

    `content` begins the SHA-256 of its bytes (hexadecimal, 12 digits).
    """

    exposure: str
    night: str
    written: float
    content: str


@dataclass(frozen=True)
class Sighting:
    """A record of an alert in a topic: its place, when its site received it (Unix seconds), and what its headers say.

    `produced`: when it was handed to Kafka (Unix seconds), NaN if that is not known; `version`: 2 for second contents.
    """

    site: Site
    topic: str
    partition: int
    offset: int
    received: float
    produced: float
    visit: str
    schema: str
    object: str
    version: int
    size: int
    sha256: str

    @classmethod
    def of(cls, site: Site, message: Message) -> Sighting:
        """The record that a consumer has read at a site."""
        known, value = reading.headers(message), message.value() or b""

        def text(name: str) -> str:
            return known.get(name, b"").decode(errors="replace")

        return cls(
            site=site, topic=message.topic() or "", partition=message.partition() or 0, offset=message.offset() or 0,
            received=message.timestamp()[1] / 1000, produced=_number(text(names.HEADER_PRODUCED)),
            visit=text(names.HEADER_VISIT), schema=text(names.HEADER_SCHEMA),
            object=(message.key() or b"").decode(errors="replace"),
            version=int(_number(text(names.HEADER_VERSION) or "1", 1)), size=len(value),
            sha256=hashlib.sha256(value).hexdigest(),
        )  # fmt: skip

    @property
    def place(self) -> str:
        """Topic, partition and offset, as one text."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True)
class RefusalHop:
    """Refused input with this candid at a site: why, in which field, and where it came from.

    `filter`: the filter that failed on it; empty if the site refused it.
    """

    site: Site
    place: str
    received: float
    reason: str
    field: str
    source: str
    filter: str = ""


@dataclass(frozen=True)
class FilterHop:
    """What a filter made of an alert; `reason` explains the verdict. `record`: its record in the filter's topic."""

    filter: str
    verdict: Verdict
    reason: str = ""
    annotations: str = ""
    record: Sighting | None = None


@dataclass
class Trace:
    """Everything that was found of an alert, and notes on what could not be looked at."""

    candid: int
    night: str | None = None
    ledger: list[LedgerHop] = field(default_factory=list)
    origin: list[Sighting] = field(default_factory=list)
    public: list[Sighting] = field(default_factory=list)
    filters: list[FilterHop] = field(default_factory=list)
    refusals: list[RefusalHop] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def found(self) -> bool:
        """Whether anything was found of it."""
        return bool(self.ledger or self.origin or self.public or self.refusals or self.filters)

    def as_json(self) -> dict[str, Any]:
        """The trace as plain data; what is not a number becomes null in JSON (`zads.output`)."""
        return {**asdict(self), "found": self.found}


def _number(text: str, otherwise: float = float("nan")) -> float:
    try:
        return float(text)
    except ValueError:
        return otherwise
