"""What tests of the Night Board share: records as a site gives them, and a browser without a window's requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from zads import names
from zads.packet import Packet
from zads.sources import simulator

NIGHT = "20181129"


@dataclass
class Record:
    """A record as confluent_kafka gives it."""

    topic_name: str
    number: int
    place: int
    data: bytes
    pairs: list[tuple[str, bytes]] = field(default_factory=list)
    moment: float = 1_700_000_000.0
    name: bytes = b""

    def topic(self) -> str:
        return self.topic_name

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.place

    def value(self) -> bytes:
        return self.data

    def key(self) -> bytes:
        return self.name

    def headers(self) -> list[tuple[str, bytes]]:
        return self.pairs

    def timestamp(self) -> tuple[int, int]:
        return 2, round(self.moment * 1000)

    def error(self) -> None:
        return None


def records(visits: int = 3, alerts: int = 4, programme: int = 1, moment: float = 1_700_000_000.0) -> list[Record]:
    """The records of a simulated night of one programme, each half a second after its producer sent it."""
    found: list[Record] = []
    # A visit gives its alerts the same numbers whatever their programme is: programmes have visits of their own.
    night = list(simulator.simulate(NIGHT, visits * programme, alerts, programme_mix={programme: 1.0}))
    for _, packets in night[-visits:]:
        for _, data in packets:
            packet = Packet.trusted(data)
            pairs = [
                (names.HEADER_CANDID, str(packet.candid).encode()),
                (names.HEADER_VISIT, packet.visit.encode()),
                (names.HEADER_PRODUCED, f"{moment - 0.5:.6f}".encode()),
            ]
            found.append(Record(packet.topic, 0, len(found), data, pairs, moment, packet.key))
    return found


def passed(record: Record, name: str, offset: int = 0, note: str = '{"rise": 0.3}') -> Record:
    """The record that a worker writes of an alert that a filter passes."""
    pairs = [
        *record.pairs,
        (names.HEADER_FILTER, name.encode()),
        (names.HEADER_ANNOTATIONS, note.encode()),
    ]
    return Record(names.filter_topic(name), 0, offset, record.data, pairs, record.moment + 0.2, record.name)


@dataclass
class Answer:
    """An answer of a web application."""

    status: int
    headers: dict[str, str]
    text: str


def ask(
    application: Any,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    client: str = "192.0.2.1",
) -> Answer:
    """Send one request to an ASGI application, and wait for the whole answer."""
    parts = urlsplit(path)
    given = {"host": "board.example.org", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": parts.path,
        "raw_path": quote(parts.path).encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        "client": (client, 1),
        "server": ("board.example.org", 443),
    }
    messages: list[dict[str, Any]] = []
    wanted: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return wanted.pop() if wanted else await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    asyncio.run(application(scope, receive, send))
    start = messages[0]
    text = b"".join(one.get("body", b"") for one in messages[1:]).decode()
    return Answer(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, text)
