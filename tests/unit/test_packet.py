"""Every part of a packet is validated, and `Packet.read` returns what fastavro reads."""

from __future__ import annotations

import gzip
import io
import json
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import packets
import zads.avro.container
import zads.header
from zads import schemas
from zads.avro.errors import MismatchError
from zads.avro.read import compile_reader
from zads.avro.schema import resolved
from zads.avro.validate import compile_validator
from zads.cutouts import MAX_CUTOUT_BYTES, cutout
from zads.errors import ZadsError
from zads.header import MAX_HEADERS
from zads.packet import MAX_BYTES, Packet, PacketError

VERSIONS = sorted(schemas.known())
SAMPLES = {version: packets.make_packet(version) for version in VERSIONS}


def reference(data: bytes) -> dict[str, Any]:
    """The record as fastavro reads it."""
    (record,) = fastavro.reader(io.BytesIO(data))
    assert isinstance(record, dict)
    return record


def ours(packet: Packet) -> dict[str, Any]:
    """All of a packet, as `Packet.read` gives it."""
    return packet.read([field["name"] for field in packet._readable.schema.definition["fields"]])


def same(one: Any, other: Any) -> bool:
    """Equality in which NaN equals NaN. A function since pytest prints megabytes of cutouts when a plain `==` fails."""
    return repr(one) == repr(other)


def pick(record: Any, parts: list[str]) -> Any:
    """Part of a record by a dotted path, through arrays, as `Packet.read` nests it."""
    if record is None or not parts:
        return record
    if isinstance(record, list):
        return [pick(item, parts) for item in record]
    return {parts[0]: pick(record[parts[0]], parts[1:])}


def paths(version: str) -> list[str]:
    found = []
    for field in resolved(schemas.get(version).definition)["fields"]:
        found.append(field["name"])
        record = field["type"]
        if isinstance(record, list):
            record = next(branch for branch in record if branch != "null")
        if isinstance(record, dict) and record["type"] == "array":
            record = record["items"]
        if isinstance(record, dict):
            found += [f"{field['name']}.{inner['name']}" for inner in record["fields"]]
    return found


def test_real_packets_are_accepted_and_read_as_fastavro_reads_them(real_packets: list[Path]) -> None:
    for file in real_packets:
        data = file.read_bytes()
        packet = Packet.parse(data)
        assert same(ours(packet), reference(data)), file.name
        assert packet.candid == int(file.stem)
        assert packet.topic == f"ztf_{packet.night}_programid{reference(data)['candidate']['programid']}"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_known_version_is_accepted(version: str) -> None:
    packet = Packet.parse(SAMPLES[version])
    assert packet.schema_version == version
    assert packet.object_id == "ZTF18test001"
    assert packet.key == b"ZTF18test001"
    assert (packet.candid, packet.programid, packet.night) == (1, 1, "20181129")
    assert packet.topic == "ztf_20181129_programid1"
    assert same(ours(packet), reference(SAMPLES[version]))


@settings(max_examples=150)
@given(data=st.data())
def test_any_subset_of_fields_is_what_fastavro_reads(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from(VERSIONS))
    fields = data.draw(st.lists(st.sampled_from(paths(version)), min_size=1, max_size=8, unique=True))
    whole = reference(SAMPLES[version])
    found = Packet.trusted(SAMPLES[version]).read(fields)
    for field in fields:
        parts = field.split(".")
        wanted = pick(whole, parts)
        given_back = pick(found, parts)
        assert same(given_back, wanted), field
    top = {field.partition(".")[0] for field in fields}
    assert set(found) == top
    for name in top:
        inner = {field.partition(".")[2] for field in fields if field.partition(".")[0] == name}
        if "" not in inner and isinstance(found[name], dict):
            assert set(found[name]) == inner


SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "string": st.text(max_size=80),
    "bytes": st.binary(max_size=200),
}


def values(schema: Any) -> st.SearchStrategy[Any]:
    """All values of a schema: nulls everywhere, numbers and texts of any length."""
    if isinstance(schema, str):
        return SCALARS[schema]
    if isinstance(schema, list):
        return st.one_of(*map(values, schema))
    if schema["type"] == "array":
        return st.lists(values(schema["items"]), max_size=3)
    return st.fixed_dictionaries({field["name"]: values(field["type"]) for field in schema["fields"]})


