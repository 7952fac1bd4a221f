"""The nightly audit without a broker: what it finds, when a night is due, what it writes and what it reports."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zads import audit, cli, ledger, metrics, names
from zads.audit import Difference, SiteManifest
from zads.auditor import auditor as rounds
from zads.auditor import filter_counts, findings, page, published, receipts, schedule, service
from zads.auditor.auditor import Auditor
from zads.auditor.evidence import Evidence
from zads.auditor.filter_counts import FilterCounts
from zads.auditor.mail import MailError
from zads.auditor.receipts import Receipt
from zads.auditor.results import Result, Results
from zads.errors import ZadsError
from zads.filters.counts import NUMBERS
from zads.ledger import LedgerEntry, Row
from zads.manifest import TopicManifest
from zads.rest import StopRequested
from zads.site.nights import DAY, HOUR, begin

ROOT = Path(__file__).resolve().parents[2]
NIGHT = "20300101"
TOPIC, OTHER = names.night_topic(NIGHT, 1), names.night_topic(NIGHT, 2)
VISIT = "62502.25000"
ALERTS = {700 + number: b"packet %d" % number for number in range(6)}
ARRIVED = 1000.0


def headers(candid: int) -> dict[str, bytes]:
    return {names.HEADER_CANDID: b"%d" % candid, names.HEADER_VISIT: VISIT.encode(), names.HEADER_SCHEMA: b"3.3"}


def manifest(topic: str, alerts: Iterable[tuple[int, bytes]]) -> TopicManifest:
    found = TopicManifest(topic)
    for candid, data in alerts:
        found.add(b"ZTF18aaa", data, headers(candid))
        found.first = ARRIVED
    return found


def site(name: str, alerts: Iterable[tuple[int, bytes]], topic: str = TOPIC) -> SiteManifest:
    return SiteManifest(name, {topic: manifest(topic, alerts)})


def records(alerts: Mapping[int, bytes], exposure: str = "e1", **entry: Any) -> list[tuple[str, bytes | None, float]]:
    """The ledger's records of an exposure, as the producer writes them."""
    rows = [Row.of_alert(exposure, NIGHT, candid, hashlib.sha256(data).digest()) for candid, data in alerts.items()]
    key, _, value = ledger.rows_record(exposure, rows)
    known = {"published": {TOPIC: len(rows)}, "digest": "d1", "complete": True, "indexed": True, **entry}
    return [(key, value, ARRIVED), (exposure, LedgerEntry(**known).record(), ARRIVED)]


def counted(name: str, **numbers: int) -> FilterCounts:
    return FilterCounts(name, "g", "active", frozenset([1]), {**dict.fromkeys(NUMBERS, 0), **numbers})


@pytest.fixture
def evidence() -> Evidence:
    """A night in which everything is as it should be: six alerts, a filter that passed two of them."""
    found = Evidence(NIGHT, [1], site("origin", ALERTS.items()), site("public", ALERTS.items()))
    found.public.filters["ztf_filter_young"] = manifest("ztf_filter_young", list(ALERTS.items())[:2])
    found.published = published.collect(records(ALERTS), NIGHT)
    found.receipts = [Receipt("e1.json", "e1", "d1", {TOPIC: 6}, 5.0)]
    found.counts = {"young": counted("young", seen=6, passed=2, published=2, failed=1, skipped=1)}
    found.running = {"young": "g"}
    return found


def kinds(found: Evidence) -> list[str]:
    return [one.kind for one in findings.of(found)[0]]


def test_a_whole_night_has_neither_differences_nor_notes(evidence: Evidence) -> None:
    assert findings.of(evidence) == ([], [])
    assert evidence.counts["young"].declined == 2


def test_an_empty_night_is_whole() -> None:
    assert findings.of(Evidence(NIGHT, [1], SiteManifest("origin"), SiteManifest("public"))) == ([], [])
    assert Evidence(NIGHT, [1], SiteManifest("origin"), SiteManifest("public")).first == float("inf")


def without(*candids: int) -> list[tuple[int, bytes]]:
    return [(candid, data) for candid, data in ALERTS.items() if candid not in candids]


def test_an_alert_that_is_lost_at_the_origin_and_at_public_is_found_by_the_ledger(evidence: Evidence) -> None:
    evidence.origin, evidence.public.topics = site("origin", without(703)), site("public", without(703)).topics
    evidence.counts["young"].numbers["seen"] = 5
    [only] = findings.of(evidence)[0]
    assert only.kind == "lost"
    assert "not at the origin: 1 (candid 703)" in only.text
    assert TOPIC in only.text


