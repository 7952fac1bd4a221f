"""All versions are known, and what makes a schema incompatible with another is named."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastavro
import pytest

from zads import schemas
from zads.avro import schema as avro_schema
from zads.avro.differences import differences
from zads.errors import ZadsError


def changed(edit: Any) -> schemas.Schema:
    schema = schemas.get("4.01")
    definition = copy.deepcopy(schema.definition)
    edit(next(field for field in definition["fields"] if field["name"] == "candidate")["type"]["fields"])
    return replace(schema, definition=definition, canonical=avro_schema.canonical(definition))


def breaks(old: schemas.Schema, new: schemas.Schema) -> list[str]:
    """Why a reader that knows the old schema could not read alerts of the new one."""
    return [str(one) for one in differences(old.definition, new.definition) if one.breaks]


def shape(node: Any) -> Any:
    """A schema without its documentation and its records' versions, which lag behind."""
    if isinstance(node, list):
        return [shape(item) for item in node]
    if isinstance(node, dict):
        return {key: shape(value) for key, value in node.items() if key not in ("doc", "version")}
    return node


def test_known_schemas_are_those_of_real_packets_to_their_defaults(real_packets: list[Path]) -> None:
    embedded = {}
    for file in real_packets:
        with file.open("rb") as stream:
            embedded[fastavro.reader(stream).metadata["avro.schema"]] = file
    for text, file in embedded.items():
        definition = json.loads(text)
        found = schemas.identify(definition)
        assert found is not None, file
        assert shape(definition)["fields"] == shape(found.definition)["fields"], file


def test_four_versions_are_known() -> None:
    assert list(schemas.known())[:4] == ["3.2", "3.3", "4.01", "4.02"]
    assert {schema.form for schema in schemas.known().values()} == {schemas.FIRST_FORM}


def test_a_version_may_have_several_forms() -> None:
    first, later = (form for form in schemas.forms() if form.version == "3.2")
    assert (first.name, later.name) == ("3.2", "3.2 (alert_2019)")
    found = [(one.field, one.breaks) for one in differences(first.definition, later.definition)]
    new = ("magzpsci", "magzpsciunc", "magzpscirms", "clrcoeff", "clrcounc")
    assert found == [(f"prv_candidates.{name}", False) for name in new]
    assert schemas.identify(later.definition) == later


def test_a_fingerprint_is_that_of_the_parsing_canonical_form_and_ignores_documentation() -> None:
    schema = schemas.get("4.01")
    worded = schemas.Schema("4.01", {**schema.definition, "doc": "Other documentation."}, schema.canonical)
    form = fastavro.schema.to_parsing_canonical_form(schema.definition)
    assert worded.fingerprint == schema.fingerprint == hashlib.sha256(form.encode()).hexdigest()[:16]
    assert schema.fingerprint != schemas.get("3.3").fingerprint


@pytest.mark.parametrize(("old", "new"), list(pairwise(schemas.known())))
def test_a_reader_of_a_version_can_read_the_next(old: str, new: str) -> None:
    assert breaks(schemas.get(old), schemas.get(new)) == []


def test_a_reader_of_a_new_version_cannot_read_an_older_one() -> None:
    reasons = breaks(schemas.get("4.01"), schemas.get("3.2"))
    assert "candidate.drb is gone" in reasons
    assert "fp_hists is gone" in reasons


def test_a_field_that_is_gone_is_named() -> None:
    without = changed(lambda fields: fields.pop(0))
    assert breaks(schemas.get("4.01"), without) == ["candidate.jd is gone"]


@pytest.mark.parametrize("kind", ["string", "float", "long", {"type": "double", "logicalType": "days"}])
def test_a_field_of_another_type_is_named_even_if_avro_could_read_it(kind: Any) -> None:
    other = changed(lambda fields: fields[0].update(type=kind))
    (reason,) = breaks(schemas.get("4.01"), other)
    assert reason.startswith("candidate.jd is ")
    assert reason.endswith(", not double")


def test_a_required_field_must_not_become_optional() -> None:
    optional = changed(lambda fields: fields[0].update(type=["null", "double"]))
    assert breaks(schemas.get("4.01"), optional) == ["candidate.jd is null or double, not double"]


def test_the_refusal_of_an_unknown_version_names_the_known_ones() -> None:
    with pytest.raises(ZadsError, match=r"3\.2, 3\.3, 4\.01, 4\.02"):
        schemas.get("5.0")


@pytest.mark.parametrize(
    ("claimed", "found", "new"),
    [("4.02", "4.02", False), ("3.3", "4.01", False), (None, "4.01", False), ("4.03", "4.01", True)],
)
def test_a_known_schema_may_claim_a_new_version(claimed: Any, found: str, new: bool) -> None:
    definition = {**schemas.get("4.02").definition, "version": claimed}
    schema, other = schemas.identify(definition), schemas.renumbered(definition)
    assert (schema and schema.version) == found
    assert (other is not None) == new
    assert other is None or (other.compatible and other.schema.version == "4.03")