RECORDS = {version: values(resolved(schemas.get(version).definition)) for version in VERSIONS}


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_subset_of_any_record_is_what_fastavro_reads(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from(VERSIONS))
    fields = data.draw(st.lists(st.sampled_from(paths(version)), min_size=1, max_size=8, unique=True))
    coded = packets.encode(data.draw(RECORDS[version]), version)
    whole, found = reference(coded), Packet.trusted(coded).read(fields)
    for field in fields:
        assert same(pick(found, field.split(".")), pick(whole, field.split("."))), field
    assert same(Packet.trusted(coded).read(list(whole)), whole)


def test_an_array_in_several_blocks_is_read_as_fastavro_reads_it() -> None:
    schema = {"type": "array", "items": {"type": "record", "name": "p", "fields": [{"name": "n", "type": "int"}]}}
    record = {"type": "record", "name": "r", "fields": [{"name": "a", "type": schema}, {"name": "b", "type": "int"}]}
    # Two items, then a block that gives its size and has one item, then the end; field b follows.
    coded = number(2) + number(5) + number(6) + number(-1) + number(2) + number(700) + number(0) + number(-9)
    wanted = {"a": [{"n": 5}, {"n": 6}, {"n": 700}], "b": -9}
    assert fastavro.schemaless_reader(io.BytesIO(coded), record, None) == wanted
    assert compile_reader(record, {})(coded, 0, len(coded)) == wanted
    assert compile_reader(record, {"b": {}})(coded, 0, len(coded)) == {"b": -9}


def test_nothing_is_read_after_the_last_field_that_is_wanted() -> None:
    data = SAMPLES["4.01"]
    packet = Packet.trusted(data)
    end = data.index(b"ZTF18test001") + 60  # within the candidate, behind its first fields
    broken = data[:end] + b"\xff" * (len(data) - end - 16) + data[-16:]
    assert Packet.trusted(broken).read(["candidate.fid"]) == packet.read(["candidate.fid"])
    with pytest.raises(PacketError, match="never validated"):
        Packet.trusted(broken).read(["prv_candidates"])


def test_a_header_is_parsed_once_and_then_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    read = zads.avro.container.read_header
    monkeypatch.setattr(zads.avro.container, "read_header", lambda data: parsed.append(data) or read(data))
    definition = {**schemas.get("3.3").definition, "doc": "A new wording."}
    first, second = (
        packets.encode(packets.make_record("3.3", candid=candid), definition=definition) for candid in (1, 2)
    )
    assert [Packet.trusted(data).candid for data in (first, second, first)] == [1, 2, 1]
    assert parsed == [first]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_field_that_the_schema_does_not_have_is_named(version: str) -> None:
    with pytest.raises(ZadsError, match=r"candidate\.magpfs"):
        Packet.trusted(SAMPLES[version]).read(["candidate.magpfs"])
    assert not Packet.trusted(SAMPLES[version]).has("candidate.magpfs")
    assert Packet.trusted(SAMPLES[version]).has("candidate.magpsf")
    with pytest.raises(ZadsError, match=r"candidate\.magpsf\.x"):
        Packet.trusted(SAMPLES[version]).read(["candidate.magpsf.x"])
    with pytest.raises(ZadsError, match=r"prv_candidates\.nothing"):
        Packet.trusted(SAMPLES[version]).read(["prv_candidates.jd", "prv_candidates.nothing"])
    assert Packet.trusted(SAMPLES[version]).read([]) == {}


@settings(max_examples=300)
@given(version=st.sampled_from(VERSIONS), where=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_reads_as_fastavro_reads_it(version: str, where: float, value: int) -> None:
    data = bytearray(SAMPLES[version])
    data[int(where * len(data))] = value
    try:
        packet = Packet.parse(bytes(data))
    except PacketError:
        return
    assert same(ours(packet), reference(bytes(data)))


@settings(max_examples=150)
@given(version=st.sampled_from(VERSIONS), at=st.floats(0, 1), noise=st.binary(max_size=30), skip=st.integers(0, 40))
def test_bytes_put_in_or_taken_out_are_refused(version: str, at: float, noise: bytes, skip: int) -> None:
    data = SAMPLES[version]
    cut = int(at * len(data))
    altered = data[:cut] + noise + data[cut + skip :]
    try:
        packet = Packet.parse(altered)
    except PacketError:
        return
    assert same(ours(packet), reference(altered))


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=400), st.binary(max_size=400).map(lambda tail: b"Obj\x01" + tail)))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(PacketError):
        Packet.parse(noise)


