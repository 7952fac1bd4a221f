"""A change of the survey's schema is described, noticed by whom it concerns, rehearsed and added as data."""

from __future__ import annotations

import copy
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import fastavro
import pytest

from packets import encode, make_packet, make_record, reencoded
from zads import alert_card, cli, header, ledger, names, schemas
from zads.avro import described
from zads.avro.differences import Difference
from zads.errors import ZadsError
from zads.filters.owner import Spec
from zads.packet import Packet, PacketError
from zads.schema_change import readers, retry, samples
from zads.schema_change.addition import addition
from zads.schema_change.assumption import assumed, known_from
from zads.schema_change.change import Change
from zads.schema_change.conversion import Conversion
from zads.schema_change.rehearsal import rehearse

NOW = 1_800_000_000.0
NEW_FIELDS = [
    {"name": "host", "type": ["null", "string"], "default": None, "doc": "The galaxy."},
    {"name": "weight", "type": "float", "default": 0.5},
]


def widened(version: str = "4.02", claims: str = "4.03") -> dict[str, Any]:
    """A known schema with two more fields of the candidate, under another version."""
    definition = copy.deepcopy(schemas.get(version).definition) | {"version": claims}
    candidate(definition)["fields"] += copy.deepcopy(NEW_FIELDS)
    return definition


def without(name: str, claims: str = "4.03") -> dict[str, Any]:
    """Version 4.02 without a field of the candidate, under another version."""
    definition = copy.deepcopy(schemas.get("4.02").definition) | {"version": claims}
    fields = candidate(definition)["fields"]
    fields[:] = [field for field in fields if field["name"] != name]
    return definition


def candidate(definition: dict[str, Any]) -> dict[str, Any]:
    return next(field for field in definition["fields"] if field["name"] == "candidate")["type"]


def packet_of(definition: dict[str, Any], candid: int = 1, says: str = "", **changed: Any) -> bytes:
    version = says or definition["version"]
    return encode(make_record(version, candid, definition=definition, **changed), definition=definition)


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A directory with three packets of a new schema, and a known one."""
    directory = tmp_path / "night"
    directory.mkdir()
    for number in range(3):
        (directory / f"{number}.avro").write_bytes(packet_of(widened(), number + 1))
    (directory / "9.avro").write_bytes(make_packet("4.02", 9))
    return directory


def test_the_schemas_of_packets_and_files_are_found_each_once(night: Path, tmp_path: Path) -> None:
    avsc = tmp_path / "gone.avsc"
    avsc.write_text(json.dumps(without("ra", "4.04")))
    (night / "note.avro").write_bytes(b"no packet")
    found = samples.read([night, avsc])
    assert [(one.version, one.packets) for one in found.samples] == [("4.03", 3), ("4.02", 1), ("4.04", 0)]
    assert list(found.unusable) == [f"{night}/note.avro"]
    with pytest.raises(ZadsError, match="no schema found"):
        samples.read([night / "note.avro"])


@pytest.mark.parametrize("cut", [40, 500, -1, -17])
def test_a_packet_that_is_cut_off_has_no_schema_to_compare(tmp_path: Path, cut: int) -> None:
    (tmp_path / "cut.avro").write_bytes(packet_of(widened())[:cut])
    with pytest.raises(ZadsError, match="no schema found"):
        samples.read([tmp_path])


def test_the_packets_version_counts_if_their_schema_claims_another(tmp_path: Path) -> None:
    """The survey's schemas lag behind: 3.1 in packets that say 3.2. A packet must say the version of its form."""
    definition = widened("3.2", "3.1")
    (tmp_path / "a.avro").write_bytes(packet_of(definition, says="3.2"))
    (sample,) = samples.read([tmp_path]).samples
    change = Change.of_sample(sample)
    assert (change.schema.version, change.nearest.version, change.known) == ("3.2", "3.2", False)


def test_a_change_says_type_default_and_documentation_of_each_new_field() -> None:
    change = Change.of(widened(), "4.03")
    assert change.compatible
    assert [line.strip() for line in change.lines()] == [
        "candidate.host is new: null or string, default null: The galaxy.",
        "candidate.weight is new: float, default 0.5",
    ]
    assert change.report()["compared_with"] == "4.02"


