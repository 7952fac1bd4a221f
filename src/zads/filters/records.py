"""Alerts as a worker reads them from Kafka, and the records that it writes of them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import Message, TopicPartition

from zads import names, reading
from zads.errors import ZadsError
from zads.packet import Packet
from zads.rejections import rejection
from zads.transactions import Header, Record

_HEADERS = (*names.ALERT_HEADERS, names.HEADER_FORMAT, names.HEADER_VERSION)


@dataclass(frozen=True)
class AlertRecord:
    """One alert of a batch and what is known of it without decoding it.

    `night` (YYYYMMDD) and `programme` are its topic's; `candid` and `visit` are empty if neither its headers nor its
    packet has them. `headers` are those that go on with it.
    """

    message: Message
    data: bytes
    night: str
    programme: int
    candid: str
    visit: str
    headers: list[Header]

    @classmethod
    def of(cls, message: Message) -> AlertRecord:
        """From a record of a night's topic. If it lacks our headers they are made from its packet."""
        data = message.value() or b""
        known = reading.headers(message)
        night, programme = names.parse_topic(message.topic() or "") or ("", 0)
        if names.HEADER_CANDID not in known or names.HEADER_VISIT not in known:
            with contextlib.suppress(ZadsError):
                packet = Packet.trusted(data)
                known.setdefault(names.HEADER_CANDID, str(packet.candid).encode())
                known.setdefault(names.HEADER_VISIT, packet.visit.encode())
                known.setdefault(names.HEADER_SCHEMA, packet.schema_version.encode())
        return cls(
            message,
            data,
            night,
            programme,
            known.get(names.HEADER_CANDID, b"").decode(errors="replace"),
            known.get(names.HEADER_VISIT, b"").decode(errors="replace"),
            [(name, known[name]) for name in _HEADERS if name in known],
        )

    @property
    def key(self) -> bytes | None:
        """The record's key."""
        key = self.message.key()
        return key.encode() if isinstance(key, str) else key


def of_passed(alert: AlertRecord, name: str, annotations: str) -> Record:
    """The record of an alert that the filter `name` passes, with its annotations (JSON; empty for none)."""
    headers = [
        *alert.headers,
        (names.HEADER_FILTER, name.encode()),
        (names.HEADER_ANNOTATIONS, (annotations or "{}").encode()),
    ]
    return Record(names.filter_topic(name), alert.key, alert.data, headers)


def of_failed(alert: AlertRecord, name: str, reason: str) -> Record:
    """The rejection of an alert on which the filter `name` failed; without a name, of one that cannot be decoded."""
    source = f"{alert.message.topic()}/{alert.message.partition()}/{alert.message.offset()}"
    headers = [*alert.headers, (names.HEADER_FILTER, name.encode())] if name else alert.headers
    return rejection(alert.key, alert.data, source=source, reason=reason, headers=headers)


def first_offsets(batch: Sequence[AlertRecord]) -> list[TopicPartition]:
    """Where a batch begins in each partition."""
    return [TopicPartition(*where, min(offsets)) for where, offsets in _offsets(batch).items()]


def next_offsets(batch: Sequence[AlertRecord]) -> list[TopicPartition]:
    """What comes behind a batch in each partition: the offsets to be committed with it."""
    return [TopicPartition(*where, max(offsets) + 1) for where, offsets in _offsets(batch).items()]


def _offsets(batch: Sequence[AlertRecord]) -> dict[reading.Partition, list[int]]:
    found: dict[reading.Partition, list[int]] = {}
    for alert in batch:
        found.setdefault(reading.place(alert.message), []).append(alert.message.offset() or 0)
    return found
