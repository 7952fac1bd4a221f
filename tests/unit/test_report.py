"""The report: one page that needs nothing else and trusts nothing that it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zads import pages, report
from zads.packet import Packet
from zads.sources import simulator

NASTY = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def packets() -> list[Packet]:
    [(_, made)] = simulator.simulate("20240101", 1, 3, seed=5)
    return [Packet.parse(data) for _, data in made]


@pytest.fixture
def figures() -> dict[str, Any]:
    row = {"night": "20240101", "programme": 1, "read": 3, "origin": 3, "origin_digest": "ab" * 32}
    replicas = {"partitions": 16, "replication_factor": 3, "min_insync_replicas": 2, "under_replicated": 0}
    return {
        "environment": "local",
        "finished": "2026-11-24T12:00:00Z",
        "source": "",
        "nights": ["20240101"],
        "visits": 1,
        "alerts": {"read": 3, "rejected": 1, "origin": 3, "public": 3},
        "topics": [
            {**row, "topic": "ztf_20240101_programid1", "public": 3, "public_digest": "ab" * 32},
            {**row, "topic": "ztf_20240101_programid2", "public": None, "public_digest": ""},
        ],
        "digests_agree": True,
        "disagreements": [],
        "duplicates": 0,
        "filters": {
            "bright": {"seen": 3, "passed": 1, "capped": 0, "failed": 0, "state": "active", "owner": "alice"},
        },
        "latency_seconds": {"p50": 0.1, "p95": 0.2, "p99": 0.3, "max": 0.4},
        "hops": {"origin": {"p50": 0.01, "p95": 0.02, "p99": 0.03, "max": 0.05}},
        "latency_of": "this run",
        "replication": {"origin": 3, "public": 3},
        "under_replicated": 0,
        "replicas": [{"site": "origin", "topic": "ztf_20240101_programid1", "leaderless": 0, **replicas}],
        "refused": [{"site": "origin", "reason": NASTY, "field": "candid", "count": 1, "source": "a/b.avro"}],
    }


def test_the_page_needs_nothing_else(figures: dict[str, Any], packets: list[Packet]) -> None:
    page = report.render(figures, [0.1, 0.2, 0.4], {"bright": packets})
    assert "<svg" in page
    assert page.count("data:image/png;base64,") >= len(packets)
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "<script" not in page


def test_what_comes_from_outside_is_escaped(figures: dict[str, Any]) -> None:
    page = report.render(figures, [], {})
    assert NASTY not in page
    assert "&lt;script&gt;" in page


def test_refused_input_and_replication_are_on_the_page(figures: dict[str, Any]) -> None:
    page = report.render(figures, [], {})
    assert "a/b.avro" in page
    assert "must be in sync" in page


def test_a_disagreement_is_the_verdict(figures: dict[str, Any]) -> None:
    figures |= {"digests_agree": False, "disagreements": ["ztf_20240101_programid1: public lacks 1"]}
    page = report.render(figures, [], {})
    assert "ztf_20240101_programid1: public lacks 1" in page
    assert "Nothing was lost" not in page


def test_every_hop_has_its_latency_on_the_page(figures: dict[str, Any]) -> None:
    page = report.render(figures, [0.1, 0.2], {})
    assert "origin" in page
    assert "0.05 s" in page


def test_a_report_without_latency_or_filters_is_still_a_page(figures: dict[str, Any]) -> None:
    figures |= {"latency_seconds": None, "hops": {}, "filters": {}}
    assert "</html>" in report.render(figures, [], {})


def test_the_page_and_the_figures_lie_beside_each_other(figures: dict[str, Any], tmp_path: Path) -> None:
    page = report.write(tmp_path / "reports" / "demo", figures, [0.1, 0.2], {})
    assert page.read_text().startswith("<!doctype html>")
    assert json.loads(page.with_suffix(".json").read_text()) == figures
    assert sorted(path.name for path in page.parent.iterdir()) == ["demo.html", "demo.json"]


def test_an_alert_of_every_schema_can_be_shown(real_packets: list[Path]) -> None:
    seen: set[str] = set()
    for path in real_packets:
        packet = Packet.parse(path.read_bytes())
        if packet.schema_version in seen:
            continue
        seen.add(packet.schema_version)
        shown = pages.show(packet)
        assert packet.object_id in shown.title
        assert shown.light_curve.startswith("data:image/png")
        assert [label for label, _ in shown.cutouts] == ["Science", "Template", "Difference"]
        assert all(picture for _, picture in shown.cutouts)
    assert seen


def test_a_cutout_of_nothing_is_left_out() -> None:
    assert pages.picture(b"no picture") == ""


def test_latencies_are_drawn_whatever_their_order() -> None:
    rng = np.random.default_rng(1)
    latencies = rng.gamma(2.0, 0.2, 100)
    assert report.latency_plot(latencies.tolist()) == report.latency_plot(sorted(latencies.tolist()))