@settings(max_examples=60)
@given(version=st.sampled_from(VERSIONS), keep=st.floats(0, 1, exclude_max=True))
def test_a_packet_that_is_cut_off_is_refused(version: str, keep: float) -> None:
    data = SAMPLES[version]
    with pytest.raises(PacketError):
        Packet.parse(data[: int(keep * len(data))])


def of_two() -> bytes:
    buffer = io.BytesIO()
    fastavro.writer(buffer, schemas.get("4.01").definition, 2 * [packets.make_record("4.01")])
    return buffer.getvalue()


#: Names with something that people cannot see, and the reason of their refusal.
UNSEEN = {
    "Z" * 65: "65 characters, more than the 64",
    "ZTF\x1b[31mx": r"the character '\x1b'",
    "ZTF\nx": r"the character '\n'",
    "ZTF\0x": r"the character '\x00'",
    "ZTF\u202ex": r"the character '\u202e'",
    "ZTF\u200bx": r"the character '\u200b'",
    "ZTF\xa0x": r"the character '\xa0'",
    "ZTF\ue000x": r"the character '\ue000'",
    "  ": "begins or ends with a blank",
    "ZTFx ": "begins or ends with a blank",
}

BAD: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "", "empty"),
    "a picture": (b"\xff\xd8\xff\xe0" + bytes(500), "", "not an Avro object container"),
    "half a packet": (SAMPLES["4.01"][:-300], "block", "cut off"),
    "too large": (bytes(MAX_BYTES + 1), "", "more than"),
    "bytes after it": (SAMPLES["3.3"] + b"x", "block", "follow"),
    "another marker": (SAMPLES["3.3"][:-1] + b"\0", "block", "marker"),
    "programme 4": (packets.make_packet(programid=4), "candidate.programid", "not a programme"),
    "a date before the survey": (packets.make_packet(jd=1.0), "candidate.jd", "Julian date"),
    "no date": (packets.make_packet(jd=float("nan")), "candidate.jd", "Julian date"),
    "two identities": (
        packets.encode({**packets.make_record(candid=5), "candid": 6}, "4.01"),
        "candidate.candid",
        "differs from candid",
    ),
    "no identity": (packets.make_packet(candid=0), "candid", "not positive"),
    "no object": (packets.encode({**packets.make_record(), "objectId": ""}, "4.01"), "objectId", "empty"),
    **{
        f"an object called {name[:9]!a}": (
            packets.encode({**packets.make_record(), "objectId": name}, "4.01"),
            "objectId",
            reason,
        )
        for name, reason in UNSEEN.items()
    },
    "two packets": (SAMPLES["3.3"] + SAMPLES["4.01"], "block", "another packet begins"),
    "two blocks": (
        SAMPLES["3.3"] + SAMPLES["3.3"][SAMPLES["3.3"].index(bytes(range(16))) + 16 :],
        "block",
        "more than one block, the second of 1 records",
    ),
    "two records": (of_two(), "block", "2 records, not one"),
    "another version than its schema's": (
        packets.encode({**packets.make_record("4.01"), "schemavsn": "4.02"}, "4.01"),
        "schemavsn",
        "claims version '4.02'",
    ),
}


@pytest.mark.parametrize(
    "name", ["ZTF[/bold]x", "ZTF[red]x", "Z" * 64, "ZTF 18 \u00e9\u03b1\u661f", "<b>&amp;", "=1+1", "x"]
)
def test_a_visible_name_is_accepted_unchanged(name: str) -> None:
    packet = Packet.parse(packets.encode({**packets.make_record(), "objectId": name}, "4.01"))
    assert (packet.object_id, packet.key) == (name, name.encode())


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_a_packet_is_refused_with_field_and_reason(kind: str) -> None:
    data, field, reason = BAD[kind]
    with pytest.raises(PacketError) as caught:
        Packet.parse(data, source="some.avro")
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert "some.avro" in str(caught.value)


def altered(change: str) -> bytes:
    """A packet whose schema differs from the known version in one way."""
    definition = json.loads(json.dumps(schemas.get("3.3").definition))
    record = packets.make_record("3.3")
    candidate = next(field for field in definition["fields"] if field["name"] == "candidate")["type"]
    if change == "a required field is missing":
        candidate["fields"] = [field for field in candidate["fields"] if field["name"] != "ra"]
    elif change == "a type differs":
        next(field for field in candidate["fields"] if field["name"] == "ra")["type"] = "float"
    elif change == "the order differs":
        candidate["fields"].reverse()
    else:
        candidate["fields"].append({"name": "extra", "type": "int", "default": 0})
    return packets.encode(record, definition=definition)


