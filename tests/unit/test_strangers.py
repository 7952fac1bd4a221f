"""What is no packet is called what it seems to be."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import pytest

import packets
from zads import schemas, strangers
from zads.packet import Packet, PacketError

PACKET = packets.make_packet()


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.avro"))
    return out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.avro", PACKET)
    return out.getvalue()


SCHEMA = json.dumps(schemas.get("4.02").definition, indent=1).encode()
STRANGERS = {
    "framed for a schema registry (a zero byte, then the number of a schema: 1234)": b"\0\0\0\x04\xd2" + PACKET[600:],
    "a gzip file; unpack it": gzip.compress(PACKET),
    "a zip file": zipped(),
    "an xz file": lzma.compress(PACKET),
    "a bzip2 file": bz2.compress(PACKET),
    "a zstandard file": b"\x28\xb5\x2f\xfd\x04" + bytes(80),
    "a tar archive; give it a name that ends in .tar": tar(),
    "a FITS image": gzip.decompress(packets.fits()),
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
    "an HTML page": b"<!DOCTYPE html>\n<html><body>404</body></html>",
    "XML": b"<?xml version='1.0'?><VOEvent/>",
    "an Avro schema, or JSON": SCHEMA,
    "single-object encoding": b"\xc3\x01" + bytes(8) + b"x" * 40,
    "an object container of version 2": b"Obj\x02" + PACKET[4:],
    "4096 zero bytes; the file was never written to its end": bytes(4096),
    "text in UTF-16": "candid".encode("utf-16"),
    "it seems to be text": "candid,ra,dec\n1,2,3\n".encode("utf-8-sig"),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_what_is_no_packet_is_called_what_it_seems_to_be(kind: str) -> None:
    with pytest.raises(PacketError) as caught:
        Packet.parse(STRANGERS[kind])
    assert "it is not an Avro object container (it does not begin with 'Obj' 1)" in caught.value.reason
    assert kind in caught.value.reason


@pytest.mark.parametrize(
    "data", [b"\0", b"\x01", b"\xfe" * 9, b"\0\x01\x02", b"{", b"[1]", b"\x1b[31m" * 20, b"O", b"\r\n"]
)
def test_what_cannot_be_told_is_not_guessed_at(data: bytes) -> None:
    text = strangers.reason(data)
    assert text.isprintable()
    assert "not an Avro object container" in text
