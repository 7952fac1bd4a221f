"""A demo knows whether its night has arrived, and what its report says of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zads import audit
from zads.demo import console, night, spool
from zads.demo.arrival import Arrival, too_few
from zads.errors import ZadsError
from zads.inventory import Inventory
from zads.report import figures
from zads.subscriber import percentiles

ROOT = Path(__file__).resolve().parents[2]
COUNTS = {"ztf_20300101_programid1": 10, "ztf_20300101_programid2": 3}


def test_a_site_whose_offsets_are_fewer_than_the_alerts_is_named() -> None:
    ends = {("origin", name, number): 5 for name in COUNTS for number in range(2)}
    assert too_few(ends, COUNTS) == ""
    ends["origin", "ztf_20300101_programid1", 1] = 4
    assert too_few(ends, COUNTS) == "origin has at most 9 of 10 alerts of ztf_20300101_programid1"
    assert too_few(ends | {("origin", "ztf_20300101_programid1", 2): 2}, COUNTS) == ""
    assert too_few({("public", "ztf_20300101_programid2", 0): 0}, COUNTS).startswith("public has at most 0 of 3")


def test_percentiles_of_nothing_are_none() -> None:
    assert percentiles([]) is None
    assert percentiles([0.1, 0.3, 0.2]) == {"p50": 0.2, "p95": 0.29, "p99": 0.298, "max": 0.3}


def test_a_night_does_not_wait_for_what_others_have_left_in_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "deferred.tar").touch()
    monkeypatch.setattr(spool, "on_host", lambda inventory, host, script: ["sh", "-c", script])
    inventory = Inventory("local", tmp_path, {"producers": ["p"]}, {"p": {"producer_spool": str(tmp_path)}})
    remote = spool.RemoteSpool(inventory)
    assert remote.pending() == 0
    remote.put("mine.tar", b"")
    assert remote.pending() == 1
    (tmp_path / "incoming" / "mine.tar").unlink()
    assert remote.pending() == 0


def test_a_receipt_is_read_from_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "mine.json").write_text('{"refused": 2}')
    monkeypatch.setattr(spool, "on_host", lambda inventory, host, script: ["sh", "-c", script])
    remote = spool.RemoteSpool(
        Inventory("local", tmp_path, {"producers": ["p"]}, {"p": {"producer_spool": str(tmp_path)}})
    )
    assert remote.receipt("mine.tar") == {"refused": 2}
    assert remote.receipt("other.tar") == {}


def test_a_simulated_night_is_the_same_every_time() -> None:
    first, again = (night.simulated("20181129", 2, 3) for _ in range(2))
    assert [visit.tar() for visit in first.visits] == [visit.tar() for visit in again.visits]
    assert (first.alerts, first.nights) == (6, ["20181129"])


def test_a_directory_without_packets_is_no_night(tmp_path: Path) -> None:
    with pytest.raises(ZadsError, match="there are no packets"):
        night.recorded(tmp_path)


def test_refused_input_counts_only_if_it_came_from_a_visit_of_the_night() -> None:
    origin, public = audit.SiteManifest("origin"), audit.SiteManifest("public")
    played = night.simulated("20181129", 1, 3)
    origin.rejections = [
        audit.Rejection("bad", "candid", 2, f"{played.visits[0].name}/a.avro"),
        audit.Rejection("worse", "rb", 5, "another/a.avro"),
    ]
    found = audit.Audit(("20181129",), (1,), origin, public, ())
    inventory = Inventory("local", Path(), {}, {})
    report = figures.figures(inventory, played, found, {}, figures.latency({}, 1.0, {}))
    assert report["alerts"] == {"read": 3, "rejected": 2, "origin": 0, "public": 0}


def test_a_run_that_publishes_nothing_new_shows_the_earlier_latency() -> None:
    now, then = {"public": {"p50": 0.1}}, {"hops": {"public": {"p50": 0.2}}, "visit_seconds": 40.0}
    assert figures.latency(now, 1.0, then) == figures.Latency(now, "this run", 1.0)
    earlier = figures.latency({}, 1.0, then)
    assert (earlier.hops, earlier.visit_seconds) == (then["hops"], 40.0)
    assert earlier.run.startswith("an earlier run")


class FakeSites:
    """Two sites of which a test says where their partitions end and what an audit finds."""

    policy = SimpleNamespace(groups=lambda: ["cuts"])

    def __init__(self) -> None:
        self.counts = {"ztf_20300101_programid1": 3}
        self.behind = 0
        self.end = 3
        self.found: audit.Audit | Exception = audit.AuditError("public cannot be read")

    def ends(self) -> dict[tuple[str, str, int], int]:
        if self.end < 0:
            raise TimeoutError
        return {(site, "ztf_20300101_programid1", 0): self.end for site in ("origin", "public")}

    def group_behind(self, group: str, ends: Mapping[tuple[str, int], int]) -> int:
        return self.behind

    def audit(self) -> audit.Audit:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def sites() -> FakeSites:
    return FakeSites()


def arrival(sites: FakeSites, waiting: int = 0) -> Arrival:
    return Arrival(sites, SimpleNamespace(pending=lambda: waiting))


def test_a_night_is_under_way_while_a_visit_waits_in_the_spool(sites: FakeSites) -> None:
    assert arrival(sites, waiting=2).under_way({}) == "2 exposures wait in the spool"


def test_a_night_is_under_way_until_its_offsets_suffice_and_rest(sites: FakeSites) -> None:
    night_of = arrival(sites)
    sites.end = 2
    assert night_of.under_way({}) == "origin has at most 2 of 3 alerts of ztf_20300101_programid1"
    sites.end = 4
    assert night_of.under_way({}) == "records still arrive"
    assert night_of.under_way({}) == ""


def test_a_night_is_under_way_while_a_group_of_filters_is_behind(sites: FakeSites) -> None:
    night_of = arrival(sites)
    night_of.under_way({})
    sites.behind = 7
    assert night_of.under_way({}) == "the filters of the group cuts are 7 records behind"


def test_a_site_that_does_not_answer_is_no_reason_to_give_up(sites: FakeSites) -> None:
    sites.end = -1
    assert arrival(sites).under_way({}) == "a site cannot be asked for its offsets: no answer in time"
    assert arrival(sites).audit() == ("public cannot be read", None)


def test_the_audit_names_alerts_that_the_origin_lacks_and_then_what_disagrees(sites: FakeSites) -> None:
    origin, public = audit.SiteManifest("origin"), audit.SiteManifest("public")
    sites.found = audit.Audit(
        ("20300101",), (1,), origin, public, (audit.Difference("not_mirrored", "the public site lacks one"),)
    )
    assert arrival(sites).audit()[0] == "origin has 0 of 3 alerts of ztf_20300101_programid1"
    sites.counts = {}
    assert arrival(sites).audit()[0] == "the public site lacks one"
    sites.found = audit.Audit(("20300101",), (1,), origin, public, ())
    assert arrival(sites).audit() == ("", sites.found)


def test_the_ending_names_every_page_that_the_inventory_has() -> None:
    hosts = {"one": {"ansible_host": "192.0.2.1"}, "two": {"ansible_host": "192.0.2.2", "archive_server_port": 443}}
    groups = {"producers": ["one"], "boards": ["one"], "archives": ["two"], "monitors": ["one"]}
    figures: dict[str, Any] = {"topics": []}
    text = console.ending(Inventory("local", ROOT, groups, hosts), figures, Path("page"), "reader")
    for address in ("https://192.0.2.1:9480/", "https://192.0.2.2:443/", "https://192.0.2.1:9441/"):
        assert address in text
    bare = console.ending(Inventory("local", ROOT, {"producers": ["one"]}, hosts), figures, Path("page"), "reader")
    assert "https://" not in bare
