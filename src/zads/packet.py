"""One alert packet: an Avro object container file with one record, as the survey's pipeline makes it.

A packet's bytes are never encoded again. ``Packet.parse`` validates them without decoding. ``read`` decodes only the
wanted fields and stops after the last of them: a program that wants only the candidate never touches light curve and
cutouts, which come later in the record. ``zads.header`` has everything that depends on the header alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from zads import header, names, schemas
from zads.avro import container
from zads.avro.errors import MismatchError
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zads.avro.differences import Difference

#: A larger packet is refused. Kafka's limits are a little higher here; real packets have about 75,000 bytes.
MAX_BYTES = 4_000_000
#: The survey's names of objects have 12 characters; people and tables show them.
MAX_NAME = 64
#: Julian dates between 1968 and 2132: wide enough for any alert, narrow enough to refuse other kinds of dates.
JD_RANGE = (2_440_000.0, 2_500_000.0)
#: Reasons can quote hostile input: they are cut at this many characters.
MAX_REASON = 500
#: The fields that decide where a packet goes and whose alert it is: all that the producer and the workers read.
IDENTITY = (
    "schemavsn",
    "objectId",
    "candid",
    "candidate.jd",
    "candidate.programid",
    "candidate.candid",
)


class PacketError(ZadsError):
    """Bytes that are not a packet: ``field`` is the dotted path of the wrong field (may be empty), ``reason`` says why.

    ``differences``: all differences of a new schema from the nearest known one.
    """

    def __init__(
        self, reason: str, *, field: str = "", source: str = "", differences: Sequence[Difference] = ()
    ) -> None:
        if len(reason) > MAX_REASON:
            reason = f"{reason[: MAX_REASON - 3]}..."
        where = ": ".join(part for part in (source, field) if part)
        super().__init__(f"{where}: {reason}" if where else reason)
        self.field = field
        self.reason = reason
        self.differences = differences

    @classmethod
    def of(cls, error: MismatchError, source: str = "") -> PacketError:
        """The error of a packet's bytes, with the source that they came from."""
        differences = error.differences if isinstance(error, header.HeaderError) else ()
        return cls(error.reason, field=error.field, source=source, differences=differences)


