"""The differences of a new schema are named; it is refused or admitted as configured, and read by its own fields."""

from __future__ import annotations

import copy
import io
import json
import time
from typing import Any

import fastavro
import pytest

import packets
import zads.header
from test_schemas import COMPATIBLE, INCOMPATIBLE, OPTIONAL, candidate, edited
from zads import schemas
from zads.filters.batch import DecodedAlert
from zads.header import MAX_HEADERS, MAX_REFUSALS
from zads.packet import Packet, PacketError

ACCEPT = schemas.Admission(accepts=True)


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zads.header, "_headers", {})
    monkeypatch.setattr(zads.header, "_refusals", {})


def packet(definition: dict[str, Any], **changes: Any) -> bytes:
    record = packets.make_record("4.02", definition=definition) | {"schemavsn": definition["version"]} | changes
    return packets.encode(record, definition=definition)


def reference(data: bytes) -> Any:
    (record,) = fastavro.reader(io.BytesIO(data))
    return record


@pytest.mark.parametrize("what", COMPATIBLE)
def test_a_compatible_schema_is_refused_by_default_and_once_accepted_read_by_its_own_fields(what: str) -> None:
    data = packet(edited(what))
    with pytest.raises(
        PacketError, match=r"none of 3\.2, 3\.3, 4\.01, 4\.02, or altered .*4\.03.*producer_new_schemas"
    ):
        Packet.parse(data)
    for found in (Packet.parse(data, admission=schemas.Admission(accepts=True)), Packet.trusted(data)):
        assert found.schema_version == "4.03"
        assert found.new_schema is not None
        assert found.new_schema.nearest.version == "4.02"
        assert (found.candid, found.topic, found.key) == (1, "ztf_20181129_programid1", b"ZTF18test001")
        whole = reference(data)
        if what != "a new time":  # fastavro makes it a datetime
            assert repr(found.read(list(whole))) == repr(whole)
        fields = ("candidate.jd", "candidate.drb", "prv_candidates", "candidate.nothing")
        having = found.having(fields)
        assert having == fields[:3]
        assert found.read(having)["candidate"]["jd"] == packets.JD


@pytest.mark.parametrize("what", INCOMPATIBLE)
def test_an_incompatible_schema_is_always_refused_and_its_differences_are_named(what: str) -> None:
    data = header_only(edited(what))
    for call in (Packet.parse, Packet.trusted, lambda one: Packet.parse(one, admission=ACCEPT)):
        for _ in range(2):  # the second time as it was remembered
            with pytest.raises(PacketError) as caught:
                call(data)
            assert caught.value.field == "header"
            assert INCOMPATIBLE[what] in caught.value.reason
            assert INCOMPATIBLE[what] in map(str, caught.value.differences)


def _schema_texts(definition: dict[str, Any]) -> tuple[bytes, bytes]:
    """The schema's header entry, and the entry that replaces it."""

    def entry(text: bytes) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, {"type": "bytes"}, text)
        return out.getvalue()

    sample = packets.encode(packets.make_record("4.02"))
    reader = fastavro.reader(io.BytesIO(sample))
    return entry(reader.metadata["avro.schema"].encode()), entry(json.dumps(definition).encode())


def test_a_packet_of_an_accepted_schema_is_validated_by_that_schema() -> None:
    definition = edited("a new enum")
    assert Packet.parse(packet(definition), admission=ACCEPT).candid == 1
    with pytest.raises(PacketError, match=r"schemavsn: it claims version '4\.02'"):
        Packet.parse(packet(definition, schemavsn="4.02"), admission=ACCEPT)
    with pytest.raises(PacketError, match="objectId: it is empty"):
        Packet.parse(packet(definition, objectId=""), admission=ACCEPT)


def test_the_field_of_an_enum_with_a_number_beyond_its_symbols_is_named() -> None:
    definition = copy.deepcopy(schemas.get("4.02").definition) | {"version": "4.03"}
    definition["fields"].append({"name": "state", "type": {"type": "enum", "name": "states", "symbols": ["a", "b"]}})
    data = bytearray(packet(definition))
    data[-17] = 8  # the last byte of the record: symbol number four
    with pytest.raises(PacketError, match="state: none of its 2 symbols has the number 4"):
        Packet.parse(bytes(data), admission=ACCEPT)