def test_a_topic_that_was_removed_is_a_loss_of_all_its_alerts(evidence: Evidence) -> None:
    evidence.origin, evidence.public = SiteManifest("origin"), SiteManifest("public")
    found = findings.of(evidence)[0]
    assert "6 (candid 700, 701, 702, …)" in next(one.text for one in found if one.kind == "lost")


def test_bytes_that_both_sites_have_and_the_pipeline_never_delivered_are_found(evidence: Evidence) -> None:
    flipped = {**ALERTS, 701: bytes([ALERTS[701][0] ^ 1, *ALERTS[701][1:]])}
    evidence.origin, evidence.public.topics = site("origin", flipped.items()), site("public", flipped.items()).topics
    found = {one.kind: one.text for one in findings.of(evidence)[0]}
    assert found.keys() == {"altered", "filter_altered"}
    assert "candid 701" in found["altered"]


def test_a_later_version_that_is_lost_is_lost_although_the_first_is_there(evidence: Evidence) -> None:
    evidence.published = published.collect([*records(ALERTS), *records({702: b"anew"}, "e2")], NIGHT)
    [only] = findings.of(evidence)[0]
    assert (only.kind, "candid 702" in only.text) == ("lost", True)


def test_an_alert_that_nobody_published_is_found(evidence: Evidence) -> None:
    both = [*ALERTS.items(), (999, b"from nowhere")]
    evidence.origin, evidence.public.topics = site("origin", both), site("public", both).topics
    evidence.counts["young"].numbers["seen"] = 7
    [only] = findings.of(evidence)[0]
    assert (only.kind, "candid 999" in only.text) == ("unrecorded", True)


def test_a_double_is_found_even_if_both_sites_have_it(evidence: Evidence) -> None:
    both = [*ALERTS.items(), (700, ALERTS[700])]
    evidence.origin, evidence.public.topics = site("origin", both), site("public", both).topics
    evidence.counts["young"].numbers["seen"] = 7
    assert kinds(evidence) == ["doubled", "doubled"]


def test_exposures_of_an_older_release_are_not_called_lost(evidence: Evidence) -> None:
    evidence.published.entries["old"] = LedgerEntry(published={TOPIC: 3}, complete=True)
    found, notes = findings.of(evidence)
    assert found == []
    assert "older release" in notes[0]


def test_a_ledger_that_lists_less_than_its_exposures_published_contradicts_itself(evidence: Evidence) -> None:
    evidence.published.entries["e2"] = LedgerEntry(published={TOPIC: 1}, complete=True, indexed=True)
    assert kinds(evidence) == ["ledger"]


@pytest.mark.parametrize(
    ("receipt", "expected"),
    [
        (Receipt("e2.json", "e2", "d2", {TOPIC: 1}, 5.0), ["receipt"]),  # the ledger does not know it
        (Receipt("e1.json", "e1", "d1", {TOPIC: 7}, 9.0), ["receipt"]),
        (Receipt("e1.json", "e1", "d9", {TOPIC: 6}, 9.0), ["receipt"]),
        (Receipt("e1.json", "e1", "d9", {TOPIC: 5}, 1.0), []),  # it came again, and the newest receipt counts
        (Receipt("e2.json", "e2", "d2", {names.night_topic("20300102", 1): 1}, 5.0), []),
        (Receipt("e3.json"), ["receipt"]),
    ],
)
def test_the_ledger_has_what_the_pipeline_was_told(evidence: Evidence, receipt: Receipt, expected: list[str]) -> None:
    evidence.receipts = [*(evidence.receipts or []), receipt]
    assert kinds(evidence) == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"seen": 5}, ["filter_missed"]),
        ({"seen": 7}, ["filter_seen"]),
        ({"passed": 6}, ["filter_counts"]),
        ({"published": 1}, ["filter_published"]),
        ({"skipped": 4}, ["filter_counts"]),
    ],
)
def test_what_a_filter_has_seen_adds_up(evidence: Evidence, numbers: dict[str, int], expected: list[str]) -> None:
    evidence.counts["young"].numbers.update(numbers)
    assert kinds(evidence) == expected


def test_a_filter_that_came_later_is_no_fault_if_its_group_has_seen_all(evidence: Evidence) -> None:
    evidence.counts = {**evidence.counts, "late": counted("late", seen=2)}
    found, notes = findings.of(evidence)
    assert found == []
    assert "seen 2 of 6" in notes[0]


