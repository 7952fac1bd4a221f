"""The reason for refusing a file that is not a packet says what the file seems to be."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from typing import Any

import fastavro
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
def test_what_is_not_a_packet_is_called_what_it_seems_to_be(kind: str) -> None:
    with pytest.raises(PacketError) as caught:
        Packet.parse(STRANGERS[kind])
    assert "it is not an Avro object container (it does not begin with 'Obj' 1)" in caught.value.reason
    assert kind in caught.value.reason


def of_survey(namespace: str | None, name: str = "alert", codec: str = "null") -> bytes:
    """An alert as LSST writes it, in an object container; the fields are a few of its own."""
    source = {"type": "record", "name": "diaSource", "fields": [{"name": "midpointMjdTai", "type": "double"}]}
    definition = {
        "type": "record", "name": name,
        "fields": [
            {"name": "diaSourceId", "type": "long"}, {"name": "diaSource", "type": source},
            {"name": "cutoutScience", "type": ["null", "bytes"], "default": None},
        ],
    } | ({"namespace": namespace} if namespace else {})  # fmt: skip
    out = io.BytesIO()
    record = {"diaSourceId": 1, "diaSource": {"midpointMjdTai": 60000.5}, "cutoutScience": None}
    fastavro.writer(out, definition, [record], codec=codec)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "survey"),
    [
        (of_survey("lsst.v7_4"), "the Rubin Observatory's LSST (its schema is lsst.v7_4.alert)"),
        (of_survey("lsst.v11_1", codec="deflate"), "the Rubin Observatory's LSST (its schema is lsst.v11_1.alert)"),
        (of_survey("lsst"), "the Rubin Observatory's LSST (its schema is lsst.alert)"),
        (of_survey(None, "lsst.v7_1.alert"), "the Rubin Observatory's LSST (its schema is lsst.v7_1.alert)"),
        (of_survey("ls4.v0_1"), "LS4 (its schema is ls4.v0_1.alert)"),
    ],
)
def test_an_alert_of_another_survey_is_called_so(data: bytes, survey: str) -> None:
    for admission in (schemas.REFUSE, schemas.Admission(accepts=True)):
        with pytest.raises(PacketError) as caught:
            Packet.parse(data, admission=admission)
        assert caught.value.field == "header"
        assert caught.value.reason == f"it is an alert of {survey}: only alerts of ZTF are taken here"


def test_another_compression_does_not_hide_another_survey() -> None:
    data = of_survey("lsst.v7_4").replace(b"\x08null", b"\x0csnappy")
    with pytest.raises(PacketError, match="an alert of the Rubin Observatory's LSST"):
        Packet.parse(data)


@pytest.mark.parametrize("data", [of_survey("ztf"), of_survey("lsst.v7_4", "diaSources"), of_survey("lsstx.v7_4")])
def test_an_unrecognised_schema_is_not_called_another_surveys(data: bytes) -> None:
    with pytest.raises(PacketError, match=r"none of 3\.2, 3\.3, 4\.01, 4\.02"):
        Packet.parse(data)


@pytest.mark.parametrize("definition", [None, 3, [], {}, {"fields": 3}, {"fields": [3]}, {"name": [], "fields": []}])
def test_what_is_not_a_schema_is_not_called_a_surveys(definition: Any) -> None:
    assert strangers.survey(definition) == ""


@pytest.mark.parametrize(
    "data", [b"\0", b"\x01", b"\xfe" * 9, b"\0\x01\x02", b"{", b"[1]", b"\x1b[31m" * 20, b"O", b"\r\n"]
)
def test_what_is_not_recognised_is_not_guessed(data: bytes) -> None:
    text = strangers.reason(data)
    assert text.isprintable()
    assert "not an Avro object container" in text
