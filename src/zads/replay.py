"""Streams recorded alerts again, into a topic of choice: in the night's own pace, faster, or as fast as it goes.

1. The topic must exist, and must not be one of those that programs and subscribers take for live.
2. The transactional id of the topic is taken: a second replay into it ends the first one, and what an interrupted one
   left open is aborted.
3. The topic is read. A packet that it holds already is not written again, so an interrupted replay can be repeated.
4. The packets are written in their order, in transactions, each when its time has come. Key, bytes and headers are
   those of the original, and only the time of production is new.
5. The topic is read again: it must hold every packet, byte for byte.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, Message

from zads import julian, kafka, names, reading, schemas
from zads.archive.contents import Contents
from zads.archive.record import parse_member
from zads.errors import ZadsError
from zads.packet import Packet, PacketError
from zads.sources import files
from zads.sources import replay as topics
from zads.transactions import ClientLost, Header, Record, TransactionAborted, Transactions

PATIENCE = 60.0  # seconds that the brokers have for each transaction
MOST_TOGETHER = 200  # packets of a transaction
MOST_BYTES = 16_000_000
#: A packet that is due so soon goes with those that are due now: a transaction takes about as long.
SOON_SECONDS = 0.1
_KEPT_HEADERS = (*names.ALERT_HEADERS, names.HEADER_FORMAT, names.HEADER_VERSION)


class Recorded(NamedTuple):
    """A packet to be streamed again: its record's key and headers, its bytes, and its moment (Unix seconds)."""

    key: bytes | None
    headers: tuple[Header, ...]
    data: bytes
    moment: float
    candid: int

    @property
    def sha256(self) -> bytes:
        """The SHA-256 of its bytes."""
        return hashlib.sha256(self.data).digest()

    @property
    def mark(self) -> bytes:
        """Identifies its candid and bytes: 64 bits of each."""
        return _mark(self.candid, self.data)


def _mark(candid: int, data: bytes) -> bytes:
    return candid.to_bytes(8, "big", signed=True) + hashlib.sha256(data).digest()[:8]


@dataclass
class Outcome:
    """What a replay did: packets written, packets that were there already, and the contents of the source."""

    contents: Contents
    written: int = 0
    already: int = 0


def check_target(topic: str) -> None:
    """Check that alerts may be streamed again into a topic. Raises ZadsError for a live topic and for our own."""
    why = ""
    if topic.startswith(names.NIGHT_PREFIX):
        why = "is the topic of a night: its subscribers would take the alerts for new ones"
    elif names.filter_name(topic) is not None or names.is_owner_topic(topic):
        why = "belongs to a filter"
    elif topic.startswith(("zads_", "_", "mm2-")):
        why = "belongs to the system"
    if why:
        raise ZadsError(
            f"{topic} {why}",
            hint="a sample of the inventory has a topic to replay into: ztf_sample_NAME (docs/archive.md)",
        )


def of_path(path: Path, programmes: Collection[int]) -> Iterator[Recorded]:
    """The packets of an archive, a directory or a file, in its order; the moment of each is that of its exposure.

    Raises ZadsError for a file that is no packet, or of another programme than these.
    """
    admission = schemas.Admission(accepts=True)  # the survey published them
    for name, data in files.packets(path):
        packet = Packet.parse(data, source=name, admission=admission)
        _check_programme(name, packet.programid, programmes)
        headers = [
            (names.HEADER_CANDID, str(packet.candid).encode()),
            (names.HEADER_VISIT, packet.visit.encode()),
            (names.HEADER_SCHEMA, packet.schema_version.encode()),
            (names.HEADER_FORMAT, names.FORMAT_AVRO),
        ]
        if (member := parse_member(name.rpartition("/")[2])) and member[1] > 1:
            headers.append((names.HEADER_VERSION, str(member[1]).encode()))
        yield Recorded(packet.key, tuple(headers), data, julian.unix_seconds(packet.jd), packet.candid)


def of_topic(conf: Mapping[str, Any], topic: str, programmes: Collection[int]) -> Iterator[Recorded]:
    """The alerts of a night's topic, in the order in which they were produced. Raises ZadsError as `of_path` does."""
    for message in topics.in_time(conf, topic, _produced):
        packet = Packet.trusted(message.value() or b"")
        _check_programme(f"{topic}/{message.partition()}/{message.offset()}", packet.programid, programmes)
        known = reading.headers(message)
        headers = tuple((n, known[n]) for n in _KEPT_HEADERS if n in known and n != names.HEADER_PRODUCED)
        yield Recorded(message.key(), headers, packet.data, _produced(message), packet.candid)


def _produced(message: Message) -> float:
    """When a record was produced, by its header, else when it arrived (Unix seconds)."""
    try:
        return float(reading.headers(message)[names.HEADER_PRODUCED])
    except (KeyError, ValueError):
        return message.timestamp()[1] / 1000


def _check_programme(where: str, programme: int, allowed: Collection[int]) -> None:
    if programme not in allowed:
        raise ZadsError(
            f"{where} is of programme {programme}",
            hint=f"--programme {programme} allows it, if everybody who reads the topic may see it",
        )