def test_a_group_that_has_read_nothing_is_found(evidence: Evidence) -> None:
    evidence.running = {"young": "g", "idle": "h", "sibling": "g"}
    found, notes = findings.of(evidence)
    assert [(one.kind, "group h" in one.text) for one in found] == [("filter_missed", True)]
    assert ["sibling" in note for note in notes] == [True]


def test_alerts_in_the_topic_of_a_filter_that_counted_none_are_found(evidence: Evidence) -> None:
    evidence.counts = {}
    evidence.running = {}
    assert kinds(evidence) == ["filter_published"]


def test_what_an_older_worker_did_not_count_is_not_judged(evidence: Evidence) -> None:
    row = {"seen": 6, "passed": 2, "capped": 0, "failed": 0}
    old = {"filter": "young", "worker": "1", "group": "g", "state": "active", "nights": {NIGHT: row}}
    evidence.counts = filter_counts.of_night([old], NIGHT)
    found, notes = findings.of(evidence)
    assert found == []
    assert len(notes) == 2


def test_the_numbers_of_all_workers_are_added_and_other_nights_left_out() -> None:
    row = dict.fromkeys(NUMBERS, 1)
    common = {"filter": "young", "group": "g", "state": "active", "programmes": [1]}
    found = filter_counts.of_night(
        [
            {**common, "worker": "1", "nights": {NIGHT: row, "20300102": row}},
            {**common, "worker": "2", "nights": {NIGHT: {**row, "seen": 4}}},
            {**common, "filter": "other", "worker": "1", "nights": {"20300102": row}},
        ],
        NIGHT,
    )
    assert found.keys() == {"young"}
    assert (found["young"]["seen"], found["young"].complete, found["young"].declined) == (5, True, -3)


def test_no_sentence_hides_which_topics_it_is_about(evidence: Evidence) -> None:
    """The Night Board keeps sentences about a programme or a filter from those who may not see it."""
    evidence.origin = site("origin", [*without(700), (999, b"x")])
    evidence.receipts = [Receipt("e9.json", "e9", "d", {TOPIC: 1}), Receipt("bad.json")]
    evidence.counts["young"].numbers.update(seen=9, published=9, passed=20)
    evidence.running = {"idle": "h"}
    found = findings.of(evidence)[0]
    assert len({one.kind for one in found}) >= 6
    for one in found:
        assert one.text.startswith("ztf_"), one
        assert one.kind in page.KINDS


def test_the_ledgers_part_of_a_night_is_what_was_written_last() -> None:
    first, second = records(ALERTS), records({900: b"x"}, "e2")
    foreign = Row.of_alert("e3", "20300102", 5, hashlib.sha256(b"y").digest())
    key, _, value = ledger.rows_record("e3", [foreign])
    found = published.collect([*first, *second, (key, value, 1.0), (second[0][0], None, ARRIVED)], NIGHT)
    assert len(found) == 6
    assert found.first == ARRIVED
    assert sorted(found.candids.tolist()) == sorted(ALERTS)
    assert found.counted(NIGHT) == {"e1": 6, "e2": 1}


def test_receipts_are_read_from_a_moment_on(tmp_path: Path) -> None:
    good = {"exposure": "e1", "digest": "d", "published": {TOPIC: 2}, "finished": 7.5, "refusals": []}
    (tmp_path / "e1.json").write_text(json.dumps(good))
    (tmp_path / "half.json").write_text('{"exposure": "e')
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / ".e2.json.part").write_text(json.dumps(good))
    (tmp_path / "e1").mkdir()
    (tmp_path / "old.json").write_text(json.dumps(good))
    os.utime(tmp_path / "old.json", (10, 10))
    (tmp_path / "link.json").symlink_to("/etc/passwd")
    found = receipts.read(tmp_path, 100.0, lambda: None)
    assert found == [Receipt("e1.json", "e1", "d", {TOPIC: 2}, 7.5), Receipt("half.json"), Receipt("list.json")]


def test_receipts_that_cannot_be_read_are_no_empty_list(tmp_path: Path) -> None:
    with pytest.raises(ZadsError, match="cannot be read"):
        receipts.read(tmp_path / "none", 0.0, lambda: None)


ENDS = {"origin": {f"{TOPIC}/0": 10}, "public": {f"{TOPIC}/0": 10}}
NOON = begin(NIGHT) + 12 * HOUR


