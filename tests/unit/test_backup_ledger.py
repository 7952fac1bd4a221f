"""What a new origin's ledger says: what a site holds is not published again, and what no site holds is."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads import ledger
from zads.backup import records
from zads.backup.records import LedgerRecord
from zads.backup.settled import Held, Settled, missing, settle
from zads.errors import ZadsError
from zads.ledger import Ledger, LedgerEntry, Row

NIGHT = "20300401"
NOW = 1.9e9
WEEK = 7 * 86400.0


def row(candid: int, data: bytes = b"x", exposure: str = "e") -> Row:
    return Row.of_alert(exposure, NIGHT, candid, hashlib.sha256(data).digest())


def refusal(exposure: str = "e") -> Row:
    return Row.of_refusal(exposure, "file", "why", hashlib.sha256(b"y").digest())


def rows(exposure: str, *them: Row, age: float = 60.0) -> LedgerRecord:
    key, _, value = ledger.rows_record(exposure, them)
    return LedgerRecord(ledger.key_bytes(key), value, (("produced", b"1"),), int((NOW - age) * 1000))


def entry(exposure: str, age: float = 60.0, **about: object) -> LedgerRecord:
    made = LedgerEntry(read=1, complete=True, **{"indexed": True, **about})  # type: ignore[arg-type]
    return LedgerRecord(ledger.key_bytes(exposure), made.record(), (), int((NOW - age) * 1000))


def held(*them: Row) -> Held:
    found = Held()
    found.add(them)
    return found


def settled(*before: LedgerRecord, there: Held) -> Settled:
    return settle(before, there, retention=WEEK, now=NOW)


def read(found: Settled) -> Ledger:
    """The ledger as a producer would read it."""
    made = Ledger()
    for record in found.records:
        made.add(record.key.decode("utf-8", "surrogateescape"), record.value, record.written / 1000)
    made.finish()
    return made


def knows(found: Settled, one: Row) -> bool:
    return read(found).index.precedent(one).same


def test_what_the_sites_hold_stays_as_it_was() -> None:
    before = [entry("e"), rows("e", row(1), row(2))]
    found = settled(*before, there=held(row(1, exposure="other"), row(2)))
    assert sorted(found.records) == sorted(before)
    assert (found.kept, found.lost) == (2, {})


def test_an_alert_that_no_site_holds_is_forgotten_with_its_exposures_entry() -> None:
    found = settled(entry("e"), rows("e", row(1), row(2)), entry("f"), rows("f", row(3)), there=held(row(1), row(3)))
    assert knows(found, row(1))
    assert not knows(found, row(2))
    assert read(found).entries.keys() == {"f"}
    assert found.lost == {"e": 1}


def test_the_same_candid_with_other_bytes_is_another_alert() -> None:
    found = settled(rows("e", row(1, b"old")), there=held(row(1, b"new")))
    assert not knows(found, row(1, b"old"))
    assert knows(found, row(1, b"new"))
    assert read(found).index.precedent(row(1, b"old")).contents == 1, "its next packet is a second version"


def test_what_was_published_after_the_backup_is_known() -> None:
    found = settled(there=held(row(7, b"later"), row(8)))
    assert knows(found, row(7, b"later"))
    assert knows(found, row(8))
    assert read(found).entries == {}
    assert found.kept == 2


def test_an_alert_whose_retention_has_ended_is_not_published_again() -> None:
    before = entry("e", WEEK + 1), rows("e", row(1), age=WEEK + 1)
    found = settled(*before, there=held())
    assert knows(found, row(1))
    assert read(found).entries.keys() == {"e"}
    assert found.lost == {}


def test_refusals_are_repeated_since_their_topic_is_lost() -> None:
    found = settled(entry("e", refused=1), rows("e", row(1), refusal()), there=held(row(1)))
    assert knows(found, row(1))
    assert not read(found).index.precedent(refusal()).same
    assert read(found).entries == {}
    assert found.lost == {}, "a refused file is no alert"


@pytest.mark.parametrize("about", [{"indexed": False}, {"already": 1}])
def test_an_entry_that_cannot_be_judged_by_its_rows_goes_while_its_alerts_would_be_kept(
    about: dict[str, object],
) -> None:
    assert settled(entry("e", **about), there=held()).records == []
    assert settled(entry("e", WEEK + 1, **about), there=held()).records != []


def test_the_times_of_records_are_kept_since_they_say_when_rows_expire() -> None:
    found = settled(rows("e", row(1), row(2), age=3600), there=held(row(1)))
    assert [record.written for record in found.records] == [int((NOW - 3600) * 1000)]


def test_a_repetition_writes_the_same_keys() -> None:
    one, two = (settled(there=held(*them)) for them in ([row(1), row(2)], [row(2), row(1)]))
    assert one.records == two.records


def test_two_sites_hold_an_alert_once() -> None:
    there = held(row(1))
    there.add([row(1, exposure="f"), row(2), row(2)])
    assert len(there) == 2


candids = st.sets(st.integers(1, 12))


@given(published=candids, mirrored=candids, later=candids)
def test_delivered_again_every_alert_is_on_a_site_once(
    published: set[int], mirrored: set[int], later: set[int]
) -> None:
    """`published` are in the backup's ledger; of all alerts, some had reached the public site."""
    public = {one for one in published | later if one in mirrored}
    found = settled(
        *([entry("e"), rows("e", *map(row, sorted(published)))] if published else []), there=held(*map(row, public))
    )
    again = {one for one in published | later if not knows(found, row(one))}
    assert again | public == published | later, "nothing is lost"
    assert not again & public, "nothing is doubled"
    assert sum(found.lost.values()) == len(published - public)


def test_damaged_records_are_named() -> None:
    with pytest.raises(ZadsError, match="b'e/alerts/1'"):
        settled(LedgerRecord(b"e/alerts/1", b"123", (), 0), there=held())
    with pytest.raises(ZadsError, match="b'e'"):
        settled(LedgerRecord(b"e", b"{", (), int(NOW * 1000)), there=held())


def test_what_a_ledger_lacks_is_found() -> None:
    before = [rows("e", row(1), row(2), refusal()), entry("e")]
    assert missing(before, [rows("f", row(2, exposure="f"))]) == [row(1)]
    assert missing(before, before) == []


# packing


def test_records_are_packed_in_parts_and_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_PART_BYTES", 200)
    before = [rows(f"e\udcff{number}", row(number + 1)) for number in range(9)] + [entry("x")]
    members = {name.removeprefix("ledger/"): data for name, data in records.pack(before)}
    assert len(members) > 2
    assert records.unpack(members) == before


def test_an_empty_ledger_is_a_member_as_well() -> None:
    members = dict(records.pack([]))
    assert list(members.values()) == [b""]
    assert records.unpack(members) == []


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b'["a", "b", [], 1]', b'["YQ==", "YQ==", [["n"]], 1]', b'["YQ==", 1, [], 1]']
)
def test_a_damaged_line_is_refused(line: bytes) -> None:
    with pytest.raises(ZadsError, match="ledger cannot be read"):
        records.unpack({"0": line})