class Pace:
    """Says when a packet is due: the first one now, the others after the same time as in the recording, over `speed`.

    `speed` 0 means at once. `clock` and `sleep` as in `time`.
    """

    def __init__(
        self,
        speed: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._speed, self._clock, self._sleep = speed, clock, sleep
        self._begin: tuple[float, float] | None = None

    def left(self, moment: float) -> float:
        """Seconds until a packet with this moment is due; 0 if it is."""
        if not self._speed:
            return 0.0
        if self._begin is None:
            self._begin = self._clock(), moment
        now, first = self._begin
        return max(0.0, now + (moment - first) / self._speed - self._clock())

    def wait(self, moment: float) -> None:
        """Wait until a packet with this moment is due."""
        while (left := self.left(moment)) > 0:
            self._sleep(min(left, 1.0))


def together(source: Iterable[Recorded], pace: Pace) -> Iterator[list[Recorded]]:
    """The packets of each transaction, when its first one is due."""
    batch: list[Recorded] = []
    size = 0
    for one in source:
        full = len(batch) >= MOST_TOGETHER or size + len(one.data) > MOST_BYTES
        if batch and (full or pace.left(one.moment) > SOON_SECONDS):
            yield batch
            batch, size = [], 0
        if not batch:
            pace.wait(one.moment)
        batch.append(one)
        size += len(one.data)
    if batch:
        yield batch


def replay(
    conf: Mapping[str, Any],
    topic: str,
    source: Iterable[Recorded],
    *,
    pace: Pace,
    again: bool = False,
    say: Callable[[int], object] = lambda _: None,
) -> Outcome:
    """Stream packets into a topic. `again`: also those that it holds already. `say` gets the number that is written.

    Raises ZadsError.
    """
    check_target(topic)
    try:
        return _replay(conf, topic, source, pace, again=again, say=say)
    except KafkaException as error:
        raise kafka.failure(conf, error.args[0]) from error
    except TimeoutError as error:
        raise ZadsError(f"cannot read {topic}: no answer in time") from error
    except PacketError as error:
        raise ZadsError(f"a packet of the source cannot be read: {error}") from error


def _replay(
    conf: Mapping[str, Any],
    topic: str,
    source: Iterable[Recorded],
    pace: Pace,
    *,
    again: bool,
    say: Callable[[int], object],
) -> Outcome:
    # Step 1.
    if not reading.existing(conf, [topic]):
        raise ZadsError(
            f"there is no topic {topic}, or this client may not see it",
            hint="a sample of the inventory has a topic: samples in group_vars, make deploy TAGS=topics,access",
        )
    # Step 2.
    writer = Transactions(conf, names.program("replay", topic), call_seconds=5.0, waiting=_Patience(topic), stamp=True)
    writer.open()
    # Step 3.
    there = set() if again else held(conf, topic)
    outcome, streamed = Outcome(Contents()), set()
    # Step 4.
    for batch in together(source, pace):
        fresh = []
        for one in batch:
            outcome.contents.add(one.candid, len(one.data), one.sha256)
            streamed.add(one.mark)
            if one.mark in there:
                outcome.already += 1
            else:
                fresh.append(one)
        if fresh:
            _write(writer, topic, fresh)
            outcome.written += len(fresh)
            say(outcome.written)
    # Step 5.
    if lost := streamed - held(conf, topic):
        raise ZadsError(f"{topic} lacks {len(lost)} of the packets", hint="it keeps records for too short a time")
    return outcome


def _write(writer: Transactions, topic: str, batch: Sequence[Recorded]) -> None:
    try:
        writer.write([Record(topic, one.key, one.data, one.headers) for one in batch])
    except ClientLost as error:
        why = "another replay into it has begun" if error.fenced else str(error)
        raise ZadsError(f"{topic} cannot be written: {why}", hint="run it again: it goes on where it ended") from error
    except TransactionAborted as error:
        raise ZadsError(
            f"{topic} cannot be written: {error}", hint="run it again: it goes on where it ended"
        ) from error


class _Patience:
    """Called while the brokers do not take more. Raises ZadsError when they have not for PATIENCE seconds."""

    def __init__(self, topic: str) -> None:
        self._topic, self._last, self._begin = topic, 0.0, 0.0

    def __call__(self, reason: str) -> None:
        now = time.monotonic()
        # Calls of one wait follow each other within seconds.
        if now - self._last > PATIENCE / 2:
            self._begin = now
        self._last = now
        if now - self._begin > PATIENCE:
            raise ZadsError(f"{self._topic} cannot be written: {reason}", hint="is the site up? make verify")


def held(conf: Mapping[str, Any], topic: str) -> set[bytes]:
    """The marks of the packets that a topic holds.

    Waits until what was written before this call is committed: just after a commit, readers may not see it yet. Raises
    ZadsError if that takes too long, or the topic cannot be read.
    """
    found, until = set(), time.monotonic() + PATIENCE

    def turn() -> None:
        nonlocal until
        if time.monotonic() > until:
            raise ZadsError(f"{topic} cannot be read to its end", hint="a transaction of another program is open there")

    group = kafka.own_group(conf, names.program("replay"))
    for message in reading.read_own(conf, group, topic, turn):
        until = time.monotonic() + PATIENCE
        data = message.value() or b""
        try:
            found.add(_mark(Packet.trusted(data).candid, data))
        except PacketError:
            continue  # somebody else's record
    return found
