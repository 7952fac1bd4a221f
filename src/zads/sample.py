"""Publishes a sample of packets to a topic of its own, for testers; no night, filter or reader of nights sees it.

The packets are validated as the producer does it, and have the same key, headers and bytes. All are read and judged
before the first is written, so a wrong file publishes nothing. They are not in the ledger, so what is published twice
is there twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_END, KafkaError, KafkaException, TopicPartition

from zads import kafka, names, reading
from zads.errors import ZadsError, some
from zads.packet import Packet, PacketError
from zads.site.cluster import ANSWER, Cluster
from zads.site.samples import Sample
from zads.transactions import ClientLost, Record, TransactionAborted, Transactions

#: The most packets and bytes of a sample: it is read into memory.
MOST_PACKETS, MOST_BYTES = 20_000, 2_000_000_000
PATIENCE = 60.0  # seconds that the brokers have for each call
_TOGETHER = 200  # packets of a transaction
_NAMED = 5  # files that a refusal names


def judged(sample: Sample, packets: Iterable[tuple[str, bytes]]) -> list[Record]:
    """The records of a sample's packets (each with the name of its file).

    Raises ZadsError that names the files that are not packets, or of a programme that the sample may not hold.
    """
    records, refused, size = [], [], 0
    for name, data in packets:
        try:
            records.append(_record(sample, data))
        except PacketError as error:
            refused.append(f"{name}: {error}")
        size += len(data)
        if len(records) > MOST_PACKETS or size > MOST_BYTES:
            raise ZadsError(
                f"a sample has at most {MOST_PACKETS} packets and {MOST_BYTES // 10**6} MB", hint="take fewer files"
            )
    if refused:
        raise ZadsError(
            f"nothing is published, since {len(refused)} packets cannot be: {some(refused, _NAMED)}",
            hint="take these files out, or change the sample's programmes in the inventory",
        )
    if not records:
        raise ZadsError("there is no packet to publish", hint="name a directory, an archive or a file of packets")
    return records


def _record(sample: Sample, data: bytes) -> Record:
    packet = Packet.parse(data)
    if packet.programid not in sample.programmes:
        allowed = " and ".join(map(str, sorted(sample.programmes)))
        raise PacketError(f"it is of programme {packet.programid}, and the sample may hold {allowed}")
    headers = [
        (names.HEADER_CANDID, str(packet.candid).encode()),
        (names.HEADER_VISIT, packet.visit.encode()),
        (names.HEADER_SCHEMA, packet.schema_version.encode()),
        (names.HEADER_FORMAT, names.FORMAT_AVRO),
    ]
    return Record(sample.topic, packet.key, data, headers)


def held(conf: Mapping[str, str], sample: Sample) -> int | None:
    """How many records a sample's topic holds; None if there is no such topic. Raises KafkaException."""
    places = reading.existing(conf, [sample.topic])
    if not places:
        return None
    return sum(1 for _ in reading.read_topics(conf, [sample.topic]))


def publish(conf: Mapping[str, str], sample: Sample, records: Sequence[Record], *, replace: bool = False) -> None:
    """Write a sample's records, at first deleting those that are there if wanted.

    Raises ZadsError if the topic is missing, or the brokers do not take the records; confluent_kafka.KafkaException if
    the site does not answer.
    """
    if not reading.existing(conf, [sample.topic]):
        raise ZadsError(
            f"there is no topic {sample.topic} at {sample.site}",
            hint="a deployment makes it: make deploy TAGS=topics,access",
        )
    if replace:
        _empty(conf, sample.topic)
    patience = _Patience(sample.topic)
    name = names.program("sample", sample.name)
    writer = Transactions(conf, name, call_seconds=5.0, waiting=patience, stamp=True)
    writer.open()
    for chunk in _chunks(records):
        patience.renew()
        try:
            writer.write(chunk)
        except (TransactionAborted, ClientLost) as error:
            raise ZadsError(
                f"the sample is not published whole: {error}", hint="publish it again, with --replace"
            ) from error


class _Patience:
    """Called while the brokers do not take more. Raises ZadsError PATIENCE seconds after it was renewed."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.renew()

    def renew(self) -> None:
        """Something has been written: begin again."""
        self._until = time.monotonic() + PATIENCE

    def __call__(self, reason: str) -> None:
        if time.monotonic() > self._until:
            raise ZadsError(f"{self._topic} cannot be written: {reason}", hint="is the site up? make verify")


def _chunks(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    return (records[begin : begin + _TOGETHER] for begin in range(0, len(records), _TOGETHER))


def _empty(conf: Mapping[str, str], topic: str) -> None:
    """Delete all records of a topic."""
    wanted = [TopicPartition(*place, OFFSET_END) for place in reading.existing(conf, [topic])]
    answers: Mapping[Any, Any] = kafka.admin(conf).delete_records(wanted, request_timeout=ANSWER)
    for answer in answers.values():
        answer.result(2 * ANSWER)


def remove(conf: Mapping[str, str], name: str) -> bool:
    """Remove the topic of a sample with its records. Returns whether there was one. Raises KafkaException."""
    topic = names.sample_topic(name)
    if not reading.existing(conf, [topic]):
        return False
    try:
        Cluster(conf).delete_topics([topic])
    except KafkaException as error:
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise
    return True
