"""Known versions are complete, and what makes one unreadable for another is said."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastavro
import pytest

from zads import schemas
from zads.errors import ZadsError


def changed(edit: Any) -> schemas.Schema:
    schema = schemas.get("4.01")
    definition = copy.deepcopy(schema.definition)
    edit(next(field for field in definition["fields"] if field["name"] == "candidate")["type"]["fields"])
    return replace(schema, definition=definition, canonical=schemas.canonical(definition))


def shape(node: Any) -> Any:
    """Names, types, order and defaults: all of a schema but its words and its records' versions, which lag behind."""
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
    assert list(schemas.known()) == ["3.2", "3.3", "4.01", "4.02"]


@pytest.mark.parametrize(("old", "new"), list(pairwise(["3.2", "3.3", "4.01", "4.02"])))
def test_each_version_can_be_read_by_who_knows_the_one_before(old: str, new: str) -> None:
    assert schemas.compatible(schemas.get(old), schemas.get(new)) == []


def test_a_reader_of_a_newer_version_misses_what_an_older_one_lacks() -> None:
    reasons = schemas.compatible(schemas.get("4.01"), schemas.get("3.2"))
    assert "candidate.drb is gone" in reasons
    assert "fp_hists is gone" in reasons


def test_a_field_that_is_gone_is_named() -> None:
    without = changed(lambda fields: fields.pop(0))
    assert schemas.compatible(schemas.get("4.01"), without) == ["candidate.jd is gone"]


def test_a_type_that_cannot_be_promoted_is_named() -> None:
    wider = changed(lambda fields: fields[0].update(type="string"))
    assert schemas.compatible(schemas.get("4.01"), wider) == ["candidate.jd: string cannot be read as double"]
    assert schemas.compatible(schemas.get("4.01"), changed(lambda fields: fields[0].update(type="float"))) == []


def test_a_required_field_must_not_become_optional() -> None:
    optional = changed(lambda fields: fields[0].update(type=["null", "double"]))
    assert schemas.compatible(schemas.get("4.01"), optional) == ["candidate.jd: null cannot be read as double"]


def test_an_unknown_version_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ZadsError, match=r"3\.2, 3\.3, 4\.01, 4\.02"):
        schemas.get("5.0")


def test_versions_that_mean_the_same_bytes_are_told_apart_by_what_they_claim() -> None:
    for version in ("4.01", "4.02"):
        found = schemas.identify(schemas.get(version).definition)
        assert found is not None
        assert found.version == version
