"""Bytes that are no packet: what they seem to be, so that whoever dropped them knows what to mend."""

from __future__ import annotations

#: How a file of a kind begins, at which byte, what it is, and what to do.
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


def reason(data: bytes) -> str:
    """Why bytes that do not begin as an object container are no packet, and what they seem to be."""
    guess, advice = seems(data)
    said = "it is not an Avro object container (it does not begin with 'Obj' 1)"
    return ": ".join([said, f"it seems to be {guess}"] if guess else [said]) + (f"; {advice}" if advice else "")


def seems(data: bytes) -> tuple[str, str]:
    """What bytes seem to be, and what to do with them; "" for what cannot be told."""
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