def test_the_fields_of_a_new_record_are_named() -> None:
    definition = widened()
    inner = {"type": "record", "name": "host", "fields": [{"name": "z", "type": "double"}]}
    definition["fields"].append({"name": "galaxy", "type": ["null", inner], "default": None})
    lines = [line.strip() for line in "\n".join(Change.of(definition, "4.03").lines()).splitlines()]
    assert "galaxy.z is new: double" in lines


def test_defaults_and_documentation_that_differ_are_named_but_break_nothing() -> None:
    definition = copy.deepcopy(schemas.get("4.02").definition) | {"version": "4.03"}
    field = next(one for one in candidate(definition)["fields"] if one["name"] == "drb")
    field.update(default=0.5, doc="A score.")
    change = Change.of(definition, "4.03")
    assert change.compatible
    assert [line.strip() for line in change.lines()] == ["candidate.drb has the default 0.5, not null"]
    assert [str(one) for one in change.docs] == ["candidate.drb is documented as 'A score.', not ''"]


def test_a_break_comes_first_and_is_marked() -> None:
    lines = Change.of(without("ra"), "4.03").lines()
    assert lines[0] == "BREAKS  candidate.ra is gone"


def test_a_named_type_that_is_used_twice_is_described_at_each_use() -> None:
    found = described.fields(schemas.get("3.2").definition)
    assert "cutoutScience.stampData" in found
    assert "cutoutDifference.stampData" in found
    assert "prv_candidates.magpsf" in found
    assert found["candidate.jd"].kind == "double"


@pytest.mark.parametrize(
    ("fields", "changed", "noticed"),
    [
        (("candidate.ra",), "candidate.ra", True),
        (("candidate",), "candidate.ra", True),
        (("candidate.ra",), "candidate", True),
        (("candidate.ra",), "", True),
        (("candidate.ra",), "candidate.ran", False),
        (("candidate.rap",), "candidate.ra", False),
        (("objectId",), "candidate.ra", False),
    ],
)
def test_a_reader_notices_what_lies_in_its_fields_or_around_them(fields: Any, changed: str, noticed: bool) -> None:
    effect = readers.effect(readers.Reader("someone", fields), [Difference(changed, "is gone", breaks=True)])
    assert bool(effect.breaks) is noticed


def test_every_built_in_field_exists_in_every_known_form_or_is_a_score() -> None:
    for form in schemas.forms():
        known = header.ReadableSchema(form)
        missing = {field for fields in readers.BUILT_IN.values() for field in fields if not known.has(field)}
        assert missing <= {"candidate.drb"}, form.name


@pytest.mark.parametrize("version", list(schemas.known()))
def test_a_card_reads_only_the_fields_that_it_declares(version: str) -> None:
    assert alert_card.AlertCard.of(Packet.parse(make_packet(version))).candid == 1