def test_a_changed_form_of_a_known_version_is_new() -> None:
    definition = copy.deepcopy(schemas.get("3.2").definition)
    candidate(definition).append(OPTIONAL)
    data = packets.encode(packets.make_record("3.2", definition=definition), definition=definition)
    with pytest.raises(PacketError, match=r"candidate\.extra is new: null or float"):
        Packet.parse(data)
    found = Packet.parse(data, admission=ACCEPT)
    assert (found.schema_version, found.new_schema and found.new_schema.nearest.name) == ("3.2", "3.2")
    # Each schema has a reader of its own.
    known = Packet.parse(packets.make_packet("3.2"))
    assert known.having(("candidate.extra",)) == ()
    assert found.having(("candidate.extra",)) == ("candidate.extra",)


def test_every_form_is_known() -> None:
    for form in schemas.forms():
        record = packets.make_record(form.version, definition=form.definition)
        found = Packet.parse(packets.encode(record, definition=form.definition))
        assert (found.schema_version, found.new_schema) == (form.version, None)
        assert found.has("prv_candidates.magzpsci") == (form.name != "3.2")


def test_only_a_few_new_schemas_are_accepted_and_remembered() -> None:
    admission = schemas.Admission(accepts=True)
    accepted = 0
    for number in range(3 * MAX_HEADERS):
        definition = edited("nothing but the number")
        candidate(definition).append({"name": f"extra{number}", "type": "int"})
        try:
            Packet.parse(packet(definition), admission=admission)
            accepted += 1
        except PacketError as error:
            assert "16 new schemas have been accepted" in error.reason
    assert accepted == schemas.MAX_NEW
    assert len(zads.header._headers) <= MAX_HEADERS


def test_a_few_refused_headers_are_remembered() -> None:
    definition = edited("a field gone")
    data = header_only(definition)
    with pytest.raises(PacketError):
        Packet.parse(data)
    began = time.process_time()
    for _ in range(200):
        with pytest.raises(PacketError):
            Packet.parse(data)
    assert time.process_time() - began < 0.2
    for number in range(2 * MAX_REFUSALS):
        with pytest.raises(PacketError):
            Packet.parse(header_only(definition | {"doc": f"wording {number}"}))
    assert len(zads.header._refusals) <= MAX_REFUSALS


def header_only(definition: dict[str, Any]) -> bytes:
    return packets.encode(packets.make_record("4.02")).replace(*_schema_texts(definition))


def test_wordings_of_one_new_schema_share_their_readers() -> None:
    one, other = edited("a new optional field"), edited("a new optional field") | {"doc": "Other words."}
    first, second = (Packet.parse(packet(each), admission=ACCEPT) for each in (one, other))
    assert first._readable is second._readable


def test_a_header_with_an_entry_twice_is_refused() -> None:
    data = packets.make_packet("4.02")
    at = data.index(b"\x16avro.schema")
    end = data.index(bytes(range(16))) - 1
    entry = data[at:end]
    both = data[:4] + bytes([data[4] + 2]) + data[5:at] + entry + entry + data[end:]
    with pytest.raises(PacketError, match="twice"):
        Packet.parse(both)


def test_a_filter_reads_each_packet_by_its_own_form_of_one_version() -> None:
    fields = {"": ("candidate.jd",), "prv_candidates": ("prv_candidates.jd", "prv_candidates.magzpsci")}
    later = next(form for form in schemas.forms() if form.form == "alert_2019")
    new = copy.deepcopy(later.definition)
    candidate(new).append(OPTIONAL)
    made = [
        packets.make_record("3.2", definition=one) for one in (schemas.get("3.2").definition, later.definition, new)
    ]
    coded = [
        packets.encode(record, definition=one)
        for record, one in zip(made, (schemas.get("3.2").definition, later.definition, new), strict=True)
    ]
    for order in (coded, coded[::-1]):
        seen = {one: DecodedAlert(memoryview(one), fields).fetch("prv_candidates") for one in order}
        assert [sorted(seen[one][0]) for one in coded] == [["jd"], ["jd", "magzpsci"], ["jd", "magzpsci"]]