@pytest.mark.parametrize(
    "change", ["a required field is missing", "a type differs", "the order differs", "a field is new"]
)
def test_an_altered_schema_is_refused(change: str) -> None:
    with pytest.raises(PacketError, match="altered") as caught:
        Packet.parse(altered(change))
    assert caught.value.field == "header"


def test_a_schema_with_other_documentation_is_the_same_schema() -> None:
    definition = json.loads(json.dumps(schemas.get("3.3").definition))
    definition["doc"] = "Other documentation."
    definition["fields"][0]["doc"] = "Here too."
    packet = Packet.parse(packets.encode(packets.make_record("3.3"), definition=definition))
    assert packet.schema_version == "3.3"


def deflated() -> bytes:
    buffer = io.BytesIO()
    fastavro.writer(buffer, schemas.get("3.3").definition, [packets.make_record("3.3")], codec="deflate")
    return buffer.getvalue()


def test_a_deflated_packet_is_read_and_keeps_its_bytes() -> None:
    data = deflated()
    packet = Packet.parse(data)
    assert packet.data is data
    assert same(ours(packet), reference(data))
    assert packet.read(["candidate.programid"]) == {"candidate": {"programid": 1}}


@settings(max_examples=100)
@given(where=st.floats(0.5, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_changed_byte_of_a_deflated_packet_is_refused_or_reads_as_fastavro_reads_it(where: float, value: int) -> None:
    data = bytearray(deflated())
    data[int(where * len(data))] = value
    try:
        packet = Packet.parse(bytes(data))
    except PacketError:
        return
    assert same(ours(packet), reference(bytes(data)))


def container(metadata: dict[str, bytes], block: bytes = b"") -> bytes:
    """An object container of one record, with any header and any bytes as its record."""

    def sized(value: bytes) -> bytes:
        return number(len(value)) + value

    entries = b"".join(sized(key.encode()) + sized(value) for key, value in metadata.items())
    return b"Obj\x01" + number(len(metadata)) + entries + b"\0" + bytes(16) + b"\x02" + sized(block) + bytes(16)


def number(value: int) -> bytes:
    """A number as Avro writes it."""
    value = value << 1 if value >= 0 else ~(value << 1)
    coded = bytearray()
    while value >= 0x80:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*coded, value])


def growing() -> bytes:
    """A schema of sixty lines; spelt out, it has 2 ** 60 fields."""
    fields: list[dict[str, Any]] = []
    inner: Any = "int"
    for level in range(60):
        pair = [{"name": "one", "type": inner}, {"name": "other", "type": inner}]
        fields.append({"name": f"f{level}", "type": {"type": "record", "name": f"r{level}", "fields": pair}})
        inner = f"r{level}"
    return json.dumps({"type": "record", "name": "alert", "fields": fields}).encode()


