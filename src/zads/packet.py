"""One alert packet: an Avro object container file with one record, as the survey's pipeline makes it.

A packet's bytes are never encoded anew. ``Packet.parse`` validates them without decoding; ``read`` decodes the fields
asked for and stops after the last of them: Avro is sequential, so whoever wants only the candidate never touches light
curve and cutouts. What follows from a header alone (schema, layout, projections) is worked out once and remembered by
the header's bytes, since a survey writes only a handful of them.
"""

from __future__ import annotations

import functools
import io
import json
import math
import zlib
from collections.abc import Iterable
from typing import Any

import fastavro
import numpy as np
import numpy.typing as npt
from fastavro.schema import SchemaParseException, parse_schema

from zads import layout, projection, schemas, topics
from zads.errors import ZadsError

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
#: A packet above this is refused: Kafka's limits here are a little higher, real packets are about 75,000 bytes.
MAX_BYTES = 4_000_000
#: Real schemas have 27,000 bytes; parsing a far larger one is work that no alert asks for.
MAX_SCHEMA_BYTES = 512_000
#: A cutout has 63 x 63 pixels, 20,160 bytes unpacked; no more than this is unpacked.
MAX_CUTOUT_BYTES = 4_000_000
#: A reason may quote what it is about, which may be anything: it is cut at so many characters.
MAX_REASON = 500
#: Headers that are remembered at a time.
MAX_HEADERS = 64
#: Sets of fields whose readers are remembered, of each schema.
MAX_READERS = 1024
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


class PacketError(ZadsError):
    """Bytes that are not a packet: ``field`` is the dotted path of what is wrong (may be empty), ``reason`` why."""

    def __init__(self, reason: str, *, field: str = "", source: str = "") -> None:
        if len(reason) > MAX_REASON:
            reason = f"{reason[: MAX_REASON - 3]}..."
        where = ": ".join(part for part in (source, field) if part)
        super().__init__(f"{where}: {reason}" if where else reason)
        self.field = field
        self.reason = reason


class Packet:
    """An alert, by its bytes; made by ``parse`` (validates) or ``trusted`` (does not).

    ``data`` are the packet's bytes; the other attributes are decoded when they are first asked for.
    """

    __slots__ = ("_block", "_header", "_identity", "_start", "_stop", "data")

    def __init__(self, data: bytes, header: _Header, block: bytes, start: int, stop: int) -> None:
        self.data = data
        self._header = header
        self._block = block  # what the record is in: `data`, unless that is compressed
        self._start, self._stop = start, stop  # of the record within it
        self._identity: dict[str, Any] | None = None

    @classmethod
    def parse(cls, data: bytes, *, source: str = "") -> Packet:
        """The packet that these bytes are, all of it validated.

        Errors: PacketError with the path of the field that is wrong, ``source`` (a file's name, say) in its message.
        """
        try:
            return cls._parse(data)
        except layout.MismatchError as error:
            raise PacketError(error.reason, field=error.field, source=source) from None
        except PacketError as error:
            raise PacketError(error.reason, field=error.field, source=source) from None

    @classmethod
    def _parse(cls, data: bytes) -> Packet:
        if not data:
            raise PacketError("it is empty")
        if len(data) > MAX_BYTES:
            raise PacketError(f"it has {len(data)} bytes, more than the {MAX_BYTES} that a packet may have")
        header, packed, position = _header_of(data)
        block, start, stop = _block(data, packed, position)
        end = header.walk(block, start, stop)
        if end != stop:
            raise PacketError(f"the record ends {stop - end} bytes before its block does", field="block")
        packet = cls(data, header, block, start, stop)
        packet._check_values()
        return packet

    @classmethod
    def trusted(cls, data: bytes) -> Packet:
        """The packet that these bytes are, on the word of whoever validated them: only the header is looked at.

        Errors: PacketError if even that is not a packet's.
        """
        try:
            header, packed, position = _header_of(data)
            block, start, stop = _block(data, packed, position)
        except layout.MismatchError as error:
            raise PacketError(error.reason, field=error.field) from None
        return cls(data, header, block, start, stop)

    def _check_values(self) -> None:
        """What the schema cannot say: an alert's identity is consistent, and its date and programme are possible."""
        identity = self._identify()
        candidate = identity["candidate"]
        version = self._header.schema.version
        if identity["schemavsn"] != version:
            raise PacketError(
                f"it claims version {identity['schemavsn']!r}, its schema is {version}", field="schemavsn"
            )
        if not identity["objectId"]:
            raise PacketError("it is empty", field="objectId")
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
        return self._identity

    @property
    def schema_version(self) -> str:
        """The version of its schema, e.g. "4.02"."""
        return self._header.schema.version

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
            raise _undecodable(error) from None

    def read_all(self) -> dict[str, Any]:
        """The whole record, as fastavro.reader gives it. Errors: as ``read``."""
        stream = io.BytesIO(self._block)
        stream.seek(self._start)
        try:
            result: dict[str, Any] = fastavro.schemaless_reader(stream, self._header.parsed, None)  # type: ignore[assignment]
        except (ArithmeticError, EOFError, LookupError, MemoryError, TypeError, ValueError) as error:
            raise _undecodable(error) from None
        return result

    def has(self, field: str) -> bool:
        """Whether the packet's schema has a field (a dotted path)."""
        return self._header.has(field)

    def __repr__(self) -> str:
        return f"<Packet of {len(self.data)} bytes, schema {self.schema_version}>"


def _undecodable(error: Exception) -> PacketError:
    return PacketError(f"it was never validated, and cannot be decoded: {error!r}")


