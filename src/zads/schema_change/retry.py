"""What the producer refused for its schema is delivered to it again, and published once.

The topic ``zads_rejected`` has the bytes of each refused packet. Packets whose schema is known by now become exposures
in the producer's spool. So they take the way of every other packet (validation, ledger, receipt), and nothing but the
producer writes alerts. Its ledger decides what has been published already:

1. Bytes that are on their night's topic are not published again, from whichever exposure they come. The ledger knows
   that for `zads.ledger.KEEP_SECONDS`. A packet that was first refused longer ago (less a day) is left out: an earlier
   retry of it may be forgotten.
2. A second run delivers the same exposures under the same names, which the ledger knows as a whole.
3. The name of an exposure follows from its packets and from their last refusals. A producer that does not know the
   schema yet refuses them again. The next run then uses another name, and they are not mistaken for settled.

Nothing is lost: the records stay in ``zads_rejected``, and an exposure appears in the spool whole or not at all. A
refused night may have 15 GB. So the topic is read twice: to choose packets, then to write them.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from confluent_kafka import KafkaException

from zads import header, kafka, ledger, names, reading, schemas
from zads.errors import ZadsError
from zads.packet import Packet, PacketError
from zads.producer.intake import REJECTED_BYTES
from zads.sources.replay import replay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from confluent_kafka import Message

#: Packets that were first refused longer ago are left out: a day less than the ledger remembers alerts.
OLDEST_SECONDS = ledger.KEEP_SECONDS - 86_400.0
#: The most bytes that one exposure has, unless a single packet has more.
PART_BYTES = 200_000_000
#: What is left out, and why.
OTHER = "refused for another reason than their schema"
FILTERS = "alerts on which a filter failed"
CUT = f"larger than {REJECTED_BYTES} bytes, of which the topic has only the beginning: see refused/ in the spool"
OLD = f"refused more than {OLDEST_SECONDS / 86_400:.0f} days ago: an earlier retry may be forgotten"
NO_TOPIC = "their night has no topic: make night ENV=... NIGHT="
STILL = "still refused: "
#: Fields for which a packet is refused if its schema is not known, or is known under another version than it says.
_FIELDS = ("header", "schemavsn")
_LOOK_SECONDS = 0.5  # between two looks into the spool
_RECEIPT_SECONDS = 10.0  # in which a receipt appears after its exposure was moved away
_SUFFIX = ".retry-"
_DIGITS = 16  # of a digest in an exposure's name
_STEM = 120  # characters of an exposure's own name
_UNUSUAL = re.compile(r"[^A-Za-z0-9._+-]")


class Place(NamedTuple):
    """Where a record is in ``zads_rejected``."""

    partition: int
    offset: int


class Refused(NamedTuple):
    """A packet to be delivered again: the place of its last refusal, the digest of its bytes, its topic and size."""

    place: Place
    digest: bytes
    topic: str
    size: int


@dataclass(frozen=True)
class Again:
    """Packets of one refused exposure that are delivered again together, each once, in the order of their places."""

    exposure: str
    packets: tuple[Refused, ...]

    @property
    def name(self) -> str:
        """The name under which they are delivered (3)."""
        digest = hashlib.sha256()
        for one in self.packets:
            digest.update(b"%d/%d " % one.place + one.digest)
        stem = self.exposure
        # It becomes the name of a file: one with odd characters is replaced by its digest.
        if _UNUSUAL.search(stem) or stem.startswith(".") or not 0 < len(stem) <= _STEM:
            stem = f"exposure-{hashlib.sha256(ledger.key_bytes(stem)).hexdigest()[:_DIGITS]}"
        return f"{stem}{_SUFFIX}{digest.hexdigest()[:_DIGITS]}"


@dataclass
class Plan:
    """What is delivered again, and how many refusals are left out, by the reason."""

    exposures: list[Again]
    left: Counter[str]

    @property
    def packets(self) -> int:
        """How many packets are delivered again."""
        return sum(len(one.packets) for one in self.exposures)

    @property
    def size(self) -> int:
        """How many bytes these packets have."""
        return sum(packet.size for one in self.exposures for packet in one.packets)

    def report(self) -> dict[str, Any]:
        """All of it, as JSON's types."""
        exposures = [
            {
                "name": one.name, "exposure": one.exposure, "packets": len(one.packets),
                "topics": sorted({packet.topic for packet in one.packets}),
            }
            for one in self.exposures
        ]  # fmt: skip
        return {"exposures": exposures, "packets": self.packets, "bytes": self.size, "left": dict(self.left)}