KNOWN = json.dumps(schemas.get("3.3").definition).encode()
HOSTILE: dict[str, tuple[dict[str, bytes], str]] = {
    "no schema": ({"avro.codec": b"null"}, "no schema"),
    "not JSON": ({"avro.schema": b"{"}, "not JSON"),
    "not Unicode": ({"avro.schema": KNOWN.replace(b"alert", b"al\xffrt", 1)}, "not UTF-8"),
    "an entry that is not text": ({"avro.schema": KNOWN, "note": b"\xff"}, "not UTF-8"),
    "a number": ({"avro.schema": b"12"}, "no Avro schema"),
    "nested too deep": ({"avro.schema": b"[" * 100_000}, "recursion"),
    "too long": ({"avro.schema": KNOWN.ljust(600_000)}, "more than 512000"),
    "grows without bound": ({"avro.schema": growing()}, "none of 3.2"),
    "a type defined twice": (
        {"avro.schema": KNOWN.replace(b'"ztf.alert.cutout"', b'{"type":"record","name":"cutout","fields":[]}')},
        "twice",
    ),
    "a logical type": (
        {"avro.schema": KNOWN.replace(b'"double"', b'{"type":"double","logicalType":"x"}', 1)},
        "candidate.jd is x (double), not double",
    ),
    "a type that Avro does not have": ({"avro.schema": b'{"type":"tuple"}'}, "tuple"),
    "a type without a name": ({"avro.schema": b'{"type":"enum","symbols":["a"]}'}, "no 'name'"),
    "a default that readers refuse": (
        {"avro.schema": KNOWN.replace(b'"type": "double"', b'"type": "double", "default": null', 1)},
        "cannot be used by readers",
    ),
    **{
        f"compressed with {codec}": (
            {"avro.schema": KNOWN, "avro.codec": codec.encode()},
            f"compressed with {codec}, which not every reader has",
        )
        for codec in ("snappy", "zstandard", "bzip2", "xz")
    },
    "another compression": ({"avro.schema": KNOWN, "avro.codec": b"\x1b[31m"}, r"not ours (b'\x1b[31m')"),
    "a name of 400,000 letters": ({"avro.schema": b'"%s"' % (b"x" * 400_000)}, "it uses the type"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_header_is_refused_in_a_few_words(kind: str) -> None:
    metadata, reason = HOSTILE[kind]
    with pytest.raises(PacketError) as caught:
        Packet.parse(container(metadata))
    assert caught.value.field == "header"
    assert reason in caught.value.reason
    assert len(str(caught.value)) < 1000


def test_a_record_that_unpacks_to_too_much_is_refused() -> None:
    packer = zlib.compressobj(wbits=-15)
    block = packer.compress(bytes(MAX_BYTES + 1)) + packer.flush()
    with pytest.raises(PacketError, match="more than"):
        Packet.parse(container({"avro.schema": KNOWN, "avro.codec": b"deflate"}, block))


def test_more_headers_than_are_remembered_are_all_read() -> None:
    record = packets.make_record("3.3")
    for count in range(2 * MAX_HEADERS):
        definition = {**schemas.get("3.3").definition, "doc": f"wording {count}"}
        assert Packet.parse(packets.encode(record, definition=definition)).schema_version == "3.3"
    assert len(zads.header._headers) <= MAX_HEADERS


def test_threads_may_read_new_headers_at_the_same_time() -> None:
    record = packets.make_record("3.3")
    wordings = [{**schemas.get("3.3").definition, "doc": f"thread {count}"} for count in range(60)]
    different = [packets.encode(record, definition=wording) for wording in wordings]
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda data: Packet.parse(data).schema_version, different * 2))
    assert set(versions) == {"3.3"}


def test_an_invalid_packet_that_was_trusted_is_reported_when_it_is_read() -> None:
    data = container({"avro.schema": KNOWN}, b"\xff" * 40)
    packet = Packet.trusted(data)
    with pytest.raises(PacketError, match="never validated"):
        _ = packet.candid


TEXTS = {
    "type": "record", "name": "texts",
    "fields": [
        {"name": "a", "type": "string"}, {"name": "b", "type": ["null", "string"]}, {"name": "n", "type": "int"},
    ],
}  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(a=st.text(max_size=80), b=st.none() | st.text(max_size=80), n=st.integers(-(2**31), 2**31 - 1))
def test_texts_of_any_length_and_alphabet_are_valid_and_half_a_text_is_not(a: str, b: str | None, n: int) -> None:
    written = io.BytesIO()
    fastavro.schemaless_writer(written, TEXTS, {"a": a, "b": b, "n": n})
    data = written.getvalue()
    validate = compile_validator(TEXTS)
    assert validate(data + b"more", 0, len(data)) == len(data)
    with pytest.raises(MismatchError):
        validate(data, 0, len(data) - 1)


def test_a_text_that_is_not_utf_8_is_named_in_a_record_of_short_texts() -> None:
    with pytest.raises(MismatchError, match="b: it is not UTF-8"):
        compile_validator(TEXTS)(b"\x02x\x02\x02\xff\x00", 0, 6)


@pytest.mark.parametrize(
    ("value", "kind"), [(2**31 - 1, "int"), (-(2**31), "int"), (2**63 - 1, "long"), (-(2**63), "long")]
)
def test_the_largest_numbers_are_accepted_and_larger_ones_are_not(value: int, kind: str) -> None:
    validate = compile_validator({"type": "record", "fields": [{"name": "n", "type": ["null", kind]}]})
    coded = b"\x02" + number(value)
    assert validate(coded, 0, len(coded)) == len(coded)
    larger = b"\x02" + number(2 * value + (1 if value > 0 else 0))
    with pytest.raises(MismatchError, match=kind):
        validate(larger, 0, len(larger))