class _Header:
    """Everything that follows from a known schema: worked out once a version, whatever the wording of a header."""

    def __init__(self, schema: schemas.Schema) -> None:
        self.schema = schema
        self.resolved = schemas.resolved(schema.definition)
        self.walk = layout.compile_layout(self.resolved)
        # Defaults are left out: they are for readers that lack a field, and some of ZTF's are not of their type.
        self.parsed = parse_schema(_named(self.resolved))
        self._readers: dict[tuple[str, ...], projection.Reader] = {}

    def has(self, field: str) -> bool:
        return not projection.missing(self.resolved, _tree((field,)))

    def reader(self, fields: tuple[str, ...]) -> projection.Reader:
        """What reads these fields. Errors: ZadsError naming one that the schema does not have."""
        try:
            return self._readers[fields]
        except KeyError:
            pass
        result = projection.compile_reader(self.resolved, _tree(fields)) if fields else _nothing
        if len(self._readers) >= MAX_READERS:
            self._readers = {}
        self._readers[fields] = result
        return result


def _nothing(_: bytes, __: int, ___: int) -> dict[str, Any]:
    return {}


def _tree(fields: Iterable[str]) -> dict[str, Any]:
    """Dotted paths as nested dictionaries; an empty one means everything below."""
    root: dict[str, Any] = {}
    whole = {field for field in fields if field}
    for field in sorted(whole):
        parts = field.split(".")
        if any(".".join(parts[:count]) in whole for count in range(1, len(parts))):
            continue  # all of a record that holds it is wanted
        node = root
        for part in parts:
            node = node.setdefault(part, {})
    return root


def _named(schema: Any, path: str = "alert") -> Any:
    """The schema with each record named by its path.

    Avro knows a type by its name alone and wants it defined once, but here the type that ``cutoutScience`` and
    ``cutoutTemplate`` share is spelt out at both.
    """
    if isinstance(schema, list):
        return [_named(branch, path) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if schema["type"] == "array":
        return {"type": "array", "items": _named(schema["items"], path)}
    fields = [{"name": f["name"], "type": _named(f["type"], f"{path}.{f['name']}")} for f in schema["fields"]]
    return {"type": "record", "name": path, "fields": fields}


@functools.cache
def _header(version: str) -> _Header:
    return _Header(schemas.get(version))


#: What is known of a header's bytes: what follows from its schema, and whether the block is compressed.
#: Never changed in place: threads may be looking.
_headers: dict[bytes, tuple[_Header, bool]] = {}


def _header_of(data: bytes) -> tuple[_Header, bool, int]:
    """What is known of a container's header, whether its block is compressed, and where its sync marker starts."""
    global _headers
    for known, (header, packed) in _headers.items():
        if data.startswith(known):
            return header, packed, len(known)
    position, metadata = _metadata(data)
    header, packed = _understood(metadata)
    kept = list(_headers.items())[1 - MAX_HEADERS :]
    _headers = {**dict(kept), data[:position]: (header, packed)}
    return header, packed, position


def _metadata(data: bytes) -> tuple[int, dict[str, bytes]]:
    if not data.startswith(MAGIC):
        raise PacketError("it is not an Avro object container (it does not begin with 'Obj' 1)")
    metadata: dict[str, bytes] = {}
    position, end = len(MAGIC), len(data)
    while True:
        count, position = layout.read_long(data, position, end, "header")
        if count < 0:
            count = -count
            _, position = layout.read_long(data, position, end, "header")
        if not count:
            return position, metadata
        if count > end - position:
            raise PacketError(f"it claims {count} entries", field="header")
        for _ in range(count):
            key, position = _sized(data, position, end)
            value, position = _sized(data, position, end)
            try:
                value.decode()  # Avro lets it be anything; fastavro, hence most clients, fails when it is no text
                metadata[key.decode()] = value
            except UnicodeDecodeError:
                raise PacketError("an entry is not UTF-8", field="header") from None


def _sized(data: bytes, start: int, end: int) -> tuple[bytes, int]:
    size, first = layout.read_long(data, start, end, "header")
    if size < 0 or first + size > end:
        raise PacketError("the data end within it", field="header")
    return data[first : first + size], first + size


def _understood(metadata: dict[str, bytes]) -> tuple[_Header, bool]:
    text = metadata.get("avro.schema")
    if text is None:
        raise PacketError("it has no schema", field="header")
    if len(text) > MAX_SCHEMA_BYTES:
        raise PacketError(f"its schema has {len(text)} bytes, more than {MAX_SCHEMA_BYTES}", field="header")
    codec = metadata.get("avro.codec", b"null")
    if codec not in (b"null", b"deflate"):
        raise PacketError(f"it is compressed in a way that is not ours ({codec!r}): null or deflate", field="header")
    try:
        definition = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise PacketError(f"its schema is not JSON: {error}", field="header") from None
    try:
        schema = schemas.identify(definition)
    except (ZadsError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise PacketError(f"its schema is no Avro schema: {error}", field="header") from None
    if schema is None:
        claimed = definition.get("version") if isinstance(definition, dict) else None
        raise PacketError(
            f"its schema is none of {', '.join(schemas.known())}, or altered (it says version {claimed!r})",
            field="header",
        )
    try:
        parse_schema(definition)  # what most clients do first; it refuses some defaults, which identify() ignores
    except (SchemaParseException, AttributeError, KeyError, TypeError, ValueError) as error:
        raise PacketError(f"its schema cannot be used by readers: {error}", field="header") from None
    return _header(schema.version), codec == b"deflate"


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
        raise PacketError(f"{len(data) - stop - SYNC_BYTES} bytes follow its end", field="block")
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