def due(
    now: float, last: Result | None = None, ends: Mapping[str, Any] | None = None, *, rests: bool = True
) -> list[str]:
    known = {NIGHT: last} if last else {}
    there = {NIGHT: ENDS} if ends is None else ends
    return schedule.due(there, known, {NIGHT} if rests else set(), now, over_seconds=14 * HOUR)


def test_a_night_is_due_when_it_is_over_and_quiet() -> None:
    assert due(NOON) == []
    assert due(NOON + 3 * HOUR) == [NIGHT]
    assert due(NOON + 3 * HOUR, rests=False) == []
    assert due(NOON + DAY + 3 * HOUR, rests=False) == []  # late alerts are just coming


def test_a_whole_night_is_due_again_when_late_alerts_came_and_only_then() -> None:
    last = Result(NIGHT, "whole", NOON + 3 * HOUR, NOON + 6 * DAY, ends=ENDS)
    assert due(NOON + DAY, last) == []
    last.ends = {**ENDS, "origin": {f"{TOPIC}/0": 9}}
    assert due(NOON + DAY, last) == [NIGHT]
    assert due(NOON + 7 * DAY, last) == []  # records have expired: it could only be misjudged


def test_a_night_that_is_not_whole_is_audited_again_at_growing_distances() -> None:
    audited, waited = NOON + 3 * HOUR, []
    for tries in range(1, len(schedule.AGAIN_SECONDS) + 1):
        last = Result(NIGHT, "differs", audited, NOON + 6 * DAY, tries=tries, ends=ENDS)
        waited.append(next(minutes for minutes in range(0, 2000, 5) if due(audited + 60 * minutes, last)))
    assert waited == [15, 60, 360]
    last = Result(NIGHT, "differs", audited, NOON + 6 * DAY, tries=4, ends=ENDS)
    assert due(audited + 3 * DAY, last) == []
    assert due(audited - DAY * 365, Result(NIGHT, "differs", audited, None, tries=1, ends=ENDS)) == []
    assert due(audited + HOUR, Result(NIGHT, "unread", audited + DAY, None, tries=1, ends=ENDS)) == [NIGHT]


def test_a_topic_that_is_gone_before_its_time_is_audited_and_one_that_was_removed_in_time_is_not() -> None:
    last = Result(NIGHT, "whole", NOON + 3 * HOUR, NOON + 6 * DAY, ends=ENDS)
    assert due(NOON + DAY, last, ends={}) == [NIGHT]
    assert due(NOON + 7 * DAY, last, ends={}) == []
    assert due(NOON + DAY, Result(NIGHT, "whole", NOON, None, ends={}), ends={}) == []


def test_a_night_rests_when_nothing_comes_for_a_while() -> None:
    quiet, more = schedule.Quiet(60.0), {"origin": {f"{TOPIC}/0": 11}}
    assert quiet.see({NIGHT: ENDS}, 100.0) == set()
    assert quiet.see({NIGHT: ENDS}, 160.0) == {NIGHT}
    assert quiet.see({NIGHT: more}, 220.0) == set()
    assert quiet.see({NIGHT: more}, 10.0) == set()  # the clock stepped back
    assert quiet.see({NIGHT: more}, 69.0) == set()
    assert quiet.see({NIGHT: more}, 70.0) == {NIGHT}
    assert quiet.see({}, 80.0) == set()


def test_a_night_that_never_rests_is_audited_once_a_day() -> None:
    quiet = schedule.Quiet(900.0)
    audited = [
        now for now in range(0, 3 * 86_400, 300) if quiet.see({NIGHT: {"origin": {f"{TOPIC}/0": now}}}, float(now))
    ]
    assert audited == [86_400, 2 * 86_400]


def test_results_are_kept_and_the_oldest_and_the_damaged_ones_go(tmp_path: Path) -> None:
    results = Results(tmp_path / "audits", 2)
    for night in ("20300101", "20300102", "20300103"):
        one = Result(night, "differs", 7.0, 8.0, differences=[Difference("lost", "ü\n")], ends=ENDS, alerts=2**60)
        one.evidence = {"origin": {"topics": {}}, "receipts": None}
        results.write(one, "page")
    assert results.read()["20300102"] == Result(
        "20300102", "differs", 7.0, 8.0, differences=[Difference("lost", "ü\n")], ends=ENDS, alerts=2**60,
        evidence={"origin": {"topics": {}}, "receipts": None},
    )  # fmt: skip
    results.prune()
    assert sorted(path.name for path in results.directory.glob("2*")) == [
        "20300102.html", "20300102.json", "20300103.html", "20300103.json"
    ]  # fmt: skip
    (results.directory / "20300103.json").write_text('{"night": "20300103"')
    assert list(results.read()) == ["20300102"]