def test_a_filter_breaks_if_a_field_that_it_declares_is_gone() -> None:
    found = readers.filters([Spec("asteroid", "asteroid", "a"), Spec("nothing", "no_such_filter", "b")])
    asteroid, nothing = (readers.effect(one, Change.of(without("ssdistnr"), "4.03").differences) for one in found)
    assert "breaks: candidate.ssdistnr is gone" in str(asteroid)
    assert "it is not known what it reads" in str(nothing)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory with the table of forms, where a form can be added."""
    (tmp_path / "schemas/ztf/3.2").mkdir(parents=True)
    (tmp_path / "schemas/ztf/3.2/alert.avsc").write_text(json.dumps(schemas.get("3.2").definition))
    table = "| version | packets of | what is new |\n| --- | --- | --- |\n| 3.2 | 2018 | |\n"
    (tmp_path / "schemas/ztf/README.md").write_text(f"# Forms\n\n{table}\nEnd.\n")
    return tmp_path


def test_a_new_version_is_added_as_a_file_and_a_row_and_is_known_from_then_on(checkout: Path) -> None:
    made = addition(Change.of(widened(), "4.03"), checkout, since="packets of 2024")
    assert [path.relative_to(checkout) for path in made.write()] == [
        Path("schemas/ztf/4.03/alert.avsc"), Path("schemas/ztf/README.md"),
    ]  # fmt: skip
    rows = (checkout / "schemas/ztf/README.md").read_text().splitlines()
    assert rows[5:] == ["| 4.03 | packets of 2024 | `candidate.host`, `candidate.weight` |", "", "End."]
    data = packet_of(widened())
    with pytest.raises(PacketError, match=header.UNKNOWN):
        Packet.parse(data)
    with known_from(checkout / "schemas/ztf"):
        assert Packet.parse(data).schema_version == "4.03"
    with pytest.raises(PacketError, match=header.UNKNOWN):
        Packet.parse(data)


def test_what_is_added_is_the_packets_schema_with_the_known_fields_documented_as_before(checkout: Path) -> None:
    definition = widened()
    candidate(definition)["fields"][0]["doc"] = "Words of the survey."
    made = addition(Change.of(definition, "4.03"), checkout)
    written = json.loads(made.text)
    assert schemas.Schema("4.03", written, "").fingerprint == schemas.Schema("4.03", definition, "").fingerprint
    fields = described.fields(written)
    assert fields["candidate.jd"].doc == described.fields(schemas.get("4.02").definition)["candidate.jd"].doc
    assert fields["candidate.host"].doc == "The galaxy."
    assert max(map(len, made.text.splitlines())) < 400


def test_a_further_form_of_a_version_has_a_name_of_its_own(checkout: Path) -> None:
    change = Change.of(widened("3.2", "3.2"), "3.2")
    assert addition(change, checkout).path.stem == f"alert_{change.schema.fingerprint[:8]}"
    assert addition(change, checkout, "alert_2024").path.stem == "alert_2024"
    assert "form `alert_2024`" in addition(change, checkout, "alert_2024").row
    for wrong in ("../alert", "Alert", "a b", "a" * 70):
        with pytest.raises(ZadsError, match="cannot name a form"):
            addition(change, checkout, wrong)
    with pytest.raises(ZadsError, match="exists"):
        addition(change, checkout, "alert")


def test_a_schema_that_breaks_readers_is_added_only_on_purpose(checkout: Path) -> None:
    change = Change.of(without("ra"), "4.03")
    with pytest.raises(ZadsError, match=r"candidate\.ra is gone"):
        addition(change, checkout)
    assert addition(change, checkout, incompatible=True).path.name == "alert.avsc"


@pytest.mark.parametrize("name", ["jd", "programid", "candid"])
def test_a_schema_without_what_the_producer_needs_is_not_added_at_all(checkout: Path, name: str) -> None:
    with pytest.raises(ZadsError, match=rf"it has no candidate\.{name} of the type"):
        addition(Change.of(without(name), "4.03"), checkout, incompatible=True)


def test_a_known_schema_is_not_added(checkout: Path) -> None:
    with pytest.raises(ZadsError, match=r"known: it is 4\.02"):
        addition(Change.of(schemas.get("4.02").definition, "4.02"), checkout)


@pytest.mark.parametrize("version", list(schemas.known()))
def test_a_converted_packet_is_valid_and_keeps_what_both_forms_have(version: str) -> None:
    packet = Packet.parse(make_packet(version, 7, magpsf=17.25))
    with assumed(Change.of(widened(), "4.03").schema) as form:
        converted = Packet.parse(Conversion(form).packet(packet))
        assert converted.schema_version == "4.03"
        assert (converted.candid, converted.object_id, converted.jd) == (7, packet.object_id, packet.jd)
        assert converted.read(["candidate.magpsf", "candidate.host"])["candidate"] == {"magpsf": 17.25, "host": None}


def test_a_rehearsal_with_new_packets_shows_filters_that_do_as_before(night: Path) -> None:
    alerts = [(path.name, path.read_bytes()) for path in sorted(night.iterdir())]
    result = rehearse(Change.of(widened(), "4.03"), alerts, [Spec("asteroid", "asteroid", "a")], made=False)
    assert (result.accepted, result.refused, result.problems()) == (4, {}, [])
    (asteroid,) = result.filters
    assert asteroid.after.offered == asteroid.before.offered == 4
    assert asteroid.compared == {"gains": [], "losses": []}
    assert "4.03" not in schemas.known()
    assert schemas.VARIABLE not in os.environ


def test_a_rehearsal_of_a_schema_without_a_field_shows_which_filter_fails(tmp_path: Path) -> None:
    file = tmp_path / "needy.py"
    file.write_text(
        "from zads.filters import Filter\n\n\nclass Needy(Filter):\n    '''Wants ra.'''\n\n"
        "    fields = ('candidate.ra',)\n\n    def accept(self, alert):\n        return alert['candidate']['ra'] > 0\n"
    )
    alerts = [(f"{number}", make_packet("4.02", number + 1)) for number in range(3)]
    result = rehearse(Change.of(without("ra"), "4.03"), alerts, [Spec("needy", str(file), "a")], made=True)
    assert result.accepted == 3
    assert result.problems() == ["filter needy fails on it"]
    assert "FAILS on 3" in str(result.filters[0])


def test_a_rehearsal_names_packets_that_would_be_refused() -> None:
    alerts = [("1", packet_of(widened(), 1, programid=9)), ("2", packet_of(widened(), 2))]
    result = rehearse(Change.of(widened(), "4.03"), alerts, [], made=False)
    assert result.problems() == ["1 packets are refused: candidate.programid: 9 is not a programme (1, 2 or 3)"]


class Record:
    """A record of zads_rejected, as a consumer gives it."""

    def __init__(
        self, data: bytes, offset: int, exposure: str = "e1", field: str = "header", reason: str = "", days: float = 0,
        **headers: bytes,
    ) -> None:  # fmt: skip
        why = reason or f"{header.UNKNOWN} 3.2, or altered (it says version '4.03')"
        self._headers = [(names.HEADER_FIELD, field.encode()), (names.HEADER_REASON, why.encode())]
        self._headers += list(headers.items())
        self._data, self._offset, self._key, self._when = data, offset, exposure.encode(), NOW - days * 86_400

    def value(self) -> bytes:
        return self._data

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers

    def key(self) -> bytes:
        return self._key

    def timestamp(self) -> tuple[int, int]:
        return 2, int(self._when * 1000)

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset


GOOD = make_packet("4.02", 1)
THERE = {Packet.parse(GOOD).topic}


def chosen(*records: Record, there: set[str] = THERE) -> retry.Plan:
    return retry.chosen(records, there, schemas.REFUSE, NOW)  # type: ignore[arg-type]


def test_only_packets_that_were_refused_for_their_schema_and_are_valid_now_are_retried() -> None:
    still = packet_of(widened(), 5)
    plan = chosen(
        Record(GOOD, 0),
        Record(make_packet("4.02", 2), 1, field="schemavsn", reason="it claims version '4.02', its schema is 4.01"),
        Record(make_packet("4.02", 3), 2, field="candid", reason="candid 3 is already in this exposure"),
        Record(make_packet("4.02", 4), 3, filter=b"asteroid"),
        Record(still, 4),
        Record(bytes(1_000_000), 5),
        Record(b"", 6, field="", reason="not a readable archive"),
        Record(make_packet("4.02", 6), 7, reason="its schema is not JSON"),
    )
    assert plan.packets == 2
    assert plan.left[retry.OTHER] == 3
    assert plan.left[retry.FILTERS] == plan.left[retry.CUT] == 1
    assert [count for why, count in plan.left.items() if why.startswith(retry.STILL)] == [1]


def test_a_packet_is_left_out_when_an_earlier_retry_of_it_may_be_forgotten() -> None:
    assert chosen(Record(GOOD, 0, days=6.9)).packets == 1
    assert chosen(Record(GOOD, 0, days=7.1)).left == {retry.OLD: 1}
    # The first refusal counts: after it, the packet may have been published at any time.
    assert chosen(Record(GOOD, 0, days=7.1), Record(GOOD, 9, days=1)).left == {retry.OLD: 1}
    assert retry.OLDEST_SECONDS < ledger.KEEP_SECONDS


def test_a_packet_waits_until_its_night_has_a_topic() -> None:
    plan = chosen(Record(GOOD, 0), there=set())
    assert plan.left == {f"{retry.NO_TOPIC}{Packet.parse(GOOD).night}": 1}


def test_a_packet_is_retried_once_however_often_it_was_refused() -> None:
    assert chosen(Record(GOOD, 0), Record(GOOD, 1), Record(GOOD, 2)).packets == 1


def test_the_same_refusals_make_the_same_exposure_and_further_ones_another() -> None:
    (first,) = chosen(Record(GOOD, 0)).exposures
    (same,) = chosen(Record(GOOD, 0)).exposures
    # It was refused again, under the name of its first retry: the producer had not known the schema yet.
    (again,) = chosen(Record(GOOD, 0), Record(GOOD, 8, exposure=first.name)).exposures
    assert first.name == same.name
    assert again.name.startswith("e1.retry-")
    assert again.name.count("retry") == 1
    assert again.name != first.name


def test_a_night_that_came_as_one_exposure_is_given_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [Record(make_packet("4.02", number), number) for number in range(1, 6)]
    monkeypatch.setattr(retry, "PART_BYTES", 2 * len(GOOD) + 100)
    plan = chosen(*records)
    assert [len(one.packets) for one in plan.exposures] == [2, 2, 1]
    assert len({one.name for one in plan.exposures}) == 3
    # Further refusals leave the names of the full parts as they are.
    assert [one.name for one in chosen(*records[:4]).exposures] == [one.name for one in plan.exposures[:2]]


@pytest.mark.parametrize("name", ["a/b", "", ".hidden", "é", "x" * 300, "a b", "e\udcff"])
def test_an_odd_name_of_an_exposure_becomes_no_odd_file(name: str) -> None:
    again = retry.Again(name, (retry.Refused(retry.Place(0, 1), b"d" * 32, "t", 1),))
    assert again.name.startswith("exposure-")
    assert len(again.name) < 100
    assert "/" not in again.name


def test_archives_hold_the_refused_bytes_and_appear_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [Record(make_packet("4.02", number), number, exposure=f"e{number % 2}") for number in (1, 2, 3)]
    monkeypatch.setattr(retry, "replay", lambda *_: iter(records))
    paths = retry.deliver({}, chosen(*records), tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    found = []
    for path in paths:
        with tarfile.open(path) as archive:
            found += [archive.extractfile(member).read() for member in archive]  # type: ignore[union-attr]
    assert sorted(found) == sorted(record.value() for record in records)


def test_nothing_appears_if_the_topic_has_lost_a_packet_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [Record(make_packet("4.02", number), number) for number in (1, 2)]
    monkeypatch.setattr(retry, "replay", lambda *_: iter(records[1:]))
    with pytest.raises(ZadsError, match="1 of 2 packets are not in zads_rejected any more"):
        retry.deliver({}, chosen(*records), tmp_path)
    assert list(tmp_path.iterdir()) == []


class Settled:
    """A spool whose producer settles everything at once; `receipts` has what it writes, by the archive's name."""

    def __init__(self, *settled: dict[str, Any], waits: int = 0) -> None:
        self.given: dict[str, bytes] = {}
        self.receipts: dict[str, dict[str, Any]] = {}
        self._settled, self._waits = list(settled), waits

    def put(self, name: str, content: bytes) -> None:
        self.given[name] = content
        self.receipts[name] = self._settled.pop(0)

    def pending(self) -> int:
        return self._waits

    def receipt(self, name: str) -> dict[str, Any]:
        return self.receipts.get(name, {})


