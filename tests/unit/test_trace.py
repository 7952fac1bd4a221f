"""What is told of one alert, and how a filter's verdict follows from what its topic, its counts and its code say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from packets import make_packet
from test_access import DATA
from zads import cli, output
from zads.commands.trace import lines
from zads.errors import ZadsError
from zads.packet import Packet
from zads.site.policy import Filter, Policy
from zads.sources.simulator import simulate
from zads.trace import FilterHop, LedgerHop, RefusalHop, Sighting, Trace, filters, rerun, search
from zads.trace.filters import Rerun


@pytest.mark.parametrize(
    ("candid", "night"),
    [
        (697251920115015007, "20181129"),  # of the real nights that the survey has published
        (2475433850015015001, "20231012"),
        (1127107111615015007, "20200202"),
        (1, None),
        (3, None),
    ],
)
def test_a_candid_begins_with_its_date(candid: int, night: str | None) -> None:
    assert search.night_of_candid(candid) == night


def test_a_simulated_candid_begins_with_its_date_too() -> None:
    for night in ("20181129", "20300131"):
        for _, packets in simulate(night, 3, 5, seed=1):
            for _, data in packets:
                assert search.night_of_candid(Packet.trusted(data).candid) == night


def sighting(**changes: Any) -> Sighting:
    known: dict[str, Any] = {
        "site": "public", "topic": "ztf_20181129_programid1", "partition": 3, "offset": 7, "received": 1543500000.5,
        "produced": 1543500000.0, "visit": "58451.25192", "schema": "3.2", "object": "ZTF18aaaaaaa", "version": 1,
        "size": 5, "sha256": "ab" * 32,
    }  # fmt: skip
    return Sighting(**{**known, **changes})


def entry(**changes: Any) -> Filter:
    return Filter(**{"name": "young", "owner": "alice", "group": "transients", "state": "active", "cap": 2, **changes})


POLICY = Policy.read(DATA)
NOTHING = filters._Found(None, 0)


@pytest.mark.parametrize(
    ("filter_", "committed", "verdict"),
    [
        (entry(state="off"), 99, "off"),
        (entry(programmes=[2]), 99, "not read"),
        (entry(), 7, "waiting"),
        (entry(state="shadow"), 99, "shadow"),
        (entry(state="shadow"), 7, "waiting"),
    ],
)
def test_a_verdict_that_needs_no_look_at_the_packet(filter_: Filter, committed: int, verdict: str) -> None:
    found = filters._of_entry(filter_, POLICY, sighting(), committed)
    assert found is not None
    assert found.verdict == verdict


def test_a_filter_that_has_read_the_alert_is_looked_at_further() -> None:
    assert filters._of_entry(entry(), POLICY, sighting(), 8) is None
    assert filters._of_entry(entry(), POLICY, sighting(), None) is None


@pytest.mark.parametrize(
    ("again", "of_visit", "verdict"),
    [
        (Rerun("passed", "it passes", 20), 2, "cut"),
        (Rerun("passed", "it passes", 20), 1, "not passed"),
        (Rerun("not passed", "it does not pass", 20), 2, "not passed"),
        (Rerun("failed", "ZeroDivisionError", 20), 2, "failed"),
    ],
)
def test_a_filter_that_is_run_again_tells_a_cut_from_a_rejection(again: Rerun, of_visit: int, verdict: str) -> None:
    found = filters._judged(entry(), b"", filters._Found(None, of_visit), None, lambda *_: again)
    assert found.verdict == verdict


def test_a_filter_without_a_cap_in_the_inventory_has_its_own() -> None:
    again = Rerun("passed", "it passes", 3)
    assert filters._judged(entry(cap=None), b"", filters._Found(None, 3), None, lambda *_: again).verdict == "cut"


@pytest.mark.parametrize(
    ("counts", "of_visit", "verdict"),
    [
        ({"capped": 0}, 2, "not passed"),
        ({"capped": 5}, 1, "not passed"),
        ({"capped": 5}, 2, "cut or not passed"),
        (None, 2, "cut or not passed"),
    ],
)
def test_without_its_code_the_counts_decide_as_far_as_they_can(
    counts: dict[str, int] | None, of_visit: int, verdict: str
) -> None:
    assert filters._judged(entry(), b"", filters._Found(None, of_visit), counts, None).verdict == verdict


def test_a_filter_that_cannot_be_run_again_says_why() -> None:
    def broken(*_: object) -> Rerun:
        raise ZadsError("no such file")

    found = filters._judged(entry(), b"", NOTHING, None, broken)
    assert (found.verdict, found.reason) == ("cut or not passed", "it cannot be run again: no such file")


def test_a_filter_is_run_again_in_the_sandbox(tmp_path: Path) -> None:
    for name, body in (("young", "{'rb': alert['candidate']['rb']}"), ("old", "False"), ("bad", "1 / 0")):
        (tmp_path / f"{name}.py").write_text(
            "from zads.filters import Filter\nclass One(Filter):\n"
            f'    """{name}."""\n    cap = 4\n    fields = ("candidate.rb",)\n'
            f"    def accept(self, alert):\n        return {body}\n"
        )
    judge = rerun.judge(tmp_path)
    data = make_packet(rb=0.5)
    passed, old, bad = (judge(entry(name=name), data) for name in ("young", "old", "bad"))
    assert (passed.verdict, passed.cap) == ("passed", 4)
    assert passed.detail == 'run again, it passes with {"rb":0.5}'
    assert old.verdict == "not passed"
    assert bad.verdict == "failed"
    assert "ZeroDivisionError" in bad.detail
    with pytest.raises(ZadsError):
        judge(entry(name="no_such_filter"), data)


def test_a_trace_is_told_line_by_line_and_hostile_text_stays_on_its_line() -> None:
    trace = Trace(
        7, "20181129", [LedgerHop("58451.25", "20181129", 1543500000.0, "ab" * 6)], [sighting(site="origin")],
        [sighting(version=2, produced=math.nan)],
        [FilterHop("young", "passed", annotations='{"x": 1}', record=sighting(topic="ztf_filter_young"))],
        [RefusalHop("public", "zads_rejected/0/1", 1543500001.0, "Traceback\nValueError: \x1b[2J", "", "there", "bad")],
        ["a note"],
    )  # fmt: skip
    told = [output.plain(line) for line in lines(trace)]
    assert len(told) == 7
    assert told[0] == "candid 7, night 20181129"
    assert "exposure 58451.25" in told[1]
    assert "0.50 s after it was produced" in told[2]
    assert "version 2" in told[3]
    assert "after it was produced" not in told[3]
    assert "the filter bad failed on it: ValueError: \\x1b[2J" in told[4]
    assert "young: passed" in told[5]
    plain = json.loads(output.json_text(trace.as_json()))
    assert plain["found"] is True
    assert plain["public"][0]["produced"] is None


def test_an_alert_that_is_nowhere_is_not_found() -> None:
    assert not Trace(7).found


@pytest.mark.parametrize(
    "arguments", [["trace", "7"], ["trace", "7", "--env", "local", "--public", "x"], ["trace", "0"]]
)
def test_a_trace_needs_a_candid_and_somewhere_to_look(arguments: list[str]) -> None:
    assert cli.run(arguments) == 2
