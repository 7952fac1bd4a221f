"""The index of published alerts: it prevents a second publication, is small, and lasts until topics forget them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads import ledger
from zads.ledger import AlertIndex, Ledger, LedgerEntry, Row, rows_record

NIGHT = "20300401"


def row(candid: int, data: bytes = b"x", exposure: str = "a", night: str = NIGHT) -> Row:
    return Row.of_alert(exposure, night, candid, hashlib.sha256(data).digest())


def remembered(*rows: Row, written: float = 1e9) -> AlertIndex:
    found = AlertIndex()
    key, packed, _ = rows_record("a", rows)
    found.add([(key, packed, written)])
    return found


def test_the_same_bytes_are_known_by_whatever_exposure_they_came():
    found = remembered(row(7))
    assert found.precedent(row(7)) == (1, True, True)
    assert found.precedent(row(7, exposure="b")) == (1, True, False)
    assert found.precedent(row(7, b"y")) == (1, False, False)
    assert found.precedent(row(8)) == (0, False, False)
    assert found.precedent(row(7, night="20300402")) == (0, False, False)


def test_contents_of_one_candid_are_counted():
    found = remembered(row(7), row(7, b"y"), row(7, exposure="b"))
    assert found.precedent(row(7, b"z")) == (2, False, False)
    assert found.precedent(row(7, b"y")).same


def test_a_refusal_is_known_by_its_file_reason_and_bytes():
    digest = hashlib.sha256(b"x").digest()
    found = remembered(Row.of_refusal("a", "f", "why", digest))
    assert found.precedent(Row.of_refusal("a", "f", "why", digest)).own
    for other in (("b", "f", "why"), ("a", "g", "why"), ("a", "f", "else")):
        assert not found.precedent(Row.of_refusal(*other, digest)).own


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), max_size=200), st.integers(0, 5))
def test_a_table_knows_what_it_was_given_and_nothing_else(pairs, bits):
    ledger_table = ledger._Table()
    ledger_table._make(1 << bits)  # it grows from any size
    for start in range(0, len(pairs), 7):
        part = np.array(pairs[start : start + 7], np.uint64).reshape(-1, 2)
        ledger_table.insert(part[:, 0], part[:, 1])
    for candid in range(1, 45):
        assert sorted(ledger_table.find(candid)) == sorted(content for number, content in pairs if number == candid)


def test_candids_that_follow_one_another_keep_apart_and_a_night_fits_into_16_bytes_an_alert():
    found = AlertIndex()
    rows = np.zeros(100_000, ledger._RECORD)
    rows["night"], rows["candid"] = int(NIGHT), np.arange(1, 100_001) * 1000 + 4838125000015000000
    rows["content"] = np.arange(100_000)
    found.add([("k", rows, 1e9)])
    assert len(found) == 100_000
    table = found._nights[int(NIGHT)]
    assert table._candids.nbytes + table._contents.nbytes <= 16 * ledger._PLACES
    assert table.find(4838125000015000000 + 5000) == [4]


def test_the_ledger_is_rebuilt_from_its_records():
    key, _, value = rows_record("a", [row(7)])
    built = Ledger()
    entry = LedgerEntry(3, "abc", {"t": 2}, 1, True, indexed=True)
    built.add("a", entry.record(), 1e9)
    built.add(key, value, 1e9)
    built.add("gone", entry.record(), 1e9)
    built.add("gone", None, 1e9)
    built.finish()
    assert built.entries == {"a": entry}
    assert built.index.precedent(row(7)).own


def test_entries_of_an_older_and_of_a_newer_release_are_read():
    built = Ledger()
    built.add("old", b'{"read": 1, "digest": "d", "published": {}, "refused": 0, "complete": true}', 0)
    built.add("new", b'{"read": 1, "digest": "d", "published": {}, "indexed": true, "novelty": 1}', 0)
    assert not built.entries["old"].indexed
    assert built.entries["new"].indexed


def test_rows_are_forgotten_when_the_topics_have_forgotten_their_alerts():
    found = remembered(row(7), written=1e9)
    key, packed, _ = rows_record("b", [row(8, night="20300402")])
    found.add([(key, packed, 1e9 + 5 * 86400)])
    day = 1e9 + 9 * 86400
    (old,) = found.expired(day)
    found.forget([old], day)
    assert not found.expired(day)
    assert found.precedent(row(7)).contents == 0
    assert found.precedent(row(8, night="20300402")).same


def test_records_of_different_alerts_have_different_keys():
    keys = {rows_record(name, [row(number)])[0] for name in "ab" for number in (1, 2)}
    assert len(keys) == 4
    assert all("/alerts/" in key for key in keys)


@pytest.mark.parametrize("candid", [1, (1 << 63) - 1])
def test_any_candid_can_be_kept(candid):
    assert remembered(row(candid)).precedent(row(candid)).same