@pytest.mark.parametrize(
    ("receipt", "outcome"),
    [
        ({"published": {"t": 2}, "refused": 0, "already": 0}, "2 published, 0 published before, 0 refused again"),
        ({"published": {}, "refused": 0, "already": 2}, "0 published, 2 published before, 0 refused again"),
        ({"published": {"t": 2}, "published_before": True}, "0 published, 2 published before, 0 refused again"),
        ({"published": {"t": 1}, "refused": 1}, "1 published, 0 published before, 1 refused again"),
        ({}, "0 published, 0 published before, 1 refused again"),
    ],
)
def test_receipts_say_what_became_of_the_packets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receipt: dict[str, Any], outcome: str
) -> None:
    records = [Record(make_packet("4.02", number), number) for number in (1, 2)]
    monkeypatch.setattr(retry, "replay", lambda *_: iter(records))
    monkeypatch.setattr(retry, "_RECEIPT_SECONDS", 0.0)
    spool = Settled(receipt)
    assert str(retry.give({}, chosen(*records), spool, tmp_path, 1)) == outcome
    # What has a receipt is not given again.
    if receipt:
        spool.given.clear()
        again = retry.give({}, chosen(*records), spool, tmp_path, 1)
        assert (spool.given, again.already) == ({}, 2)