def plan(conf: Mapping[str, Any], admission: schemas.Admission = schemas.REFUSE) -> Plan:
    """What of the refusals that the origin has at present can be delivered again.

    `admission` decides on schemas that are not known, as it does in the producer.
    Raises ZadsError if the topic cannot be read.
    """
    try:
        there = set(kafka.admin(conf).list_topics(timeout=reading.ANSWER_SECONDS).topics)
    except KafkaException as error:
        raise kafka.failure(dict(conf), error.args[0]) from error
    return chosen(replay(conf, names.REJECTED_TOPIC), there, admission, time.time())


def chosen(records: Iterable[Message], there: set[str], admission: schemas.Admission, now: float) -> Plan:
    """The plan for records of ``zads_rejected``. `there`: the topics that exist; `now`: Unix seconds."""
    left: Counter[str] = Counter()
    found: dict[tuple[str, bytes], Refused] = {}
    first: dict[bytes, float] = {}
    for message in records:
        data = message.value() or b""
        digest, refused_at = hashlib.sha256(data).digest(), message.timestamp()[1] / 1000
        first[digest] = min(refused_at, first.get(digest, refused_at))
        packet = _packet(data, reading.headers(message), admission)
        if isinstance(packet, str):
            left[packet] += 1
        else:
            found[_exposure(message), digest] = Refused(_place(message), digest, packet.topic, len(data))
    exposures: dict[str, list[Refused]] = {}
    for (name, digest), one in found.items():
        if why := _unfit(one.topic, first[digest], there, now):
            left[why] += 1
        else:
            exposures.setdefault(name, []).append(one)
    return Plan([part for name, packets in exposures.items() for part in _parts(name, packets)], left)


def _parts(exposure: str, packets: list[Refused]) -> Iterator[Again]:
    """The packets of an exposure, in parts that fit into memory: a whole night may have come as one exposure."""
    part: list[Refused] = []
    size = 0
    for one in sorted(packets):
        if part and size + one.size > PART_BYTES:
            yield Again(exposure, tuple(part))
            part, size = [], 0
        part.append(one)
        size += one.size
    yield Again(exposure, tuple(part))


def deliver(conf: Mapping[str, Any], wanted: Plan, directory: Path) -> list[Path]:
    """Write each exposure of a plan as an archive into a directory, such as a spool's incoming/. Returns their paths.

    Raises ZadsError if the topic cannot be read or does not have all packets any more, OSError if the directory cannot
    be written. Then no exposure appears that is not whole.
    """
    paths = [directory / f"{one.name}.tar" for one in wanted.exposures]
    hidden = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in paths]
    places = {
        packet.place: (part, packet)
        for part, one in zip(hidden, wanted.exposures, strict=True)
        for packet in one.packets
    }
    try:
        for part in hidden:
            part.write_bytes(b"")
        for message in replay(conf, names.REJECTED_TOPIC) if places else ():
            if (one := places.pop(_place(message), None)) is not None:
                with one[0].open("ab") as archive:
                    archive.write(_member(one[1], message.value() or b""))
        if places:
            raise ZadsError(
                f"{len(places)} of {wanted.packets} packets are not in {names.REJECTED_TOPIC} any more",
                hint="run the command again",
            )
        for part, path in zip(hidden, paths, strict=True):
            with part.open("ab") as archive:
                archive.write(bytes(2 * tarfile.BLOCKSIZE))
            part.replace(path)
    finally:
        for part in hidden:
            part.unlink(missing_ok=True)
    return paths


class Spool(Protocol):
    """The spool of a producer."""

    def put(self, name: str, content: bytes) -> None:
        """Put an archive into it, whole or not at all."""

    def pending(self) -> int:
        """How many of the archives that were put there still wait."""

    def receipt(self, name: str) -> dict[str, Any]:
        """The producer's receipt of an archive; empty if there is none."""


