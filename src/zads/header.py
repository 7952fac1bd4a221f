"""The header of a packet's container: its schema, and everything that is derived from the schema.

A survey writes only a handful of different headers. So everything that is derived from a header is computed once and
cached by the header's bytes. The reason for a refusal is cached too, since a night of refused headers must not cost
more than a night of packets.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from fastavro.schema import SchemaParseException, parse_schema

from zads import schemas, strangers
from zads.avro import container, fields, schema
from zads.avro.errors import MismatchError
from zads.avro.read import compile_reader
from zads.avro.validate import compile_validator
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zads.avro.differences import Difference
    from zads.avro.read import Reader
    from zads.avro.validate import Validator

_T = TypeVar("_T")

#: Real schemas have 27,000 bytes; no alert needs a far larger one, and parsing it would cost much time.
MAX_SCHEMA_BYTES = 512_000
#: The number of headers that are cached at a time, and of refused ones.
MAX_HEADERS = 64
MAX_REFUSALS = 8
#: The number of sets of fields of a schema whose readers are cached.
MAX_READERS = 1024
#: A refusal may quote the header, which may hold anything: the quotation is cut at this many characters.
MAX_REFUSAL_TEXT = 1_000
#: How the reason begins for which a packet of an unknown schema is refused, whatever the schemas known at that time.
UNKNOWN = "its schema is none of"
CODECS = {b"null": False, b"deflate": True}
_OTHER_CODECS = (b"snappy", b"zstandard", b"bzip2", b"xz")


class HeaderError(MismatchError):
    """A header that is refused; ``differences``: how a new schema differs from the nearest known one."""

    def __init__(self, reason: str, differences: Sequence[Difference] = ()) -> None:
        super().__init__("header", reason[:MAX_REFUSAL_TEXT])
        self.differences = differences


class ReadableSchema:
    """A schema with everything that is derived from it; each part is worked out when it is first needed.

    ``new`` has the differences of an unknown schema; None if the schema is known. A schema of known meaning may claim
    to be a new version: ``renumbered`` is that version, for its packets that claim the same; else None.
    """

    def __init__(
        self, schema: schemas.Schema, new: schemas.NewSchema | None = None, renumbered: ReadableSchema | None = None
    ) -> None:
        self.schema = schema
        self.new = new
        self.renumbered = renumbered
        self._readers: dict[tuple[str, ...], Reader] = {}
        self._having: dict[tuple[str, ...], tuple[str, ...]] = {}

    @functools.cached_property
    def resolved(self) -> Any:
        """The schema with every named type spelt out."""
        return schema.resolved(self.schema.definition)

    @functools.cached_property
    def validate(self) -> Validator:
        """The validator of a record."""
        return compile_validator(self.resolved)

    def has(self, field: str) -> bool:
        """Whether the schema has a field (a dotted path)."""
        return not fields.missing(self.resolved, _tree((field,)))

    def having(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The fields among these that the schema has."""
        if wanted not in self._having:
            if len(self._having) >= MAX_READERS:
                self._having = {}
            self._having[wanted] = tuple(field for field in wanted if self.has(field))
        return self._having[wanted]

    def reader(self, wanted: tuple[str, ...]) -> Reader:
        """The reader of these fields. Raises ZadsError that names a field which the schema does not have."""
        try:
            return self._readers[wanted]
        except KeyError:
            pass
        result = compile_reader(self.resolved, _tree(wanted)) if wanted else _nothing
        if len(self._readers) >= MAX_READERS:
            self._readers = {}
        self._readers[wanted] = result
        return result


def _nothing(_: bytes, __: int, ___: int) -> dict[str, Any]:
    return {}


def _tree(wanted: tuple[str, ...]) -> dict[str, Any]:
    return fields.tree(field for field in wanted if field)


#: Caches by the headers' bytes: each header's schema and whether its block is compressed; and the reasons for refusals.
#: They are never changed in place, since other threads may be reading them.
_headers: dict[bytes, tuple[ReadableSchema, bool]] = {}
_refusals: dict[bytes, HeaderError] = {}


