"""One alert packet: an Avro object container file with one record, as the survey's pipeline makes it.

A packet's bytes are never encoded anew. ``Packet.parse`` validates them without decoding; ``read`` decodes the fields
asked for and stops after the last of them: Avro is sequential, so whoever wants only the candidate never touches light
curve and cutouts. What follows from a header alone is ``zads.header``'s.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from zads import header, layout, schemas, topics
from zads.errors import ZadsError
from zads.header import MAGIC as MAGIC
from zads.header import PacketError as PacketError

SYNC_BYTES = 16
#: A packet above this is refused: Kafka's limits here are a little higher, real packets are about 75,000 bytes.
MAX_BYTES = 4_000_000
#: A cutout has 63 x 63 pixels, 20,160 bytes unpacked; no more than this is unpacked.
MAX_CUTOUT_BYTES = 4_000_000
#: An object's name has 12 characters; people and tables read it.
MAX_NAME = 64
#: Any alert's Julian date is between 1968 and 2132.
JD_RANGE = (2_440_000.0, 2_500_000.0)
_AXES = ("NAXIS1", "NAXIS2")
_MJD_EPOCH_JD = 2_400_000.5
_IDENTITY = (
    "schemavsn",
    "objectId",
    "candid",
    "candidate.jd",
    "candidate.programid",
    "candidate.candid",
)


class Packet:
    """An alert, by its bytes; made by ``parse`` (validates) or ``trusted`` (does not).

    ``data`` are the packet's bytes; the other attributes are decoded when they are first asked for.
    """

    __slots__ = ("_block", "_header", "_identity", "_start", "_stop", "data")

    def __init__(self, data: bytes, about: header.Header, block: bytes, start: int, stop: int) -> None:
        self.data = data
        self._header = about
        self._block = block  # what the record is in: `data`, unless that is compressed
        self._start, self._stop = start, stop  # of the record within it
        self._identity: dict[str, Any] | None = None

    @classmethod
    def parse(cls, data: bytes, *, source: str = "", admission: schemas.Admission = schemas.REFUSE) -> Packet:
        """The packet that these bytes are, all of it validated; ``admission`` decides on schemas that are not known.

        Raises PacketError with the path of the field that is wrong, ``source`` (a file's name, say) in its message.
        """
        try:
            return cls._parse(data, admission)
        except layout.MismatchError as error:
            raise PacketError(error.reason, field=error.field, source=source) from None
        except PacketError as error:
            raise error.of(source) from None

    @classmethod
    def _parse(cls, data: bytes, admission: schemas.Admission) -> Packet:
        if not data:
            raise PacketError("it is empty")
        if len(data) > MAX_BYTES:
            raise PacketError(f"it has {len(data)} bytes, more than the {MAX_BYTES} that a packet may have")
        about, packed, position = header.read(data)
        _admit(about, admission)
        block, start, stop = _block(data, packed, position)
        end = about.walk(block, start, stop)
        if end != stop:
            raise PacketError(f"the record ends {stop - end} bytes before its block does", field="block")
        packet = cls(data, about, block, start, stop)
        packet._check_values()
        if packet._header is not about:
            _admit(packet._header, admission)
        return packet

    @classmethod
    def trusted(cls, data: bytes) -> Packet:
        """The packet that these bytes are, on the word of whoever validated them: only the header is looked at.

        A new schema is taken if it is compatible: whoever published the packet has admitted it.
        Raises PacketError if even that is not a packet's.
        """
        try:
            about, packed, position = header.read(data)
            block, start, stop = _block(data, packed, position)
        except layout.MismatchError as error:
            raise PacketError(error.reason, field=error.field) from None
        return cls(data, about, block, start, stop)

    def _check_values(self) -> None:
        """What the schema cannot say: an alert's identity is consistent, and its date and programme are possible."""
        identity = self._identify()
        candidate = identity["candidate"]
        version = self.schema_version
        if identity["schemavsn"] != version:
            raise PacketError(
                f"it claims version {identity['schemavsn']!r}, its schema is {version}", field="schemavsn"
            )
        if problem := _name_problem(identity["objectId"]):
            raise PacketError(problem, field="objectId")
        if identity["candid"] != candidate["candid"]:
            raise PacketError(
                f"{candidate['candid']} differs from candid {identity['candid']}", field="candidate.candid"
            )
        if identity["candid"] <= 0:
            raise PacketError(f"{identity['candid']} is not positive", field="candid")
        if candidate["programid"] not in topics.PROGRAMMES:
            raise PacketError(f"{candidate['programid']} is not a programme (1, 2 or 3)", field="candidate.programid")
        jd = candidate["jd"]
        if not (math.isfinite(jd) and JD_RANGE[0] <= jd <= JD_RANGE[1]):
            raise PacketError(f"{jd} is not a Julian date of an alert", field="candidate.jd")

    def _identify(self) -> dict[str, Any]:
        if self._identity is None:
            self._identity = self.read(_IDENTITY)
            other = self._header.renumbered
            if other is not None and self._identity["schemavsn"] == other.schema.version:
                self._header = other
        return self._identity

    def _about(self) -> header.Header:
        """What holds for it: its own word on its version decides, where its header leaves that open."""
        if self._header.renumbered is not None:
            self._identify()
        return self._header

    @property
    def schema_version(self) -> str:
        """The version of its schema, e.g. "4.02"."""
        return self._about().schema.version

    @property
    def new_schema(self) -> schemas.NewSchema | None:
        """What is different in its schema; None if that is known."""
        return self._about().new

    @property
    def candid(self) -> int:
        """The candidate's number: unique to this alert."""
        return int(self._identify()["candid"])

    @property
    def object_id(self) -> str:
        """The object's name, e.g. "ZTF18abcdefg": shared by all alerts at its position."""
        return str(self._identify()["objectId"])

    @property
    def programid(self) -> int:
        """The programme that it was observed for: 1, 2 or 3."""
        return int(self._identify()["candidate"]["programid"])

    @property
    def jd(self) -> float:
        """Julian date (UTC, days) of the exposure's start."""
        return float(self._identify()["candidate"]["jd"])

    @property
    def night(self) -> str:
        """The night of the exposure, YYYYMMDD."""
        return topics.night_of(self.jd)

    @property
    def visit(self) -> str:
        """The exposure: its start as a modified Julian date with five decimals (0.9 s), the same for all its alerts."""
        return f"{self.jd - _MJD_EPOCH_JD:.5f}"

    @property
    def topic(self) -> str:
        """Where it is published: follows from its night and programme."""
        return topics.topic(self.night, self.programid)

    @property
    def key(self) -> bytes:
        """The record's key: an object's alerts stay in order."""
        return self.object_id.encode()

    def read(self, fields: Iterable[str]) -> dict[str, Any]:
        """The fields asked for, as nested dictionaries of just these.

        A field is a dotted path ("candidate.magpsf"); the name of a record or array alone means all of it. Within the
        records of an array a path goes on as if there were one ("prv_candidates.magpsf").
        Errors: ZadsError naming a field that the packet's schema does not have; PacketError when a packet that was
        trusted did not deserve it.
        """
        read = self._header.reader(tuple(fields))
        try:
            return read(self._block, self._start, self._stop)
        except (layout.MismatchError, ValueError) as error:
            raise PacketError(f"it was never validated, and cannot be decoded: {error!r}") from None

    def has(self, field: str) -> bool:
        """Whether the packet's schema has a field (a dotted path)."""
        return self._header.has(field)

    def having(self, fields: tuple[str, ...]) -> tuple[str, ...]:
        """Those of some fields (dotted paths) that the packet's schema has."""
        return self._header.having(fields)

    def __repr__(self) -> str:
        return f"<Packet of {len(self.data)} bytes, schema {self.schema_version}>"


def _admit(about: header.Header, admission: schemas.Admission) -> None:
    """Raises PacketError for a new schema that is not admitted."""
    if about.new and (refusal := admission.refusal(about.new)):
        text = f"{header.unknown(about.schema.version)}: {refusal}; {about.new}"
        raise PacketError(text, field="header", differences=about.new.differences)


def _name_problem(name: str) -> str:
    """Why an object cannot be called so; "" if it can. Names are printed, and are keys: nothing in them is unseen."""
    if not name:
        return "it is empty"
    if len(name) > MAX_NAME:
        return f"it has {len(name)} characters, more than the {MAX_NAME} that an object's name may have"
    if not name.isprintable():
        hidden = next(character for character in name if not character.isprintable())
        return f"it has the character {hidden!a}, which cannot be printed"
    return "it begins or ends with a blank" if name != name.strip() else ""


def _block(data: bytes, packed: bool, position: int) -> tuple[bytes, int, int]:
    """The bytes that the one record is in, and where: checks the block, its sync marker, and that nothing follows."""
    sync = data[position : position + SYNC_BYTES]
    if len(sync) < SYNC_BYTES:
        raise PacketError("the data end within its header", field="header")
    count, position = layout.read_long(data, position + SYNC_BYTES, len(data), "block")
    if count != 1:
        raise PacketError(f"it holds {count} records, not one", field="block")
    size, start = layout.read_long(data, position, len(data), "block")
    stop = start + size
    if size < 0 or stop + SYNC_BYTES > len(data):
        raise PacketError(f"it is cut off: its block claims {size} bytes, {len(data) - start} are left", field="block")
    if data[stop : stop + SYNC_BYTES] != sync:
        raise PacketError("the marker after its record is not the one in its header", field="block")
    if stop + SYNC_BYTES != len(data):
        raise PacketError(_following(data, stop + SYNC_BYTES, sync), field="block")
    if not packed:
        return data, start, stop
    try:
        plain, rest = _inflate(data[start:stop], -zlib.MAX_WBITS, MAX_BYTES)
    except ValueError as error:
        raise PacketError(f"its record cannot be unpacked: {error}", field="block") from None
    # fastavro leaves three of the four bytes of zlib's checksum behind what it compresses.
    if rest and rest != zlib.adler32(plain).to_bytes(4, "big")[:3]:
        raise PacketError(f"{len(rest)} bytes follow its compressed record", field="block")
    return plain, 0, len(plain)


def _following(data: bytes, end: int, sync: bytes) -> str:
    """What is behind a packet."""
    if data.startswith(MAGIC, end):
        return f"{len(data) - end} bytes follow its end, where another packet begins: one packet is one file"
    try:
        count, first = layout.read_long(data, end, len(data), "block")
        size, first = layout.read_long(data, first, len(data), "block")
        if count > 0 and size >= 0 and data[first + size : first + size + SYNC_BYTES] == sync:
            return f"it has more than one block, the second of {count} records: a packet is one record in one block"
    except layout.MismatchError:
        pass
    return f"{len(data) - end} bytes follow its end"


def _inflate(packed: bytes, wbits: int, limit: int) -> tuple[bytes, bytes]:
    """What was compressed, at most so many bytes, and what follows it. Errors: ValueError with what is wrong."""
    unpacker = zlib.decompressobj(wbits)
    try:
        plain = unpacker.decompress(packed, limit + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(plain) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    if not unpacker.eof:
        raise ValueError("the compressed data are cut off")
    return plain, unpacker.unused_data


def cutout(stamp: bytes) -> npt.NDArray[np.float32]:
    """A cutout's pixels (rows, columns; usually 63 x 63) from ``stampData``, a gzipped FITS image of 32-bit floats.

    Errors: ZadsError if it is not such an image. The format is that of the FITS standard 4.0, sections 3 and 4.
    """
    try:
        plain, _ = _inflate(stamp, 16 + zlib.MAX_WBITS, MAX_CUTOUT_BYTES)
    except ValueError as error:
        raise ZadsError(f"a cutout cannot be unpacked: {error}") from None
    cards, first = _fits_cards(plain)
    if cards.get("BITPIX") != "-32" or cards.get("NAXIS") != "2" or {"BSCALE", "BZERO"} & cards.keys():
        raise ZadsError("a cutout is not a plain image of 32-bit floats")
    columns, rows = (int(size) if size.isdecimal() else 0 for size in map(cards.get, _AXES, ("", "")))
    if not columns or not rows:
        raise ZadsError("a cutout's header does not say how large it is")
    if len(plain) < first + 4 * rows * columns:
        raise ZadsError("a cutout's data end within the image")
    pixels = np.frombuffer(plain, ">f4", rows * columns, first)
    return pixels.reshape(rows, columns).astype(np.float32)


def _fits_cards(plain: bytes) -> tuple[dict[str, str], int]:
    """A FITS header's keywords with their values, and where the data begin: at the next multiple of 2880 bytes."""
    text = plain.decode("latin-1")
    cards: dict[str, str] = {}
    for start in range(0, len(plain) - 79, 80):
        keyword = text[start : start + 8].rstrip()
        if keyword == "END":
            return cards, -(-(start + 80) // 2880) * 2880
        cards[keyword] = text[start + 10 : start + 80].partition("/")[0].strip()
    raise ZadsError("a cutout has no FITS header")