@dataclass
class Outcome:
    """What became of the packets: published by this run, on their topics already, refused again."""

    published: int = 0
    already: int = 0
    refused: int = 0

    def __str__(self) -> str:
        return f"{self.published} published, {self.already} published before, {self.refused} refused again"


def give(conf: Mapping[str, Any], wanted: Plan, spool: Spool, directory: Path, wait: float) -> Outcome:
    """Put a plan's exposures into a spool, wait until the producer has settled them, and add up their receipts.

    An exposure that has a receipt was given before, and is not put there again. `directory` is for the archives; it
    must be empty, and has room for them. `wait`: seconds.
    Raises what `deliver` raises, and ZadsError if the producer does not settle all of them in time.
    """
    fresh = [one for one in wanted.exposures if not spool.receipt(f"{one.name}.tar")]
    outcome = Outcome(already=wanted.packets - sum(len(one.packets) for one in fresh))
    paths = deliver(conf, Plan(fresh, Counter()), directory)
    for path in paths:
        spool.put(path.name, path.read_bytes())
    until = time.monotonic() + wait
    while waiting := spool.pending():
        if time.monotonic() > until:
            raise ZadsError(
                f"{waiting} exposures still wait in the spool after {wait:.0f} s: the producer will publish them",
                hint="its log says what it waits for",
            )
        time.sleep(_LOOK_SECONDS)
    for path in paths:
        receipt = _receipt(spool, path.name)
        number = sum(receipt.get("published", {}).values())
        before = bool(receipt.get("published_before"))
        outcome.published += 0 if before else number
        outcome.already += receipt.get("already", 0) + (number if before else 0)
        outcome.refused += receipt.get("refused", 0) if receipt else 1
    return outcome


def _receipt(spool: Spool, name: str) -> dict[str, Any]:
    """The receipt of an exposure that was moved away a moment ago; empty if it was refused as a whole."""
    until = time.monotonic() + _RECEIPT_SECONDS
    while not (receipt := spool.receipt(name)) and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    return receipt


def _member(one: Refused, data: bytes) -> bytes:
    """A packet as a member of a tar archive. Raises ZadsError if its record has other bytes now."""
    if hashlib.sha256(data).digest() != one.digest:
        raise ZadsError(f"{names.REJECTED_TOPIC} has changed while it was read", hint="run the command again")
    member = tarfile.TarInfo(f"{one.place.partition}-{one.place.offset:012d}.avro")
    member.size, member.mode = len(data), 0o640
    return member.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _packet(data: bytes, found: Mapping[str, bytes], admission: schemas.Admission) -> Packet | str:
    """The packet that was refused for its schema and is valid now; else why it is left out."""
    if names.HEADER_FILTER in found:
        return FILTERS
    for_field = found.get(names.HEADER_FIELD, b"").decode("utf-8", "replace")
    reason = found.get(names.HEADER_REASON, b"").decode("utf-8", "replace")
    if for_field not in _FIELDS or (for_field == "header" and not reason.startswith(header.UNKNOWN)):
        return OTHER
    if len(data) >= REJECTED_BYTES:
        return CUT
    try:
        return Packet.parse(data, admission=admission)
    except PacketError as error:
        return f"{STILL}{error.field}: {error.reason}"


def _unfit(topic: str, refused_at: float, there: set[str], now: float) -> str:
    """Why a valid packet is not delivered; "" if it is."""
    if refused_at < now - OLDEST_SECONDS:
        return OLD
    night = names.parse_topic(topic)
    return "" if topic in there else f"{NO_TOPIC}{night[0] if night else topic}"


def _exposure(message: Message) -> str:
    """The name of the exposure that was refused, without what earlier retries added to it."""
    key: Any = message.key() or b""
    name = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else str(key)
    return re.sub(rf"({re.escape(_SUFFIX)}[0-9a-f]{{{_DIGITS}}})+\Z", "", name)


def _place(message: Message) -> Place:
    return Place(message.partition() or 0, message.offset() or 0)
