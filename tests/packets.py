"""Packets for tests: made from the known schemas, with any field set to what a test needs."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import fastavro
import numpy as np

from zads import schemas
from zads.avro import schema

#: 2018-11-29, in the evening of the telescope.
JD = 2458451.75
_VALUES = {
    "int": 3,
    "long": 7,
    "float": 1.5,
    "double": 2.5,
    "string": "text",
    "bytes": b"",
    "boolean": True,
    "null": None,
}


def fits(value: float = 1.0) -> bytes:
    """A gzipped FITS image of 63 x 63 pixels of one value."""
    cards = ["SIMPLE  =                    T", "BITPIX  =                  -32", "NAXIS   =                    2"]
    cards += ["NAXIS1  =                   63", "NAXIS2  =                   63", "END"]
    header = "".join(card.ljust(80) for card in cards).ljust(2880).encode()
    data = np.full((63, 63), value, ">f4").tobytes()
    return gzip.compress(header + data.ljust(-(-len(data) // 2880) * 2880, b"\0"), 1, mtime=0)


def make_record(
    version: str = "4.01", candid: int = 1, history: int = 2, definition: dict[str, Any] | None = None, **candidate: Any
) -> dict[str, Any]:
    """A record of a schema version, or of any other schema; keyword arguments set fields of its candidate."""
    record: dict[str, Any] = {}
    for field in schema.resolved(definition or schemas.get(version).definition)["fields"]:
        record[field["name"]] = _value(field["type"], history)
    record |= {"schemavsn": version, "publisher": "ZTF (test)", "objectId": f"ZTF18test{candid:03d}", "candid": candid}
    record["candidate"] |= {"jd": JD, "programid": 1, "candid": candid, "isdiffpos": "t", **candidate}
    for name in ("cutoutScience", "cutoutTemplate", "cutoutDifference"):
        record[name] = {"fileName": f"candid{candid}_{name}.fits.gz", "stampData": fits(float(candid))}
    return record


def _value(schema: Any, history: int) -> Any:
    if isinstance(schema, list):
        return _value(next(branch for branch in schema if branch != "null"), history)
    if isinstance(schema, dict):
        if schema["type"] == "array":
            return [_value(schema["items"], history) for _ in range(history)]
        if schema["type"] == "map":
            return {"key": _value(schema["values"], history)}
        if schema["type"] in ("enum", "fixed"):
            return schema["symbols"][-1] if "symbols" in schema else bytes(schema["size"])
        return {field["name"]: _value(field["type"], history) for field in schema["fields"]}
    return _VALUES[schema]


def encode(record: dict[str, Any], version: str | None = None, definition: dict[str, Any] | None = None) -> bytes:
    """A record as an object container, with a known version's schema or any other."""
    buffer = io.BytesIO()
    schema = definition or schemas.get(version or record["schemavsn"]).definition
    fastavro.writer(buffer, schema, [record], sync_marker=bytes(range(16)))
    return buffer.getvalue()


def make_packet(version: str = "4.01", candid: int = 1, history: int = 2, **candidate: Any) -> bytes:
    """The bytes of a packet of a schema version; keyword arguments set fields of its candidate."""
    return encode(make_record(version, candid, history, **candidate))


def reencoded(
    data: bytes,
    change: Callable[[dict[str, Any]], object],
    schema_change: Callable[[dict[str, Any]], object] | None = None,
) -> bytes:
    """A packet with its record changed in place, and its schema too where that is given."""
    reader = fastavro.reader(io.BytesIO(data))
    record, schema = next(iter(reader)), json.loads(reader.metadata["avro.schema"])
    if schema_change:
        schema_change(schema)
    change(record)
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, [record])
    return buffer.getvalue()