def read(data: bytes) -> tuple[ReadableSchema, bool, int]:
    """A container's schema, whether its block is compressed, and where the sync marker after its header starts.

    Raises MismatchError for a header that cannot be read, and HeaderError for one that is refused: a new schema that
    lacks a field of the version that it claims is.
    """
    global _headers, _refusals
    for known, (readable, packed) in _headers.items():
        if data.startswith(known):
            return readable, packed, len(known)
    for known, refusal in _refusals.items():
        if data.startswith(known):
            raise HeaderError(refusal.reason, refusal.differences)
    if not data.startswith(container.MAGIC):
        raise MismatchError("", strangers.reason(data))
    entries, position = container.read_header(data)
    try:
        readable, packed = _understood(entries)
    except HeaderError as refusal:
        _refusals = _and(_refusals, data[:position], refusal, MAX_REFUSALS)
        raise
    _headers = _and(_headers, data[:position], (readable, packed), MAX_HEADERS)
    return readable, packed, position


def _and(remembered: Mapping[bytes, _T], key: bytes, value: _T, most: int) -> dict[bytes, _T]:
    """A cache with one more entry, without the oldest if there would be too many."""
    return {**dict(list(remembered.items())[1 - most :]), key: value}


def _understood(entries: Mapping[str, bytes]) -> tuple[ReadableSchema, bool]:
    text = entries.get("avro.schema")
    if text is None:
        raise HeaderError("it has no schema")
    if len(text) > MAX_SCHEMA_BYTES:
        raise HeaderError(f"its schema has {len(text)} bytes, more than {MAX_SCHEMA_BYTES}")
    if survey := _other_survey(text):
        raise HeaderError(survey)
    codec = entries.get("avro.codec", b"null")
    if codec not in CODECS:
        raise HeaderError(_other_codec(codec))
    definition: Any
    try:
        definition = schema.parse(text.decode())
        known = schemas.identify(definition)
    except (ZadsError, RecursionError) as error:
        raise HeaderError(_no_schema(error)) from None
    readable = _new(definition) if known is None else _known(known, definition)
    try:
        parse_schema(definition)  # what most clients do first; it refuses some defaults, which identify() ignores
    except (SchemaParseException, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise HeaderError(f"its schema cannot be used by readers: {error}") from None
    return readable, CODECS[codec]


def _other_survey(text: bytes) -> str:
    try:
        return strangers.survey(schema.parse(text.decode()))
    except ZadsError:
        return ""


def _other_codec(codec: bytes) -> str:
    if codec in _OTHER_CODECS:
        return f"it is compressed with {codec.decode()}, which not every reader has: write it with null or deflate"
    return f"it is compressed in a way that is not ours ({codec!r}): null or deflate"


def _no_schema(error: Exception) -> str:
    text = str(error)
    return text if text.startswith("its schema") else f"its schema is no Avro schema: {text}"


def _known(known: schemas.Schema, definition: dict[str, Any]) -> ReadableSchema:
    claims_other = definition.get("version") != known.version
    new = schemas.renumbered(definition) if claims_other else None
    return _of_form(known.version, known.form, new.schema.version if new else "")


@functools.lru_cache(maxsize=MAX_HEADERS)
def _of_form(version: str, form: str, claimed: str) -> ReadableSchema:
    """The schema of a known form; `claimed` is the new version that it claims to be, or ""."""
    known = next(one for one in schemas.forms() if (one.version, one.form) == (version, form))
    new = schemas.renumbered({**known.definition, "version": claimed}) if claimed else None
    return ReadableSchema(known, None, ReadableSchema(new.schema, new) if new else None)


def _new(definition: Any) -> ReadableSchema:
    """A schema that is not known. Raises HeaderError if no reader of the version that it claims could read it."""
    claimed = definition.get("version") if isinstance(definition, dict) else None
    try:
        new = schemas.compare(definition)
    except (ZadsError, RecursionError) as error:
        raise HeaderError(f"{unknown(claimed)}: {error}") from None
    if not new.compatible:
        raise HeaderError(f"{unknown(claimed)}: {new}", new.differences)
    # Another wording of a cached schema shares everything that was computed for that one.
    for known, _ in _headers.values():
        if known.new and (known.schema.version, known.schema.canonical) == (claimed, new.schema.canonical):
            return known
    return ReadableSchema(new.schema, new)


def unknown(claimed: object) -> str:
    """The beginning of the message that refuses an unknown schema."""
    return f"{UNKNOWN} {', '.join(schemas.known())}, or altered (it says version {claimed!r})"


def forget() -> None:
    """Forget everything that was computed with the forms known so far, and read the forms again."""
    global _headers, _refusals
    schemas.forget()
    _of_form.cache_clear()
    _headers, _refusals = {}, {}
