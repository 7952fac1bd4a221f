"""An object container's header: the schema in it, and all that follows from that.

It is worked out once and remembered by the header's bytes, since a survey writes only a handful of them. So is why a
header is refused: a night of them must not cost more than a night of packets.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from fastavro.schema import SchemaParseException, parse_schema

from zads import avro, layout, projection, schemas, strangers
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_T = TypeVar("_T")

MAGIC = b"Obj\x01"
#: Real schemas have 27,000 bytes; parsing a far larger one is work that no alert asks for.
MAX_SCHEMA_BYTES = 512_000
#: A reason may quote what it is about, which may be anything: it is cut at so many characters.
MAX_REASON = 500
#: Headers that are remembered at a time, and refused ones.
MAX_HEADERS = 64
MAX_REFUSALS = 8
#: Sets of fields whose readers are remembered, of each schema.
MAX_READERS = 1024
CODECS = {b"null": False, b"deflate": True}
_OTHER_CODECS = (b"snappy", b"zstandard", b"bzip2", b"xz")


class PacketError(ZadsError):
    """Bytes that are not a packet: ``field`` is the dotted path of what is wrong (may be empty), ``reason`` why.

    ``differences``: for a new schema, everything in which it differs from the nearest known one.
    """

    def __init__(
        self, reason: str, *, field: str = "", source: str = "", differences: Sequence[schemas.Difference] = ()
    ) -> None:
        if len(reason) > MAX_REASON:
            reason = f"{reason[: MAX_REASON - 3]}..."
        where = ": ".join(part for part in (source, field) if part)
        super().__init__(f"{where}: {reason}" if where else reason)
        self.field = field
        self.reason = reason
        self.differences = differences

    def of(self, source: str) -> PacketError:
        """The same, with the source that it is about."""
        return PacketError(self.reason, field=self.field, source=source, differences=self.differences)


class Header:
    """Everything that follows from a schema: worked out when it is first asked for, whatever a header's wording.

    ``new`` says what is different in a schema that is not known; None if it is. ``renumbered`` is what holds instead
    for packets that say that they are of the new version that this schema claims; None if it claims none.
    """

    def __init__(
        self, schema: schemas.Schema, new: schemas.NewSchema | None = None, renumbered: Header | None = None
    ) -> None:
        self.schema = schema
        self.new = new
        self.renumbered = renumbered
        self._readers: dict[tuple[str, ...], projection.Reader] = {}
        self._having: dict[tuple[str, ...], tuple[str, ...]] = {}

    @functools.cached_property
    def resolved(self) -> Any:
        """The schema, every named type spelt out."""
        return schemas.resolved(self.schema.definition)

    @functools.cached_property
    def walk(self) -> layout.Walk:
        """Validates a record."""
        return layout.compile_layout(self.resolved)

    def has(self, field: str) -> bool:
        """Whether the schema has a field (a dotted path)."""
        return not projection.missing(self.resolved, _tree((field,)))

    def having(self, fields: tuple[str, ...]) -> tuple[str, ...]:
        """Those of some fields that the schema has."""
        if fields not in self._having:
            if len(self._having) >= MAX_READERS:
                self._having = {}
            self._having[fields] = tuple(field for field in fields if self.has(field))
        return self._having[fields]

    def reader(self, fields: tuple[str, ...]) -> projection.Reader:
        """What reads these fields. Raises ZadsError naming one that the schema does not have."""
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


#: What is known of a header's bytes: what follows from its schema, and whether the block is compressed.
#: Never changed in place: threads may be looking.
_headers: dict[bytes, tuple[Header, bool]] = {}
_refusals: dict[bytes, PacketError] = {}


def read(data: bytes) -> tuple[Header, bool, int]:
    """What is known of a container's header, whether its block is compressed, and where its sync marker starts.

    Raises PacketError or layout.MismatchError for one that cannot be read, that of a new schema without some field of
    the version that it claims among them.
    """
    global _headers, _refusals
    for known, (header, packed) in _headers.items():
        if data.startswith(known):
            return header, packed, len(known)
    for known, refusal in _refusals.items():
        if data.startswith(known):
            raise refusal.of("")
    position, metadata = _metadata(data)
    try:
        header, packed = _understood(metadata)
    except PacketError as refusal:
        _refusals = _and(_refusals, data[:position], refusal, MAX_REFUSALS)
        raise
    _headers = _and(_headers, data[:position], (header, packed), MAX_HEADERS)
    return header, packed, position


def _and(remembered: Mapping[bytes, _T], key: bytes, value: _T, most: int) -> dict[bytes, _T]:
    return {**dict(list(remembered.items())[1 - most :]), key: value}


def _metadata(data: bytes) -> tuple[int, dict[str, bytes]]:
    if not data.startswith(MAGIC):
        raise PacketError(strangers.reason(data))
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
            name, position = _sized(data, position, end)
            value, position = _sized(data, position, end)
            try:
                value.decode()  # Avro lets it be anything; fastavro, hence most clients, fails when it is no text
                key = name.decode()
            except UnicodeDecodeError:
                raise PacketError("an entry is not UTF-8", field="header") from None
            if key in metadata:  # readers differ in which of them they take
                raise PacketError(f"it has the entry {key!r} twice", field="header")
            metadata[key] = value


def _sized(data: bytes, start: int, end: int) -> tuple[bytes, int]:
    size, first = layout.read_long(data, start, end, "header")
    if size < 0 or first + size > end:
        raise PacketError("the data end within it", field="header")
    return data[first : first + size], first + size


def _understood(metadata: dict[str, bytes]) -> tuple[Header, bool]:
    text = metadata.get("avro.schema")
    if text is None:
        raise PacketError("it has no schema", field="header")
    if len(text) > MAX_SCHEMA_BYTES:
        raise PacketError(f"its schema has {len(text)} bytes, more than {MAX_SCHEMA_BYTES}", field="header")
    codec = metadata.get("avro.codec", b"null")
    if codec not in CODECS:
        raise PacketError(_other_codec(codec), field="header")
    definition: Any
    try:
        definition = avro.parse(text.decode())
        schema = schemas.identify(definition)
    except (ZadsError, RecursionError) as error:
        raise PacketError(_no_schema(error), field="header") from None
    header = _new(definition) if schema is None else _known(schema, definition)
    try:
        parse_schema(definition)  # what most clients do first; it refuses some defaults, which identify() ignores
    except (SchemaParseException, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise PacketError(f"its schema cannot be used by readers: {error}", field="header") from None
    return header, CODECS[codec]


def _other_codec(codec: bytes) -> str:
    if codec in _OTHER_CODECS:
        return f"it is compressed with {codec.decode()}, which not every reader has: write it with null or deflate"
    return f"it is compressed in a way that is not ours ({codec!r}): null or deflate"


def _no_schema(error: Exception) -> str:
    text = str(error)
    return text if text.startswith("its schema") else f"its schema is no Avro schema: {text}"


def _known(schema: schemas.Schema, definition: dict[str, Any]) -> Header:
    claims_other = definition.get("version") != schema.version
    new = schemas.renumbered(definition) if claims_other else None
    return _of_form(schema.version, schema.form, new.schema.version if new else "")


@functools.lru_cache(maxsize=MAX_HEADERS)
def _of_form(version: str, form: str, claimed: str) -> Header:
    """The header of a known form; `claimed`: the new version that it says it is, if it does."""
    schema = next(one for one in schemas.forms() if (one.version, one.form) == (version, form))
    new = schemas.renumbered({**schema.definition, "version": claimed}) if claimed else None
    return Header(schema, None, Header(new.schema, new) if new else None)


def _new(definition: Any) -> Header:
    """The header of a schema that is not known. Raises PacketError if no reader of its version could read it."""
    claimed = definition.get("version") if isinstance(definition, dict) else None
    try:
        new = schemas.compare(definition)
    except (ZadsError, RecursionError) as error:
        raise PacketError(f"{unknown(claimed)}: {error}", field="header") from None
    if not new.compatible:
        raise PacketError(f"{unknown(claimed)}: {new}", field="header", differences=new.differences)
    # Another wording of one that is remembered shares all that was worked out for it.
    for header, _ in _headers.values():
        if header.new is not None and (header.schema.version, header.schema.canonical) == (
            claimed,
            new.schema.canonical,
        ):
            return header
    return Header(new.schema, new)


def unknown(claimed: object) -> str:
    """What is said of a schema that is not known."""
    return f"its schema is none of {', '.join(schemas.known())}, or altered (it says version {claimed!r})"
