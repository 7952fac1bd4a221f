"""A filter sees what it declares, and is refused with file and line if it is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from zads.avro.fields import union
from zads.commands import filter as command
from zads.errors import ZadsError
from zads.filters import Columns, FilterError, UndeclaredField, View, load, recorded_night, rehearsal
from zads.filters.alert import MissingField
from zads.filters.counts import NUMBERS, REMEMBERED_NIGHTS, Counts
from zads.filters.group import Configuration
from zads.filters.loading import builtin_names
from zads.filters.recorded_night import RecordedAlert, sample
from zads.filters.rehearsal_report import page as rehearsal_page
from zads.packet import Packet
from zads.sources.simulator import simulate

DECODED = {"objectId": "ZTF18a", "candidate": {"rb": 0.5, "magpsf": 18.0}, "prv_candidates": [{"jd": 1.0, "fid": 1}]}


def test_an_undeclared_field_is_an_error_that_says_how_to_declare_it() -> None:
    alert = View(["candidate.rb", "prv_candidates.jd"])(DECODED)
    assert alert["candidate"]["rb"] == 0.5
    for read in (
        lambda: alert["candidate"]["magpsf"], lambda: alert["candidate"].get("magpsf"), lambda: alert["objectId"],
        lambda: alert["prv_candidates"][0]["fid"], lambda: "objectId" in alert,
    ):  # fmt: skip
        with pytest.raises(UndeclaredField, match=r"which it does not declare; add \"[\w.]+\" to its fields"):
            read()
    with pytest.raises(UndeclaredField, match=r"candidate\.magpsf"):
        alert["candidate"]["magpsf"]


def test_an_alert_cannot_be_changed() -> None:
    alert = View(["candidate"])(DECODED)
    for change in (lambda: alert.update(a=1), lambda: alert["candidate"].pop("rb"), lambda: alert.__setitem__("a", 1)):
        with pytest.raises(TypeError, match="read-only"):
            change()


def test_a_field_of_a_newer_schema_is_absent_not_undeclared() -> None:
    alert = View(["candidate.drb", "candidate.rb"])(DECODED)
    assert alert["candidate"].get("drb") is None
    assert alert["candidate"]["rb"] == 0.5
    with pytest.raises(MissingField, match=r"candidate\.drb"):
        alert["candidate"]["drb"]


def test_late_fields_are_fetched_once_when_first_read() -> None:
    fetched: list[str] = []

    def fetch(name: str) -> object:
        fetched.append(name)
        return DECODED[name]

    alert = View(["candidate.rb", "prv_candidates.jd"], ["prv_candidates"])({"candidate": DECODED["candidate"]}, fetch)
    assert fetched == []
    assert alert["prv_candidates"] == ({"jd": 1.0},)
    assert set(alert) == {"candidate", "prv_candidates"}
    assert fetched == ["prv_candidates"]


def test_columns_have_the_same_spelling_and_the_same_error() -> None:
    view = View(["candidate.rb", "objectId"])
    alerts = [view(DECODED), view({**DECODED, "candidate": {"rb": None, "magpsf": 1.0}})]
    columns = Columns(alerts, ["candidate.rb", "objectId"])
    assert np.isnan(columns["candidate"]["rb"]).tolist() == [False, True]
    assert columns["objectId"].tolist() == ["ZTF18a", "ZTF18a"]
    assert len(columns) == 2
    with pytest.raises(UndeclaredField, match=r"candidate\.magpsf"):
        columns["candidate"]["magpsf"]
    with pytest.raises(ValueError, match="read-only"):
        columns["candidate"]["rb"][0] = 1.0


def test_a_record_covers_its_fields() -> None:
    assert union([["a.b", "c"], ["a"], ["c.d.e"]]) == ("a", "c")


HEAD = "from zads.filters import Filter, filter\n"
GOOD = 'class A(Filter):\n    "Doc."\n    fields = ("candid",)\n    def accept(self, alert): return True\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = (", "line 1"),
        (f"{HEAD}\n1 / 0\n", "line 3: ZeroDivisionError"),
        ("import nothing_like_this\n", "line 1: No module"),
        ("x = 1\n", "has no filter"),
        (HEAD + GOOD + GOOD.replace("class A", "class B"), r"2 filters \(A, B\)"),
        (HEAD + GOOD.replace('    "Doc."\n', ""), "has no docstring"),
        (HEAD + GOOD.replace('("candid",)', '"candid"'), "declares no fields as a tuple"),
        (HEAD + GOOD.replace("candid", "a b"), "not a dotted path"),
        (HEAD + GOOD.replace("accept", "accepts"), "neither accept nor accept_batch"),
        (HEAD + GOOD + "    cap = 0\n", "the cap 0"),
        (HEAD + GOOD + "    programmes = {4}\n", r"programmes \{4\}"),
        (HEAD + GOOD + "    time_limit = 100\n", "time limit 100"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "cut.py"
    path.write_text(text)
    with pytest.raises(FilterError, match=reason):
        load(path)


def test_one_of_several_classes_and_functions_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "cut.py"
    text = '@filter(fields=["candid"], cap=3)\ndef b(alert):\n    "Doc."\n    return alert["candid"] > 1\n'
    path.write_text(HEAD + GOOD + text)
    assert load(f"{path}:A").cap == 20
    chosen = load(f"{path}:b")
    assert (chosen.cap, chosen.accept({"candid": 2})) == (3, True)  # type: ignore[arg-type]


def test_a_plain_function_can_work_on_columns(tmp_path: Path) -> None:
    path = tmp_path / "cut.py"
    text = '@filter(fields=["candid"], batches=True)\ndef b(alerts):\n    "Doc."\n    return alerts["candid"] > 1\n'
    path.write_text(HEAD + text)
    loaded = load(path)
    assert loaded.in_batches()
    view = View(["candid"])
    columns = Columns([view({"candid": 1}), view({"candid": 2})], ["candid"])
    assert loaded.accept_batch(columns).tolist() == [False, True]


@pytest.mark.parametrize("name", builtin_names())
def test_every_built_in_filter_loads_and_runs_on_all_schemas(name: str) -> None:
    loaded = load(name)
    assert loaded.fields
    recorded = [
        RecordedAlert(file, Packet.parse(data)) for _, members in simulate("20190101", 2, 40) for file, data in members
    ]
    outcome = rehearsal.run(name, recorded)
    assert outcome.failures == []
    assert outcome.offered == sum(one.packet.programid == 1 for one in recorded)


def test_the_cap_counts_by_visit() -> None:
    counts = Counts()
    assert [counts.admit(visit, 2) for visit in "aababb"] == [True, True, True, False, True, False]
    assert (counts.passed, counts.capped) == (4, 2)


def test_alerts_are_counted_in_all_and_by_night():
    counts = Counts()
    for night in ("20300101", "20300102", "20300101"):
        counts.add("seen", night)
        counts.admit("a", 2, night)
    before = counts.copy()
    counts.add("failed", "20300102")
    assert (counts.seen, counts.passed, counts.capped, counts.failed) == (3, 2, 1, 1)
    nothing = dict.fromkeys(NUMBERS, 0)
    assert counts.nights["20300101"] == {**nothing, "seen": 2, "passed": 1, "capped": 1}
    assert counts.nights["20300102"] == {**nothing, "seen": 1, "passed": 1, "failed": 1}
    assert before.nights["20300102"]["failed"] == 0
    for number in range(REMEMBERED_NIGHTS):
        counts.add("seen", f"203002{number:02d}")
    assert len(counts.nights) == REMEMBERED_NIGHTS
    assert "20300101" not in counts.nights
    assert counts.seen == 3 + REMEMBERED_NIGHTS


def test_a_number_that_an_older_release_did_not_count_stays_unknown() -> None:
    counts = Counts(seen=5, nights={"20300101": {"seen": 5, "passed": 0, "capped": 0, "failed": 0}})
    counts.add("seen", "20300101")
    counts.add("published", "20300101")
    assert counts.nights["20300101"] == {"seen": 6, "passed": 0, "capped": 0, "failed": 0}
    assert counts.published == 1


def test_a_wrong_configuration_is_refused_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "group.json"
    path.write_text(json.dumps({"group": "a-b", "filters": [{"name": "asteroid", "owner": "alice", "state": "on"}]}))
    with pytest.raises(ZadsError) as refused:
        Configuration.read(path)
    places = [line.removeprefix(f"{path}: ").partition(":")[0] for line in str(refused.value).splitlines()]
    assert sorted(places) == ["filters.asteroid.group", "filters.asteroid.state", "group"]


@pytest.fixture
def night(tmp_path: Path) -> Path:
    directory = tmp_path / "night"
    directory.mkdir()
    for _, members in simulate("20190101", 2, 30):
        for name, data in members:
            (directory / name).write_bytes(data)
    return directory


def test_a_new_filter_can_be_tested_at_once(tmp_path: Path, night: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(command.app, ["new", "novae", "--directory", str(tmp_path)]).exit_code == 0
    page = tmp_path / "page.html"
    options = ["--night", str(night), "--html", str(page), "--compare", "asteroid"]
    result = runner.invoke(command.app, ["test", str(tmp_path / "novae.py"), *options])
    assert "gains:" in result.output
    assert page.read_text().startswith("<!doctype html>")
    assert "https://" not in page.read_text()
    own = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "test_novae.py")],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert own.returncode == 0, own.stdout[-2000:]
    assert "3 passed" in own.stdout


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("accept(self, alert): return alert['candidate']['rb'] > 2", ["of candidate only candidate.rb", "candid was"]),
        ("accept(self, alert): return alert['candidate'].get('rb') > 2 or alert['candid'] < 0", ["of candidate only"]),
        ("accept(self, alert): return not dict(alert['candidate']) or alert['candid'] < 0", []),
        ("accept(self, alert): return not dict(alert)", []),
        ("accept(self, alert): c = alert['candidate']; return c['rb'] > 2 or not c.items() or not alert['candid']", []),
        ("accept_batch(self, alerts): return alerts['candidate']['rb'] > 2", ["of candidate only", "candid was"]),
        ("accept_batch(self, alerts): return alerts['candid'] < 0", ["candidate was not read"]),
    ],
)  # fmt: skip
def test_fields_that_need_not_be_declared_are_named(body: str, told: list[str], tmp_path: Path, night: Path) -> None:
    path = tmp_path / "cut.py"
    path.write_text(f'{HEAD}class A(Filter):\n    "Doc."\n    fields = ("candidate", "candid")\n    def {body}\n')
    outcome = rehearsal.run(str(path), recorded_night.of_path(night))
    assert outcome.failures == []
    advice = [line for line in outcome.advice if not line.startswith("this computer's Python is")]
    assert len(advice) == len(told)
    assert all(any(part in line for line in advice) for part in told)


def test_an_alert_on_which_a_filter_fails_is_shown_with_candid_and_reason(tmp_path: Path, night: Path) -> None:
    third = [one for one in recorded_night.of_path(night) if one.packet.programid == 1][2].packet.candid
    path = tmp_path / "picky.py"
    path.write_text(HEAD + GOOD.replace("return True", f"return 1 / (alert['candid'] - {third}) > 2"))
    page = tmp_path / "page.html"
    options = ["--night", str(night), "--html", str(page)]
    result = CliRunner().invoke(command.app, ["test", str(path), *options])
    assert result.exit_code == 1
    assert "it failed on 1 alerts" in str(result.exception)
    assert f"failed on candid {third}" in result.output
    report = json.loads(CliRunner().invoke(command.app, ["test", str(path), *options, "--json"]).stdout)
    [failure] = report["failures"]
    assert failure["candid"] == third
    for text in (result.output, failure["reason"], page.read_text()):
        assert "ZeroDivisionError" in text
        assert "line 5" in text
        assert "child.py" not in text, "only the filter's own code is of interest"


def test_figures_are_given_by_visit_and_the_cap_cuts(tmp_path: Path, night: Path) -> None:
    recorded = recorded_night.of_path(night)
    path = tmp_path / "all.py"
    path.write_text(HEAD + GOOD)
    outcome = rehearsal.run(str(path), recorded, cap=3)
    offered = Counter(one.packet.visit for one in recorded if one.packet.programid == 1)
    assert outcome.visits == {visit: (number, 3, number - 3) for visit, number in offered.items()}
    assert outcome.cut == sum(offered.values()) - 3 * len(offered)
    assert outcome.microseconds > 0


def test_the_cap_keeps_the_earliest_of_a_visit_whatever_the_order_of_the_source(tmp_path: Path, night: Path) -> None:
    path = tmp_path / "all.py"
    path.write_text(HEAD + GOOD)
    recorded = list(recorded_night.of_path(night))
    inorder, reversed_ = (rehearsal.run(str(path), one, cap=3) for one in (recorded, recorded[::-1]))
    assert inorder.passed == reversed_.passed
    assert inorder.visits == reversed_.visits
    mine = sorted((one.packet.jd, one.packet.candid) for one in recorded if one.packet.programid == 1)
    first = mine[0]
    assert (inorder.passed[0].jd, inorder.passed[0].candid) == first


def test_a_night_is_never_held_in_memory(tmp_path: Path, night: Path) -> None:
    path = tmp_path / "all.py"
    path.write_text(HEAD + GOOD)
    packets = list(recorded_night.of_path(night))
    alive: weakref.WeakSet[RecordedAlert] = weakref.WeakSet()
    most = 0

    def long() -> Iterator[RecordedAlert]:
        nonlocal most
        for number in range(40):
            for one in packets:
                again = RecordedAlert(f"{number}/{one.name}", one.packet)
                alive.add(again)
                yield again
                most = max(most, len(alive))

    told: list[tuple[int, int]] = []
    outcome = rehearsal.run(str(path), long(), progress=lambda read, passed: told.append((read, passed)))
    assert outcome.offered == 40 * sum(one.packet.programid == 1 for one in packets)
    assert most <= 2 * rehearsal.BATCH
    assert told[-1] == (40 * len(packets), outcome.offered)


def test_packets_that_a_producer_refuses_are_reported_and_reach_no_filter(tmp_path: Path, night: Path) -> None:
    path = tmp_path / "all.py"
    path.write_text(HEAD + GOOD)
    (night / "0.avro").write_bytes(b"Obj\x01 and no more")
    for leftover in (".DS_Store", "._1.avro"):
        (night / leftover).write_bytes(b"\0\5\x16\7")
    recorded = recorded_night.of_path(night)
    assert rehearsal.run(str(path), recorded).offered > 0
    assert recorded.refusals == 1
    assert recorded.refused[0].startswith("0.avro: ")
    result = CliRunner().invoke(command.app, ["test", str(path), "--night", str(night)])
    assert "1 packets would be refused, no filter sees them; the first: 0.avro" in result.output
    assert "2 files passed over: " in result.output


def test_a_night_without_packets_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "a.avro").write_bytes(b"nothing")
    with pytest.raises(ZadsError, match=r"night has no packets; a\.avro: "):
        list(recorded_night.of_path(tmp_path / "night"))


def test_a_sample_is_fair_and_the_same_for_the_same_seed() -> None:
    night = [RecordedAlert(str(number), None) for number in range(200)]  # type: ignore[arg-type]
    counts: Counter[str] = Counter()
    for seed in range(400):
        taken = sample(night, 20, seed)
        assert taken.of == 200
        names = [one.name for one in taken]
        assert names == sorted(names, key=int)
        assert len(set(names)) == 20
        counts.update(names)
    assert sample(night, 20, 7) == sample(night, 20, 7)
    # 40 of 400 each, with a standard deviation of 6.
    assert min(counts[str(number)] for number in range(200)) > 10
    assert max(counts.values()) < 70
    assert len(sample(night, 1000).packets) == 200


def test_a_filter_can_be_tried_on_a_sample(tmp_path: Path, night: Path) -> None:
    options = ["test", "asteroid", "--night", str(night), "--sample", "20", "--html", str(tmp_path / "page.html")]
    told = [CliRunner().invoke(command.app, [*options, *seed]).output for seed in ([], [], ["--seed", "2"])]
    assert f"a sample of 20 of {len(list(night.iterdir()))} packets" in told[0]
    assert "asteroid: " in told[0]
    same, again, other = (re.sub(r"[\d.]+ us an alert", "", text) for text in told)
    assert same == again != other


def test_a_change_gains_and_loses_alerts(tmp_path: Path, night: Path) -> None:
    recorded = recorded_night.of_path(night)
    bright, faint = tmp_path / "bright.py", tmp_path / "faint.py"
    for path, cut in ((bright, "< 18"), (faint, "> 17")):
        text = GOOD.replace("candid", "candidate.magpsf").replace("True", f"alert['candidate']['magpsf'] {cut}")
        path.write_text(HEAD + text)
    mags = {
        one.packet.candid: one.packet.read(["candidate.magpsf"])["candidate"]["magpsf"]
        for one in recorded
        if one.packet.programid == 1
    }
    compared = rehearsal.compare(*rehearsal.run_all([str(bright), str(faint)], recorded, cap=1000))
    assert compared["gains"] == sorted(candid for candid, mag in mags.items() if mag <= 17)
    assert compared["losses"] == sorted(candid for candid, mag in mags.items() if mag >= 18)
    assert compared["gains"] or compared["losses"]


def test_a_night_without_alerts_for_a_filter_proves_nothing(tmp_path: Path, night: Path) -> None:
    recorded = [one for one in recorded_night.of_path(night) if one.packet.programid != 1]
    assert recorded
    path = tmp_path / "all.py"
    path.write_text(HEAD + GOOD)
    outcome = rehearsal.run(str(path), recorded)
    assert outcome.refusals() == ["this night has no alert of its programmes"]
    assert "this night has no alert" in rehearsal_page(outcome, recorded)


def test_a_filter_that_floods_is_refused_with_figures(tmp_path: Path, night: Path) -> None:
    path = tmp_path / "all.py"
    path.write_text(HEAD + GOOD)
    result = CliRunner().invoke(command.app, ["test", str(path), "--night", str(night)])
    assert result.exit_code == 1
    assert "100.0 %" in str(result.exception)


@pytest.mark.parametrize("name", builtin_names())
def test_no_built_in_filter_floods_a_real_night(name: str, real_packets: list[Path]) -> None:
    """Needs a night of at least 100 packets: in one night of 16 packets there are 3 asteroids, a flood."""
    nights: dict[Path, list[Path]] = {}
    for path in real_packets:
        nights.setdefault(path.parent, []).append(path)
    large = [night for night in nights.values() if len(night) >= 100]
    if not large:
        pytest.skip("no night of 100 packets in ZADS_ALERTS")
    for night in large:
        recorded = [RecordedAlert(path.name, Packet.parse(path.read_bytes())) for path in night]
        assert rehearsal.run(name, recorded).refusals() == []
