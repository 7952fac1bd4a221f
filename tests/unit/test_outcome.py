"""Each alert that a filter has seen is counted once, for its night; what passes is published only by active filters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from zads import names
from zads.filters.counts import Counts
from zads.filters.outcome import REJECTIONS_A_VISIT, Outcomes
from zads.filters.records import AlertRecord
from zads.filters.verdicts import Verdicts

NIGHT, NEXT = "20300101", "20300102"


def alert(number: int, night: str = NIGHT, programme: int = 1) -> AlertRecord:
    topic = names.night_topic(night, programme)
    message: Any = SimpleNamespace(
        topic=lambda: topic, partition=lambda: 0, offset=lambda: number, key=lambda: b"ZTF18aaa"
    )
    return AlertRecord(message, b"%d" % number, night, programme, str(number), f"visit of {night}", [])


def running(answers: Mapping[str, Mapping[bytes, str]], skipped: int = 0, undecodable: Sequence[bytes] = ()) -> Any:
    """Filters, active but for those whose name begins with quiet_, and their answer to the alert with some bytes."""

    def run(packets: Sequence[bytes], eligible: Mapping[str, Sequence[int]]) -> Any:
        verdicts = {}
        for name, answer in answers.items():
            chosen = {index: answer.get(packets[index], "") for index in eligible[name]}
            passed = {index: "" for index, word in chosen.items() if word == "pass"}
            failed = {index: "ValueError" for index, word in chosen.items() if word == "fail"}
            verdicts[name] = Verdicts(passed, failed, skipped)
        return verdicts, {index: "no packet" for index, data in enumerate(packets) if data in undecodable}

    return SimpleNamespace(
        config=SimpleNamespace(group="g"),
        entries={
            name: SimpleNamespace(owner="alice", state="shadow" if name.startswith("quiet") else "active")
            for name in answers
        },
        caps=dict.fromkeys(answers, 3),
        programmes=dict.fromkeys(answers, frozenset([1])),
        sandbox=SimpleNamespace(run=run, circuits=dict.fromkeys(answers, SimpleNamespace(state="closed"))),
        eligible=lambda batch: {
            name: [index for index, one in enumerate(batch) if one.programme == 1] for name in answers
        },
    )


def row(**numbers: int) -> dict[str, int]:
    return {**dict.fromkeys(("seen", "passed", "published", "capped", "failed", "skipped"), 0), **numbers}


def test_alerts_of_two_nights_are_counted_for_their_own_night() -> None:
    filters = running({"young": {b"1": "pass", b"2": "fail", b"11": "pass"}, "quiet_one": {b"1": "pass"}})
    batch = [alert(1), alert(11, NEXT), alert(2), alert(3), alert(12, NEXT), alert(4, NIGHT, 2)]
    outputs, counts = Outcomes("w").of(filters, batch, {})
    assert counts["young"].nights == {
        NIGHT: row(seen=3, passed=1, published=1, failed=1),
        NEXT: row(seen=2, passed=1, published=1),
    }
    assert counts["quiet_one"].nights[NIGHT] == row(seen=3, passed=1)
    topics = [record.topic for record in outputs]
    assert topics.count(names.filter_topic("young")) == 2
    assert topics.count(names.filter_topic("quiet_one")) == 0
    assert topics.count(names.REJECTED_TOPIC) == topics.count(names.owner_topic("alice")) == 1


def test_counts_go_on_from_those_of_before_and_leave_them_as_they_were() -> None:
    before = {"young": Counts()}
    before["young"].add("seen", NIGHT, 5)
    outputs, counts = Outcomes("w").of(running({"young": {}}), [alert(1)], before)
    assert (counts["young"].seen, before["young"].seen) == (6, 5)
    [record] = outputs
    value = json.loads(record.value or b"")
    assert (value["filter"], value["programmes"], value["nights"][NIGHT]["seen"]) == ("young", [1], 6)


def test_a_filter_that_was_offered_nothing_has_no_new_record() -> None:
    outputs, counts = Outcomes("w").of(running({"young": {}}), [alert(1, NIGHT, 2)], {})
    assert outputs == []
    assert counts["young"].nights == {}


@pytest.mark.parametrize(
    ("skipped", "undecodable", "expected"),
    [(0, [], 0), (2, [], 2), (0, [b"3"], 1), (1, [b"3"], 2), (3, [b"3"], 3)],
)
def test_what_a_filter_was_not_run_on_is_counted_once(
    skipped: int, undecodable: Sequence[bytes], expected: int
) -> None:
    filters = running({"young": {b"1": "pass"}}, skipped, undecodable)
    _, counts = Outcomes("w").of(filters, [alert(number) for number in (1, 2, 3, 4)], {})
    assert counts["young"].nights[NIGHT] == row(seen=4, passed=1, published=1, skipped=expected)


def test_beyond_the_cap_alerts_are_cut_and_beyond_a_limit_failures_are_only_counted() -> None:
    many = range(REJECTIONS_A_VISIT + 5)
    filters = running({"young": {b"%d" % n: "pass" for n in many}, "faulty": {b"%d" % n: "fail" for n in many}})
    outcomes = Outcomes("w")
    outputs, counts = outcomes.of(filters, [alert(number) for number in many], {})
    assert counts["young"].nights[NIGHT] == row(seen=len(many), passed=3, published=3, capped=len(many) - 3)
    assert counts["faulty"].nights[NIGHT] == row(seen=len(many), failed=len(many))
    rejected = [record for record in outputs if record.topic == names.REJECTED_TOPIC]
    assert len(rejected) == REJECTIONS_A_VISIT
    outcomes.forget()
    outputs, _ = outcomes.of(filters, [alert(0)], counts)
    assert names.REJECTED_TOPIC in {record.topic for record in outputs}
