"""The ledger's records in a backup: read from the topic, written to it again, and packed into members.

A record keeps its key, value, headers and time. The topic is compacted: of each key only the newest record counts.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from zads import kafka, names, reading
from zads.errors import ZadsError

_PART_BYTES = 8 << 20
_FLUSH_SECONDS = 60


class LedgerRecord(NamedTuple):
    """A record of the ledger; `written` is its time in milliseconds since 1970."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    written: int


def read(conf: Mapping[str, str]) -> list[LedgerRecord]:
    """The newest record of each key that was not deleted, in the order of the topic. Raises ZadsError.

    Only committed records count: what a producer is writing at this moment is not published yet.
    """
    found: dict[bytes, LedgerRecord] = {}
    try:
        for message in reading.read_topics(conf, [names.LEDGER_TOPIC]):
            key, value = message.key(), message.value()
            if not isinstance(key, bytes):
                continue
            found.pop(key, None)
            if value is not None:
                headers = tuple(reading.headers(message).items())
                found[key] = LedgerRecord(key, bytes(value), headers, message.timestamp()[1])
    except KafkaException as error:
        raise kafka.failure(conf, error.args[0]) from error
    return list(found.values())


def write(conf: Mapping[str, str], records: Collection[LedgerRecord]) -> None:
    """Write records with their times. Repeating it changes nothing. Raises ZadsError unless every one is stored."""
    failures: list[str] = []

    def note(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failures.append(error.str())

    client = kafka.producer(conf)
    for record in records:
        while True:
            try:
                client.produce(
                    names.LEDGER_TOPIC, record.value, record.key, headers=list(record.headers),
                    timestamp=record.written,
                    on_delivery=note,
                )  # fmt: skip
                client.poll(0)
                break
            except BufferError:
                client.poll(0.1)
    if client.flush(_FLUSH_SECONDS) or failures:
        raise ZadsError(
            f"the ledger was not written whole: {failures[0] if failures else 'the brokers do not answer'}",
            hint="run it again: what is there already is written once more, which changes nothing",
        )


def pack(records: Iterable[LedgerRecord]) -> Iterator[tuple[str, bytes]]:
    """Records as members of a backup: a record a line."""
    lines: list[bytes] = []
    size = number = 0
    for record in records:
        line = json.dumps(
            [
                _text(record.key),
                _text(record.value),
                [[name, _text(one)] for name, one in record.headers],
                record.written,
            ]
        ).encode()
        lines.append(line)
        size += len(line)
        if size >= _PART_BYTES:
            yield f"ledger/{number:05d}.jsonl", b"\n".join(lines)
            lines, size, number = [], 0, number + 1
    if lines or not number:
        yield f"ledger/{number:05d}.jsonl", b"\n".join(lines)


def unpack(members: Mapping[str, bytes]) -> list[LedgerRecord]:
    """The records of a backup. Raises ZadsError if they cannot be read."""
    try:
        return [_record(json.loads(line)) for name in sorted(members) for line in members[name].splitlines()]
    except (ValueError, TypeError) as error:
        raise ZadsError(f"the backup's ledger cannot be read: {error}") from error


def _record(line: Any) -> LedgerRecord:
    key, value, headers, written = line
    pairs = tuple((str(name), base64.b64decode(one, validate=True)) for name, one in headers)
    return LedgerRecord(
        base64.b64decode(key, validate=True), base64.b64decode(value, validate=True), pairs, int(written)
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
