"""Says what a file that is not a packet seems to be, so that the person who dropped it knows what to do."""

from __future__ import annotations

import re
from typing import Any

#: How files of a kind begin, at which byte, what they are, and what to do.
_BEGINNINGS = (
    (b"\x1f\x8b", 0, "a gzip file", "unpack it"),
    (b"PK\x03\x04", 0, "a zip file", "unpack it, or make a tar archive of its packets"),
    (b"PK\x05\x06", 0, "an empty zip file", "make a tar archive of the packets"),
    (b"\xfd7zXZ\x00", 0, "an xz file", "unpack it"),
    (b"BZh", 0, "a bzip2 file", "unpack it"),
    (b"\x28\xb5\x2f\xfd", 0, "a zstandard file", "unpack it"),
    (b"\x04\x22\x4d\x18", 0, "an lz4 file", "unpack it"),
    (b"\xff\x06\x00\x00sNaPpY", 0, "a snappy file", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7-Zip file", "unpack it, or make a tar archive of its packets"),
    (b"ustar", 257, "a tar archive", "give it a name that ends in .tar"),
    (b"SIMPLE  =", 0, "a FITS image", "cutouts belong into a packet"),
    (b"\x89PNG", 0, "a PNG image", ""),
    (b"\xff\xd8\xff", 0, "a JPEG image", ""),
    (b"%PDF", 0, "a PDF document", ""),
    (b"\x89HDF", 0, "an HDF5 file", ""),
    (b"PAR1", 0, "a Parquet file", "packets are one Avro object container each"),
    (b"version https://git-lfs", 0, "a Git LFS pointer", "fetch the file itself: git lfs pull"),
    (b"\xc3\x01", 0, "Avro's single-object encoding", "write an object container, with the schema in it"),
    (b"\x80\x04\x95", 0, "a Python pickle", "write an Avro object container"),
)
_FRAME_BYTES = 5
_TEXT_BYTES = 512
#: Other surveys whose alerts are Avro, by the first part of their schemas' names: "lsst.v7_4.alert", "ls4.v0_1.alert".
_SURVEYS = {"lsst": "the Rubin Observatory's LSST", "ls4": "LS4"}
_SURVEYS_ALERT = re.compile(rf"({'|'.join(_SURVEYS)})(\.v[0-9_]+)?\.alert")
#: A field that their alerts have and ZTF's have not.
_SURVEYS_FIELD = "diaSource"


def reason(data: bytes) -> str:
    """Why bytes that do not begin as an object container are not a packet, and what they seem to be."""
    guess, advice = _seems(data)
    said = "it is not an Avro object container (it does not begin with 'Obj' 1)"
    return ": ".join([said, f"it seems to be {guess}"] if guess else [said]) + (f"; {advice}" if advice else "")


def _seems(data: bytes) -> tuple[str, str]:
    """What bytes seem to be, and what to do with them; "" if neither is clear."""
    for beginning, offset, name, advice in _BEGINNINGS:
        if data.startswith(beginning, offset):
            return name, advice
    if data.startswith(b"Obj") and len(data) > 3:
        return f"an object container of version {data[3]}", "write it with version 1"
    if not data.strip(b"\0"):
        return f"{len(data)} zero bytes", "the file was never written to its end"
    if data[0] == 0 and len(data) > _FRAME_BYTES:
        number = int.from_bytes(data[1:_FRAME_BYTES], "big")
        return (
            f"a message framed for a schema registry (a zero byte, then the number of a schema: {number})",
            "write an object container, with the schema in it",
        )
    return _text(data[:_TEXT_BYTES], len(data))


def _text(start: bytes, size: int) -> tuple[str, str]:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text in UTF-16", ""
    try:
        text = start.decode("utf-8-sig" if size <= _TEXT_BYTES else "latin-1").strip().lower()
    except UnicodeDecodeError:
        return "", ""
    if text.startswith(("<!doctype html", "<html")):
        return "an HTML page", "perhaps what a server said instead of the file"
    if text.startswith("<"):
        return "XML", ""
    if text.startswith(("{", "[")):
        return ("an Avro schema, or JSON", "a packet is binary, with its schema in it") if '"' in text else ("", "")
    printable = all(character.isprintable() or character.isspace() for character in text)
    return ("text", "") if text and printable else ("", "")


def survey(definition: Any) -> str:
    """Why an object container with this schema is not a packet, if it is another survey's alert; else ""."""
    if not isinstance(definition, dict) or not isinstance(definition.get("fields"), list):
        return ""
    name, namespace = str(definition.get("name")), definition.get("namespace")
    full = name if "." in name else f"{namespace}.{name}"
    found = _SURVEYS_ALERT.fullmatch(full)
    fields = (field.get("name") for field in definition["fields"] if isinstance(field, dict))
    if found is None or _SURVEYS_FIELD not in fields:
        return ""
    return f"it is an alert of {_SURVEYS[found[1]]} (its schema is {full}): only alerts of ZTF are taken here"