def test_versions_of_the_same_meaning_are_distinguished_by_their_claims() -> None:
    for version in ("4.01", "4.02"):
        found = schemas.identify(schemas.get(version).definition)
        assert found is not None
        assert found.version == version


def candidate(definition: dict[str, Any]) -> list[dict[str, Any]]:
    return next(field for field in definition["fields"] if field["name"] == "candidate")["type"]["fields"]


def named(fields: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(field for field in fields if field["name"] == name)


OPTIONAL = {"name": "extra", "type": ["null", "float"], "default": None}
STATES = {"type": "enum", "name": "states", "symbols": ["new", "old"]}


def edited(what: str) -> dict[str, Any]:
    """4.02 with one change, under a new version."""
    definition = copy.deepcopy(schemas.get("4.02").definition) | {"version": "4.03"}
    fields = candidate(definition)
    edits: dict[str, Any] = {
        "nothing but the number": lambda: None,
        "a new optional field": lambda: fields.append(OPTIONAL),
        "a new field that must be there": lambda: fields.insert(3, {"name": "extra", "type": "int"}),
        "a new record": lambda: definition["fields"].append(
            {"name": "host", "type": ["null", {"type": "record", "name": "host", "fields": [OPTIONAL]}]}
        ),
        "a new enum": lambda: fields.append({"name": "state", "type": STATES}),
        "a new map": lambda: fields.append({"name": "notes", "type": {"type": "map", "values": "string"}}),
        "a new checksum": lambda: fields.append({"name": "sum", "type": {"type": "fixed", "name": "md5", "size": 16}}),
        "a new time": lambda: fields.append({"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}}),
        "fields in another order": fields.reverse,
        "branches in another order": lambda: named(fields, "drb")["type"].reverse(),
        "a field that is never null now": lambda: named(fields, "drb").update(type="float", default=0.0),
        "another default": lambda: named(fields, "drb").update(type=["float", "null"], default=0.0),
        "another alias": lambda: named(fields, "drb").update(aliases=["deep_rb"]),
        "another documentation": lambda: definition.update(doc="A new sentence."),
        "a field gone": lambda: fields.remove(named(fields, "ra")),
        "a field renamed, its old name an alias": lambda: named(fields, "ra").update(name="ra2", aliases=["ra"]),
        "a field in capitals": lambda: named(fields, "ra").update(name="RA"),
        "a date as float": lambda: named(fields, "jd").update(type="float"),
        "a wider number": lambda: named(fields, "fid").update(type="long"),
        "a text for a number": lambda: named(fields, "candid").update(type="string"),
        "a field that can be null now": lambda: named(fields, "ra").update(type=["null", "double"]),
        "a further branch": lambda: named(fields, "drb").update(type=["null", "float", "string"]),
        "only null": lambda: named(fields, "drb").update(type="null"),
        "a logical type": lambda: named(fields, "pid").update(type={"type": "long", "logicalType": "timestamp-micros"}),
        "an array for a value": lambda: named(fields, "ra").update(type={"type": "array", "items": "double"}),
        "an enum for a text": lambda: named(fields, "isdiffpos").update(type=STATES),
        "a record renamed": lambda: named(definition["fields"], "candidate")["type"].update(name="candidat"),
        "another namespace": lambda: definition.update(name="lsst.alert"),
        "the alert renamed": lambda: definition.update(name="ztf.alarm"),
    }
    edits[what]()
    return definition


COMPATIBLE = [
    "nothing but the number", "a new optional field", "a new field that must be there", "a new record", "a new enum",
    "a new map", "a new checksum", "a new time", "fields in another order", "branches in another order",
    "a field that is never null now", "another default", "another alias", "another documentation",
]  # fmt: skip
INCOMPATIBLE = {
    "a field gone": "candidate.ra is gone",
    "a field renamed, its old name an alias": "candidate.ra is gone",
    "a field in capitals": "candidate.ra is gone",
    "a date as float": "candidate.jd is float, not double",
    "a wider number": "candidate.fid is long, not int",
    "a text for a number": "candidate.candid is string, not long",
    "a field that can be null now": "candidate.ra is null or double, not double",
    "a further branch": "candidate.drb is null or float or string, not null or float",
    "only null": "candidate.drb is null, not null or float",
    "a logical type": "candidate.pid is timestamp-micros (long), not long",
    "an array for a value": "candidate.ra is array, not double",
    "an enum for a text": "candidate.isdiffpos is enum ztf.alert.states, not string",
    "a record renamed": "candidate is record ztf.alert.candidat, not record ztf.alert.candidate",
    "another namespace": "the record is record lsst.alert, not record ztf.alert",
    "the alert renamed": "the record is record ztf.alarm, not record ztf.alert",
}


@pytest.mark.parametrize("what", COMPATIBLE)
def test_a_change_that_no_reader_notices_is_compatible(what: str) -> None:
    new = schemas.compare(edited(what))
    assert new.compatible, str(new)
    assert new.nearest.version == "4.02"


@pytest.mark.parametrize("what", INCOMPATIBLE)
def test_a_change_that_a_reader_would_miss_or_mistake_is_incompatible_and_named(what: str) -> None:
    new = schemas.compare(edited(what))
    assert not new.compatible
    assert str(new.differences[0]) == INCOMPATIBLE[what]


@pytest.mark.parametrize(
    ("claimed", "nearest"),
    [("3.2", "3.2 (alert_2019)"), ("3.25", "3.3"), ("3.4", "3.3"), ("3.10", "3.3"), ("1.0", "3.2 (alert_2019)")],
)
def test_a_new_schema_is_compared_with_the_version_that_it_claims_or_the_one_before(claimed: str, nearest: str) -> None:
    definition = copy.deepcopy(schemas.get("3.3").definition) | {"version": claimed}
    candidate(definition).append(OPTIONAL)
    assert schemas.compare(definition).nearest.name == nearest


@pytest.mark.parametrize("claimed", [None, 4.03, "", "four", "4.02\n", "4" * 40, "4.٣"])
def test_a_schema_that_claims_no_version_is_not_compared(claimed: Any) -> None:
    with pytest.raises(ZadsError, match="which is not a version"):
        schemas.compare(copy.deepcopy(schemas.get("4.02").definition) | {"version": claimed})


def test_a_few_new_schemas_are_accepted_if_they_are_compatible() -> None:
    admission = schemas.Admission(accepts=True)
    assert "could not read it" in admission.refusal(schemas.compare(edited("a field gone")))
    assert "producer_new_schemas" in schemas.REFUSE.refusal(schemas.compare(edited("a new optional field")))
    many = []
    for number in range(schemas.MAX_NEW + 1):
        definition = edited("nothing but the number")
        candidate(definition).append({"name": f"extra{number}", "type": "int"})
        many.append(schemas.compare(definition))
    answers = [admission.refusal(one) for one in [*many, *many]]
    assert answers[: schemas.MAX_NEW] == [""] * schemas.MAX_NEW
    assert "16 new schemas" in answers[schemas.MAX_NEW]
    assert answers == answers[: len(many)] * 2


def nested(levels: int) -> dict[str, Any]:
    inner: Any = "int"
    for _ in range(levels):
        inner = {"type": "array", "items": inner}
    return {"type": "record", "name": "a", "fields": [{"name": "x", "type": inner}]}


def record(kind: Any, name: str = "x") -> dict[str, Any]:
    return {"type": "record", "name": "a", "fields": [{"name": name, "type": kind}]}


BAD_SCHEMAS: dict[str, tuple[Any, str]] = {
    "a record within itself": (record(["null", "a"]), "within itself"),
    "a record that is its own field": (record("a"), "within itself"),
    "many levels": (nested(40), "levels"),
    "many fields": ({**record("int"), "fields": [{"name": f"f{i}", "type": "int"} for i in range(5000)]}, "4000 types"),
    "items without bytes": (record({"type": "array", "items": "null"}), "no bytes"),
    "items of empty records": (
        record({"type": "array", "items": {"type": "record", "name": "e", "fields": []}}),
        "no bytes",
    ),
    "an item of no size": (record({"type": "array", "items": {"type": "fixed", "name": "f", "size": 0}}), "no bytes"),
    "an empty union": (record([]), "0 branches"),
    "a union of many": (record([{"type": "fixed", "name": f"f{i}", "size": 1} for i in range(70)]), "70 branches"),
    "a union in a union": (record(["null", ["int"]]), "within another"),
    "a branch twice": (record(["int", "int"]), "'int' twice"),
    "a field twice": ({**record("int"), "fields": 2 * [{"name": "x", "type": "int"}]}, "'x' twice"),
    "a field with a dot": (record("int", "x.y"), "'x.y' cannot be"),
    "a field without a name": ({**record("int"), "fields": [{"type": "int"}]}, "no 'name'"),
    "a field without a type": ({**record("int"), "fields": [{"name": "x"}]}, "no 'type'"),
    "fields that are not a list": ({**record("int"), "fields": 3}, "no list"),
    "a name that is not a text": ({**record("int"), "name": ["a"]}, "cannot be a type's name"),
    "a type that is a number": (record(7), "not an Avro type"),
    "an unknown type": (record("b"), "does not define"),
    "a negative size": (record({"type": "fixed", "name": "f", "size": -1}), "size -1"),
    "a size that is true": (record({"type": "fixed", "name": "f", "size": True}), "size True"),
    "a symbol twice": (record({"type": "enum", "name": "e", "symbols": ["a", "a"]}), "symbols"),
    "an array of nothing": (record({"type": "array"}), "no 'items'"),
    "a map of nothing": (record({"type": "map"}), "no 'values'"),
}


@pytest.mark.parametrize("kind", BAD_SCHEMAS)
def test_a_schema_that_could_hurt_a_reader_is_refused(kind: str) -> None:
    definition, reason = BAD_SCHEMAS[kind]
    with pytest.raises(ZadsError, match=reason):
        avro_schema.resolved(definition)


@pytest.mark.parametrize("text", ["", "{", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000, "1" * 5000, "\ud800"])
def test_what_parsers_of_json_could_read_differently_is_not_a_schema(text: str) -> None:
    with pytest.raises(ZadsError, match="not JSON"):
        avro_schema.parse(text)