class Packet:
    """An alert packet, made from bytes by ``parse`` (which validates them) or ``trusted`` (which does not).

    ``data`` are the packet's bytes; the other attributes are decoded when they are first needed.
    """

    __slots__ = ("_block", "_identity", "_readable", "_start", "_stop", "data")

    def __init__(self, data: bytes, readable: header.ReadableSchema, block: bytes, start: int, stop: int) -> None:
        self.data = data
        self._readable = readable
        self._block = block  # the bytes that hold the record: `data`, unless that is compressed
        self._start, self._stop = start, stop  # of the record in `_block`
        self._identity: dict[str, Any] | None = None

    @classmethod
    def parse(cls, data: bytes, *, source: str = "", admission: schemas.Admission = schemas.REFUSE) -> Packet:
        """The packet in these bytes, after all of them have been validated; ``admission`` decides on new schemas.

        Raises PacketError with the path of the wrong field; its message names ``source`` (for example, a file).
        """
        try:
            if not data:
                raise MismatchError("", "it is empty")
            if len(data) > MAX_BYTES:
                raise MismatchError("", f"it has {len(data)} bytes, more than the {MAX_BYTES} that a packet may have")
            return cls._parse(data, admission)
        except MismatchError as error:
            raise PacketError.of(error, source) from None

    @classmethod
    def _parse(cls, data: bytes, admission: schemas.Admission) -> Packet:
        readable, packed, position = header.read(data)
        _admit(readable, admission)
        packet = cls(data, readable, *container.read_record(data, position, packed=packed, limit=MAX_BYTES))
        end = readable.validate(packet._block, packet._start, packet._stop)
        if end != packet._stop:
            raise MismatchError("block", f"the record ends {packet._stop - end} bytes before its block does")
        packet._check_values()
        if packet._readable is not readable:
            _admit(packet._readable, admission)
        return packet

    @classmethod
    def trusted(cls, data: bytes) -> Packet:
        """The packet in bytes that have been validated before: only the header is read.

        A new schema is accepted if it is compatible, since the publisher of the packet has admitted it.
        Raises PacketError if the header is not a packet's.
        """
        try:
            readable, packed, position = header.read(data)
            return cls(data, readable, *container.read_record(data, position, packed=packed, limit=MAX_BYTES))
        except MismatchError as error:
            raise PacketError.of(error) from None

    def _check_values(self) -> None:
        """Check what a schema cannot express: the identity is consistent, and date and programme are possible."""
        identity = self._identify()
        candidate = identity["candidate"]
        version = self.schema_version
        if identity["schemavsn"] != version:
            raise MismatchError("schemavsn", f"it claims version {identity['schemavsn']!r}, its schema is {version}")
        if problem := _name_problem(identity["objectId"]):
            raise MismatchError("objectId", problem)
        if identity["candid"] != candidate["candid"]:
            raise MismatchError("candidate.candid", f"{candidate['candid']} differs from candid {identity['candid']}")
        if identity["candid"] <= 0:
            raise MismatchError("candid", f"{identity['candid']} is not positive")
        if candidate["programid"] not in names.PROGRAMMES:
            raise MismatchError("candidate.programid", f"{candidate['programid']} is not a programme (1, 2 or 3)")
        jd = candidate["jd"]
        if not (math.isfinite(jd) and JD_RANGE[0] <= jd <= JD_RANGE[1]):
            raise MismatchError("candidate.jd", f"{jd} is not a Julian date of an alert")

    def _identify(self) -> dict[str, Any]:
        """The fields of IDENTITY; they also decide on the schema if the header leaves that open."""
        if self._identity is None:
            self._identity = self.read(IDENTITY)
            other = self._readable.renumbered
            if other is not None and self._identity["schemavsn"] == other.schema.version:
                self._readable = other
        return self._identity

    def _schema(self) -> header.ReadableSchema:
        """The schema that the packet claims, if its header claims another version than the schema's."""
        if self._readable.renumbered is not None:
            self._identify()
        return self._readable

    @property
    def schema_version(self) -> str:
        """The version of its schema, e.g. "4.02"."""
        return self._schema().schema.version

    @property
    def new_schema(self) -> schemas.NewSchema | None:
        """The differences of its schema from the nearest known one; None if the schema is known."""
        return self._schema().new

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
        """The programme for which it was observed: 1, 2 or 3."""
        return int(self._identify()["candidate"]["programid"])

    @property
    def jd(self) -> float:
        """Julian date (UTC, days) of the exposure's start."""
        return float(self._identify()["candidate"]["jd"])

    @property
    def night(self) -> str:
        """The night of the exposure, YYYYMMDD."""
        return names.night_of(self.jd)

    @property
    def visit(self) -> str:
        """The exposure, the same for all its alerts."""
        return names.visit_of(self.jd)

    @property
    def topic(self) -> str:
        """The topic in which it is published, by its night and programme."""
        return names.night_topic(self.night, self.programid)

    @property
    def key(self) -> bytes:
        """The record's key: the object's name, so that an object's alerts stay in order."""
        return self.object_id.encode()

    def read(self, fields: Iterable[str]) -> dict[str, Any]:
        """The wanted fields, as nested dictionaries of only these.

        A field is a dotted path ("candidate.magpsf"); the name of a record or array alone means all of it. A path goes
        through an array as if its records stood there ("prv_candidates.magpsf").
        Raises ZadsError that names a field which the packet's schema does not have, and PacketError if a trusted packet
        is not valid.
        """
        read = self._readable.reader(tuple(fields))
        try:
            return read(self._block, self._start, self._stop)
        except (MismatchError, ValueError) as error:
            raise PacketError(f"it was never validated, and cannot be decoded: {error!r}") from None

    def has(self, field: str) -> bool:
        """Whether the packet's schema has a field (a dotted path)."""
        return self._readable.has(field)

    def having(self, fields: tuple[str, ...]) -> tuple[str, ...]:
        """The fields among these (dotted paths) that the packet's schema has."""
        return self._readable.having(fields)

    def __repr__(self) -> str:
        return f"<Packet of {len(self.data)} bytes, schema {self.schema_version}>"


def _admit(readable: header.ReadableSchema, admission: schemas.Admission) -> None:
    """Raises HeaderError for a new schema that is not admitted."""
    new = readable.new
    if new and (refusal := admission.refusal(new)):
        raise header.HeaderError(f"{header.unknown(new.schema.version)}: {refusal}; {new}", new.differences)


def _name_problem(name: str) -> str:
    """Why an object cannot have this name, or "". Names are printed and are keys, so each character must be visible."""
    if not name:
        return "it is empty"
    if len(name) > MAX_NAME:
        return f"it has {len(name)} characters, more than the {MAX_NAME} that an object's name may have"
    if not name.isprintable():
        hidden = next(character for character in name if not character.isprintable())
        return f"it has the character {hidden!a}, which cannot be printed"
    return "it begins or ends with a blank" if name != name.strip() else ""
