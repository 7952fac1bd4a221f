"""The different schemas that are found in packets and in .avsc files."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zads import header, schemas, strangers
from zads.avro import container, schema
from zads.avro.errors import MismatchError
from zads.errors import ZadsError
from zads.packet import MAX_BYTES
from zads.sources import files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

AVSC = ".avsc"


@dataclass
class Sample:
    """One schema: where it was found first, and the versions that its packets say they have (`schemavsn`)."""

    definition: dict[str, Any]
    first: str
    packets: int = 0
    said: Counter[str] = field(default_factory=Counter)

    @property
    def version(self) -> str:
        """The version that its packets say, if they agree; else the one that the schema claims; "" if it claims none.

        Packets are refused if they do not say the version of their schema, and the survey's schemas lag behind.
        """
        if len(self.said) == 1:
            (said,) = self.said
            return said
        claimed = self.definition.get("version")
        return claimed if schemas.is_version(claimed) else ""


@dataclass
class Found:
    """All samples, the most frequent first, and the files without a usable schema: name -> why."""

    samples: list[Sample]
    unusable: dict[str, str]


def read(paths: Iterable[Path]) -> Found:
    """The schemas in packets, .avsc files, directories and archives. Raises files.SourceError, ZadsError if none is."""
    samples: dict[tuple[str, object], Sample] = {}
    unusable: dict[str, str] = {}
    for path in paths:
        for item in files.read(path):
            if item.passed:
                continue
            name = item.name if path.name == item.name else f"{path}/{item.name}"
            try:
                _take(samples, name, item)
            except (ZadsError, MismatchError, RecursionError) as error:
                unusable[name] = error.reason if isinstance(error, MismatchError) else str(error)
    if not samples:
        why = next(iter(unusable.items()), None)
        raise ZadsError(
            f"no schema found{f': {why[0]}: {why[1]}' if why else ''}",
            hint="give packets, .avsc files, or directories or archives of them",
        )
    return Found(sorted(samples.values(), key=lambda one: -one.packets), unusable)


def _take(samples: dict[tuple[str, object], Sample], name: str, item: files.Item) -> None:
    if item.refused:
        raise ZadsError(item.refused)
    is_schema = item.name.lower().endswith(AVSC)
    definition, said = _schema(item.data) if is_schema else _packet(item.data)
    key = schema.canonical(definition), str(definition.get("version"))
    sample = samples.setdefault(key, Sample(definition, name))
    if not is_schema:
        sample.packets += 1
        sample.said[said] += 1


def _schema(data: bytes) -> tuple[dict[str, Any], str]:
    return _readable(data).schema.definition, ""


@functools.lru_cache(maxsize=header.MAX_HEADERS)  # the packets of a night share a few schemas
def _readable(text: bytes) -> header.ReadableSchema:
    """A schema, whether it is known or not. Raises ZadsError if it is not a schema that an alert could have."""
    if len(text) > header.MAX_SCHEMA_BYTES:
        raise ZadsError(f"its schema has {len(text)} bytes, more than {header.MAX_SCHEMA_BYTES}")
    try:
        definition = schema.parse(text.decode())
    except UnicodeDecodeError:
        raise ZadsError("its schema is not text in UTF-8") from None
    resolved = schema.resolved(definition)
    if not isinstance(definition, dict) or not isinstance(resolved, dict) or resolved["type"] != "record":
        raise ZadsError("its schema is not a record")
    return header.ReadableSchema(schemas.Schema("", definition, schema.canonical(definition), form=""))


def _packet(data: bytes) -> tuple[dict[str, Any], str]:
    """The schema of a packet, which may be one that a producer refuses, and the version that the packet says."""
    if not data.startswith(container.MAGIC):
        raise ZadsError(strangers.reason(data))
    entries, position = container.read_header(data)
    readable = _readable(entries.get("avro.schema", b""))
    definition = readable.schema.definition
    if survey := strangers.survey(definition):
        raise ZadsError(survey)
    codec = entries.get("avro.codec", b"null")
    if codec not in header.CODECS:
        raise ZadsError(f"it is compressed in a way that is not ours ({codec!r})")
    block, start, stop = container.read_record(data, position, packed=header.CODECS[codec], limit=MAX_BYTES)
    # A reader assumes valid bytes.
    if readable.validate(block, start, stop) != stop:
        raise ZadsError("its record does not fill its block")
    if not readable.has("schemavsn"):
        return definition, ""
    return definition, str(readable.reader(("schemavsn",))(block, start, stop)["schemavsn"])