def test_the_field_of_a_branch_that_its_union_does_not_have_is_named() -> None:
    record = packets.make_record("4.01", history=5)
    record["prv_candidates"][3] |= {"isdiffpos": "marked!!"}
    data = bytearray(packets.encode(record))
    data[data.index(b"marked!!") + 8] = 0x08  # the number of the next field's branch, twice
    with pytest.raises(PacketError) as caught:
        Packet.parse(bytes(data))
    assert caught.value.field == "prv_candidates[3].tblid"
    assert "branch" in caught.value.reason


def test_a_branch_whose_number_has_two_bytes_is_accepted_and_read() -> None:
    kind = {"type": "record", "name": "r", "fields": [{"name": "a", "type": ["null", "string"]}]}
    coded = b"\x82\x00" + b"\x04hi"  # branch 1, which \x02 alone would be
    assert compile_validator(kind)(coded, 0, len(coded)) == len(coded)
    assert fastavro.schemaless_reader(io.BytesIO(coded), kind, None) == {"a": "hi"}
    assert compile_reader(kind, {})(coded, 0, len(coded)) == {"a": "hi"}
    with pytest.raises(MismatchError, match="no branch of its union has the number 3"):
        compile_reader(kind, {})(b"\x06\x04hi", 0, 4)


def test_a_field_within_an_array_is_named_with_its_index() -> None:
    record = packets.make_record("4.01", history=3)
    record["prv_candidates"][1]["rbversion"] = "spoil-me"
    data = packets.encode(record).replace(b"spoil-me", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8")
    with pytest.raises(PacketError) as caught:
        Packet.parse(data)
    assert caught.value.field == "prv_candidates[1].rbversion"


@pytest.mark.parametrize("history", [0, 1, 40])
@pytest.mark.parametrize("version", VERSIONS)
def test_light_curves_of_any_length_are_accepted(version: str, history: int) -> None:
    data = packets.make_packet(version, history=history)
    assert len(Packet.parse(data).read(["prv_candidates.jd"])["prv_candidates"]) == history


@pytest.mark.parametrize("version", VERSIONS)
def test_optional_parts_may_be_null(version: str) -> None:
    record = packets.make_record(version) | {"prv_candidates": None, "cutoutScience": None, "cutoutDifference": None}
    data = packets.encode(record)
    assert same(ours(Packet.parse(data)), reference(data))


def test_all_alerts_of_an_exposure_share_their_visit() -> None:
    first, second = (Packet.parse(packets.make_packet(candid=candid)) for candid in (1, 2))
    other = Packet.parse(packets.make_packet(jd=packets.JD + 40 / 86400))
    assert first.visit == second.visit != other.visit


def test_a_cutout_is_the_image_that_astropy_reads(real_packets: list[Path]) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    stamp = reference(real_packets[0].read_bytes())["cutoutScience"]["stampData"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the survey's headers do not follow the standard in every detail
        with fits.open(io.BytesIO(gzip.decompress(stamp))) as image:
            assert np.array_equal(cutout(stamp), image[0].data, equal_nan=True)


def changed_fits(*changes: tuple[bytes, bytes]) -> bytes:
    plain = gzip.decompress(packets.fits())
    for old, new in changes:
        assert len(old) == len(new)
        plain = plain.replace(old, new, 1)
    return gzip.compress(plain)


STAMPS = {
    "nothing": b"",
    "no gzip": b"no gzip",
    "half of one": packets.fits()[:200],
    "no FITS": gzip.compress(bytes(5000)),
    "integers": changed_fits((b"                 -32", b"                  16")),
    "no size": changed_fits((b"NAXIS1", b"OTHERS")),
    "a negative size": changed_fits((b"  63", b" -63")),
    "larger than its data": changed_fits((b"    63", b"999963")),
    "scaled": changed_fits((b"SIMPLE", b"BSCALE")),
    "gigabytes": gzip.compress(bytes(MAX_CUTOUT_BYTES + 1)),
}


@pytest.mark.parametrize("kind", STAMPS)
def test_what_is_not_a_cutout_is_refused(kind: str) -> None:
    with pytest.raises(ZadsError, match="cutout"):
        cutout(STAMPS[kind])


def test_a_cutout_has_the_pixels_that_were_written() -> None:
    image = cutout(packets.fits(2.5))
    assert image.shape == (63, 63)
    assert image.dtype == np.float32
    assert (image == 2.5).all()
