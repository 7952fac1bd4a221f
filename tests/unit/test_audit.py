"""The audit's digests and counts depend on everything in a topic except the order."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads import audit, names
from zads.audit import SiteManifest
from zads.manifest import DIGESTED_HEADERS, Alerts, TopicManifest, identity, record_digest
from zads.replication import TopicState

NAME = "ztf_20181129_programid1"
CONTENT = hashlib.sha256(b"a").digest()
Record = tuple[bytes, bytes, Mapping[str, bytes]]


def headers(candid: int, visit: str = "58451.21875") -> dict[str, bytes]:
    return {
        names.HEADER_CANDID: str(candid).encode(),
        names.HEADER_VISIT: visit.encode(),
        names.HEADER_SCHEMA: b"3.2",
        names.HEADER_PRODUCED: b"1700000000.000000",
    }


RECORDS: list[Record] = [(b"ZTF18aaa", f"packet {number}".encode(), headers(number)) for number in range(4)]


def digest(key: bytes | None, value: bytes, known: Mapping[str, bytes]) -> int:
    return record_digest(key, hashlib.sha256(value).digest(), known)


def disagreements(origin: SiteManifest, public: SiteManifest, programmes: list[int]) -> list[str]:
    return [one.text for one in audit.differences(origin, public, programmes)]


def manifest(records: list[Record], name: str = NAME) -> TopicManifest:
    found = TopicManifest(name)
    for key, value, known in records:
        found.add(key, value, known)
    return found


def site(name: str, *manifests: TopicManifest) -> SiteManifest:
    return SiteManifest(name, {one.topic: one for one in manifests})


@given(st.permutations(RECORDS))
def test_the_digest_does_not_depend_on_order(records: list[Record]) -> None:
    assert manifest(records).digest == manifest(RECORDS).digest


def test_an_empty_topic_has_a_digest_of_zeros() -> None:
    assert manifest([]).digest == "0" * 64


def test_a_record_twice_does_not_vanish_from_the_digest() -> None:
    assert manifest([*RECORDS, RECORDS[0], RECORDS[0]]).digest != manifest(RECORDS).digest
    assert manifest([RECORDS[0], RECORDS[0]]).digest != manifest([]).digest


@pytest.mark.parametrize(
    "altered",
    [
        (b"ZTF18aab", RECORDS[0][1], RECORDS[0][2]),
        (None, RECORDS[0][1], RECORDS[0][2]),
        (RECORDS[0][0], RECORDS[0][1] + b"\0", RECORDS[0][2]),
        *[(RECORDS[0][0], RECORDS[0][1], {**RECORDS[0][2], name: b"9"}) for name in DIGESTED_HEADERS],
        *[
            (RECORDS[0][0], RECORDS[0][1], {n: v for n, v in RECORDS[0][2].items() if n != name})
            for name in DIGESTED_HEADERS
        ],
    ],
)
def test_key_bytes_and_every_header_count(altered: Record) -> None:
    assert digest(*altered) != digest(*RECORDS[0])


def test_bytes_that_move_from_key_to_value_change_the_digest() -> None:
    assert digest(b"ab", b"c", {}) != digest(b"a", b"bc", {})
    assert digest(b"", b"a", {}) != digest(None, b"a", {})


def test_headers_that_others_add_do_not_count() -> None:
    assert digest(b"k", b"v", headers(1) | {"trace": b"x"}) == digest(b"k", b"v", headers(1))


def test_the_same_alert_and_bytes_again_is_a_duplicate() -> None:
    found = manifest([*RECORDS, RECORDS[1], RECORDS[1]])
    assert (found.records, found.duplicates, found.conflicts, found.candids) == (6, 2, 0, 4)


def test_the_same_alert_with_other_bytes_is_a_conflict() -> None:
    found = manifest([*RECORDS, (b"ZTF18aaa", b"other", headers(1))])
    assert (found.duplicates, found.conflicts) == (0, 1)


def marked(number: int) -> dict[str, bytes]:
    return headers(1) | {"version": b"%d" % number}


def test_a_later_version_that_is_marked_is_no_conflict_and_an_unmarked_one_beside_it_is() -> None:
    anew = [(b"ZTF18aaa", b"anew", marked(2)), (b"ZTF18aaa", b"once more", marked(3))]
    found = manifest([*RECORDS, *anew])
    assert (found.duplicates, found.conflicts, found.versions) == (0, 0, 2)
    faulty = manifest([*RECORDS, *anew, (b"ZTF18aaa", b"other", headers(1))])
    assert (faulty.duplicates, faulty.conflicts, faulty.versions) == (0, 1, 2)


def test_a_later_version_that_is_there_twice_is_a_duplicate() -> None:
    found = manifest([*RECORDS, (b"ZTF18aaa", b"anew", marked(2)), (b"ZTF18aaa", b"anew", marked(2))])
    assert (found.duplicates, found.conflicts) == (1, 0)


def test_the_version_is_digested() -> None:
    assert digest(b"k", b"v", marked(2)) != digest(b"k", b"v", marked(3))
    assert digest(b"k", b"v", marked(2)) != digest(b"k", b"v", headers(1))


def test_the_same_candid_in_another_visit_is_another_alert() -> None:
    found = manifest([*RECORDS, (b"ZTF18aaa", RECORDS[1][1], headers(1, "58451.99999"))])
    assert (found.duplicates, found.conflicts, found.candids) == (0, 0, 4)


def test_equal_sites_agree() -> None:
    there, here = site("origin", manifest(RECORDS)), site("public", manifest(RECORDS[::-1]))
    assert disagreements(there, here, [1]) == []


def test_an_alert_that_did_not_arrive_is_named() -> None:
    there, here = site("origin", manifest(RECORDS)), site("public", manifest(RECORDS[:-1]))
    [sentence] = disagreements(there, here, [1])
    assert "origin has 4 records, public has 3" in sentence
    assert "public lacks 1 (candid 3)" in sentence
    assert [one.kind for one in audit.differences(there, here, [1])] == ["not_mirrored"]


def test_a_topic_that_did_not_arrive_is_a_disagreement_unless_it_is_empty() -> None:
    assert disagreements(site("origin", manifest(RECORDS)), site("public"), [1])
    assert disagreements(site("origin", manifest([])), site("public"), [1]) == []


def test_an_alert_from_nowhere_is_a_disagreement() -> None:
    [sentence] = disagreements(site("origin", manifest(RECORDS[:1])), site("public", manifest(RECORDS[:2])), [1])
    assert "only public has 1 (candid 1)" in sentence


def test_altered_bytes_are_a_disagreement_although_counts_agree() -> None:
    altered = [(RECORDS[0][0], b"packet X", RECORDS[0][2]), *RECORDS[1:]]
    [sentence] = disagreements(site("origin", manifest(RECORDS)), site("public", manifest(altered)), [1])
    assert "other bytes of 1 (candid 0)" in sentence


def test_an_altered_key_is_a_disagreement_although_alerts_and_bytes_agree() -> None:
    altered = [(b"ZTF18aab", *RECORDS[0][1:]), *RECORDS[1:]]
    [sentence] = disagreements(site("origin", manifest(RECORDS)), site("public", manifest(altered)), [1])
    assert "other bytes, key or headers" in sentence


def test_a_duplicate_is_a_disagreement_even_when_both_sites_have_it() -> None:
    doubled = [*RECORDS, RECORDS[0]]
    found = disagreements(site("origin", manifest(doubled)), site("public", manifest(doubled)), [1])
    assert [sentence for sentence in found if "more than once" in sentence] == found
    assert len(found) == 2


def test_a_programme_that_the_policy_does_not_give_may_not_be_at_public() -> None:
    name = "ztf_20181129_programid2"
    there = site("origin", manifest(RECORDS, name))
    assert disagreements(there, site("public"), [1]) == []
    [sentence] = disagreements(there, site("public", manifest(RECORDS, name)), [1])
    assert "data policy" in sentence
    assert disagreements(there, site("public", manifest(RECORDS, name)), [1, 2]) == []


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        (RECORDS[:2], []),
        ([(b"ZTF18aaa", b"re-encoded", headers(1))], ["are not the bytes"]),
        ([(b"ZTF18aaa", b"packet 9", headers(9))], ["in no topic of their night"]),
        ([RECORDS[0], RECORDS[0]], ["more than once"]),
    ],
)
def test_a_filter_passes_the_bytes_that_the_public_site_received_once(
    passed: list[Record], expected: list[str]
) -> None:
    here = site("public", manifest(RECORDS))
    here.filters["ztf_filter_bright"] = manifest(passed, "ztf_filter_bright")
    found = disagreements(site("origin", manifest(RECORDS)), here, [1])
    assert len(found) == len(expected)
    for sentence, words in zip(found, expected, strict=True):
        assert words in sentence


@pytest.mark.parametrize(("under", "leaderless", "words"), [(2, 0, "under-replicated"), (0, 1, "no leader")])
def test_a_partition_at_risk_is_a_disagreement(under: int, leaderless: int, words: str) -> None:
    here = site("public", manifest(RECORDS))
    here.states = [TopicState(NAME, 16, 3, 2, under, leaderless)]
    [sentence] = disagreements(site("origin", manifest(RECORDS)), here, [1])
    assert words in sentence


def test_an_audit_is_plain_data() -> None:
    there, here = site("origin", manifest(RECORDS)), site("public", manifest(RECORDS))
    plain = json.loads(json.dumps(audit.Audit(("20181129",), (1,), there, here, ()).as_json()))
    assert plain["agree"] is True
    assert plain["origin"]["topics"][NAME]["digest"] == plain["public"]["topics"][NAME]["digest"]


def test_headers_may_be_missing_or_strange() -> None:
    assert identity({}) == ("", "")
    assert identity({names.HEADER_CANDID: b"\xff"})[0]


def test_a_million_alerts_would_take_little_memory() -> None:
    found = Alerts()
    found.add(("1", "58451.21875"), CONTENT)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(20_000):
        found.add((str(2**62 + number), "58451.21875"), hashlib.sha256(b"%d" % number).digest())
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 20_000 * 50
    assert (len(found), found.candids, found.duplicates) == (20_001, 20_001, 0)


def test_the_bytes_of_an_alert_are_known_by_the_beginning_of_their_digest() -> None:
    found = Alerts()
    found.add(("7", "58451.21875"), CONTENT)
    candids, digests = found.digests
    assert candids.tolist() == [7]
    assert digests.tolist() == [int.from_bytes(CONTENT[:6], "big")]


def test_a_candid_that_is_no_number_is_an_alert_all_the_same() -> None:
    one, other = Alerts(), Alerts()
    for candid in ("", "x", "9" * 19, "9" * 20):
        one.add((candid, "58451.21875"), CONTENT)
    other.add(("x", "58451.21875"), hashlib.sha256(b"b").digest())
    assert len(one) == 4
    assert one.missing_in([other]) == [0, 0, 0]
    assert one.altered_in([Alerts(), other]) == [0]
    assert one.altered_in([one]) == one.missing_in([one]) == []