def test_two_auditors_do_not_write_the_same_results_at_once(tmp_path: Path) -> None:
    one, other = Results(tmp_path, 9), Results(tmp_path, 9)
    with one.alone() as first, other.alone() as second:
        assert (first, second) == (True, False)
    with other.alone() as again:
        assert again


class Mails:
    """A relay that takes lines, or does not."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.broken = False

    def send(self, line: str) -> None:
        if self.broken:
            raise MailError("mail.example.org:587: ConnectionRefusedError")
        self.sent.append(line)


@pytest.fixture
def mails() -> Mails:
    return Mails()


@pytest.fixture
def auditing(
    evidence: Evidence, mails: Mails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Auditor]:
    """An auditor whose sites hold the evidence, at noon of the day after."""
    policy: Any = SimpleNamespace(topics_night=SimpleNamespace(retention_days=7.0))
    monkeypatch.setattr(rounds, "gather", lambda *_: evidence)
    monkeypatch.setattr(Auditor, "_ends", lambda _: {NIGHT: ENDS})
    now = NOON + DAY
    for topic in (*evidence.origin.topics.values(), *evidence.public.topics.values()):
        topic.first = now - DAY
    evidence.published.first = now - DAY

    def made(**more: Any) -> Auditor:
        return Auditor(
            {}, lambda: policy, Results(tmp_path, 9),
            **{"mail": mails, "rest": lambda _: None, "clock": lambda: now, "quiet_seconds": 0.0, **more},
        )  # fmt: skip

    return made


def value(name: str, **labels: str) -> float:
    from prometheus_client import REGISTRY

    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_round_writes_a_result_a_page_metrics_and_a_mail_and_the_next_one_nothing(
    auditing: Callable[..., Auditor], mails: Mails, tmp_path: Path
) -> None:
    auditor = auditing()
    [result] = auditor.round()
    assert (result.status, result.alerts, result.tries) == ("whole", 6, 0)
    known = json.loads((tmp_path / f"{NIGHT}.json").read_text())
    assert (known["agree"], known["published"]["alerts"], known["origin"]["topics"][TOPIC]["records"]) == (True, 6, 6)
    [row] = known["filters"]
    assert row["offered"] == row["declined"] + row["passed"] + row["capped"] + row["failed"] + row["skipped"] == 6
    assert "Whole" in (tmp_path / f"{NIGHT}.html").read_text()
    assert NIGHT in (tmp_path / "index.html").read_text()
    assert mails.sent == [f"night {NIGHT}: whole, 6 alerts"]
    assert value("zads_audit_last_whole") == 1
    assert value("zads_audit_nights", status="whole") == 1
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("2*")}
    assert auditor.round() == []
    assert auditing().round() == []  # also after a restart
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("2*")} == before
    assert len(mails.sent) == 1


def test_a_difference_is_said_everywhere(
    auditing: Callable[..., Auditor], evidence: Evidence, mails: Mails, tmp_path: Path
) -> None:
    evidence.origin.topics[TOPIC] = manifest(TOPIC, without(703))
    evidence.origin.topics[TOPIC].first = NOON
    [result] = auditing().round()
    assert (result.status, result.tries) == ("differs", 1)
    assert [one["kind"] for one in json.loads((tmp_path / f"{NIGHT}.json").read_text())["differences"]] == [
        "lost", "only_public"
    ]  # fmt: skip
    assert "candid 703" in (tmp_path / f"{NIGHT}.html").read_text()
    assert mails.sent[0].startswith(f"night {NIGHT}: DIFFERS: ztf_")
    assert value("zads_audit_last_whole") == 0
    assert value("zads_audit_last_differences") == 2


def test_a_mail_that_fails_leaves_the_audit_as_it_is_and_is_sent_later(
    auditing: Callable[..., Auditor], mails: Mails, tmp_path: Path
) -> None:
    mails.broken = True
    auditor = auditing()
    assert auditor.round()[0].status == "whole"
    mails.broken = False
    auditor.round()
    auditor.round()
    assert len(mails.sent) == 1
    late = auditing(clock=lambda: NOON + 30 * DAY)
    Results(tmp_path, 9).write(Result("20291231", "differs", NOON), "page")
    late.round()
    assert len(mails.sent) == 1  # nobody wants a mail about a night of last month


def test_a_site_that_cannot_be_read_is_a_result_and_is_tried_again(
    auditing: Callable[..., Auditor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Evidence:
        raise audit.AuditError("public cannot be read")

    monkeypatch.setattr(rounds, "gather", fail)
    [first] = auditing().round()
    assert (first.status, first.tries, first.differences[0].kind) == ("unread", 1, "unread")
    [second] = auditing(clock=lambda: NOON + DAY + HOUR).round()
    assert second.tries == 2


def test_a_night_whose_records_have_expired_is_not_called_lost(
    auditing: Callable[..., Auditor], evidence: Evidence
) -> None:
    evidence.origin.topics.clear()
    assert auditing(clock=lambda: NOON + 8 * DAY).round()[0].status == "late"
    empty = Evidence(NIGHT, [1], SiteManifest("origin"), SiteManifest("public"))
    found = Result(NIGHT, "whole", 0.0, ends=ENDS)
    auditing(clock=lambda: NOON + 9 * DAY)._judge(found, empty, 7 * DAY)
    assert found.status == "late"  # there were records once, and now there is nothing


def test_nights_that_are_asked_for_are_audited_at_any_time(auditing: Callable[..., Auditor]) -> None:
    auditor = auditing(clock=lambda: begin(NIGHT))
    assert auditor.round() == []
    assert [one.night for one in auditor.round([NIGHT])] == [NIGHT]


def test_what_hinders_a_round_does_not_end_the_service() -> None:
    class Failing:
        rounds = 0

        def round(self) -> None:
            self.rounds += 1
            raise ZadsError("origin does not answer")

    def rest(_: float) -> None:
        if failing.rounds == 3:
            raise StopRequested

    failing = Failing()
    before = value("zads_audit_failures_total")
    service.run(failing, rest, 1.0)  # type: ignore[arg-type]
    assert failing.rounds == 3
    assert value("zads_audit_failures_total") == before + 3


def test_a_page_obeys_nothing_that_it_quotes() -> None:
    result = Result(NIGHT, "differs", 1.0, differences=[Difference("lost", "<script>alert(1)</script>")])
    result.notes = ["<b>x"]
    result.evidence = {
        "receipts": None,
        "published": {"alerts": 0, "exposures": 0},
        "origin": {"topics": {}, "rejected": [{"count": 1, "field": "<i>", "reason": "<u>", "source": "&"}]},
        "public": {"topics": {}, "rejected": []},
        "filters": [],
    }
    for text in (page.of_night(result), page.of_all([result])):
        assert "<script" not in text
        assert "http" not in text.replace("http-equiv", "")
    assert "&lt;i&gt;" in page.of_night(result)
    assert "No night has been audited" in page.of_all([])


def test_a_result_in_one_line_stays_in_one_line() -> None:
    result = Result(NIGHT, "differs", 1.0, differences=[Difference("lost", "a\nb\x1b[2J")] * 3)
    assert result.line == f"night {NIGHT}: DIFFERS: a\\nb\\x1b[2J (and 2 more)"


def test_a_night_without_once_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--policy", "p", "--origin", "o", "--public", "u", "--results", str(tmp_path)]
    assert cli.run(["auditor", *words, "--night", NIGHT]) == 2
    assert "--once" in capsys.readouterr().err
    assert metrics.AUDIT_NIGHTS._labelnames == ("status",)


def test_verify_says_each_nights_line_and_takes_no_damaged_result_for_whole(tmp_path: Path) -> None:
    import base64
    import importlib.util

    spec = importlib.util.spec_from_file_location("audits", ROOT / "ansible/plugins/filter/audits.py")
    assert spec is not None
    assert spec.loader is not None
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    results = [Result("20300102", "differs", 1.0, differences=[Difference("lost", "x")]), Result(NIGHT, "whole", 1.0)]
    contents = [base64.b64encode(json.dumps(one.as_json()).encode()).decode() for one in results]
    assert plugin.audits([*contents, base64.b64encode(b"{").decode()]) == [
        {"line": "the result of an audit cannot be read", "whole": False},
        {"line": f"night {NIGHT}: whole, 0 alerts", "whole": True},
        {"line": "night 20300102: DIFFERS: x", "whole": False},
    ]