def test_a_producer_that_does_not_settle_in_time_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "replay", lambda *_: iter([Record(GOOD, 0)]))
    with pytest.raises(ZadsError, match="1 exposures still wait in the spool"):
        retry.give({}, chosen(Record(GOOD, 0)), Settled({}, waits=1), tmp_path, 0)


def test_diff_and_add_are_commands(
    night: Path, checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.run(["schema", "diff", str(night)]) == 0
    told = capsys.readouterr().out
    assert "new: readers of 4.02 can read it" in told
    assert "candidate.host is new" in told
    assert "known: it is 4.02" in told
    assert "the producer and the filter workers: notices nothing" in told
    assert cli.run(["schema", "diff", "--json", str(night)]) == 0
    assert [one["known"] for one in json.loads(capsys.readouterr().out)] == [False, True]
    (checkout / "inventories").mkdir()
    (checkout / "pyproject.toml").touch()
    monkeypatch.chdir(checkout)
    assert cli.run(["schema", "add", str(night)]) == 0
    assert (checkout / "schemas/ztf/4.03/alert.avsc").is_file()
    assert cli.run(["schema", "add", str(night / "9.avro")]) == 1
    assert "all schemas are known" in capsys.readouterr().err


def test_the_packets_of_2019_without_a_number_of_their_own_are_described(real_packets: list[Path]) -> None:
    """Packets that say 3.2 and have five fields more than those of 2018, as if that form were not known."""
    path = next((one for one in real_packets if _form(one) == "alert_2019"), None)
    if path is None:
        pytest.skip("no packet of January 2019 in ZADS_ALERTS")
    (sample,) = samples.read([path]).samples
    assert sample.version == "3.2"
    first = schemas.get("3.2")
    found = {one.field for one in Change.of(sample.definition, "3.2").differences}
    assert found == set()
    names = described.fields(sample.definition).keys() - described.fields(first.definition).keys()
    assert len(names) == 5


def _form(path: Path) -> str:
    return Packet.parse(path.read_bytes())._readable.schema.form


def test_reading_a_schema_that_could_hurt_is_refused(tmp_path: Path) -> None:
    bad = tmp_path / "bad.avsc"
    for text in ("[]", "{", '{"type": "record", "name": "a", "fields": [{"name": "x", "type": "a"}]}', '"int"'):
        bad.write_text(text)
        with pytest.raises(ZadsError, match="no schema found"):
            samples.read([bad])


def test_another_codec_is_named(tmp_path: Path) -> None:
    out = io.BytesIO()
    fastavro.writer(out, schemas.get("4.02").definition, [make_record("4.02")], codec="bzip2")
    (tmp_path / "a.avro").write_bytes(out.getvalue())
    with pytest.raises(ZadsError, match="compressed in a way that is not ours"):
        samples.read([tmp_path])


def test_a_changed_record_is_still_the_producers_to_refuse() -> None:
    data = reencoded(packet_of(widened()), lambda record: record.update(schemavsn="4.04"))
    with assumed(Change.of(widened(), "4.03").schema), pytest.raises(PacketError, match=r"claims version '4\.04'"):
        Packet.parse(data)
