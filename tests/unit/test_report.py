"""The pages load no other files, and escape everything that they show."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from bench.basis import Basis
from bench.report import Report
from bench.result import Result, Series
from zads import alert_card
from zads.alert_card import AlertCard
from zads.errors import ZadsError
from zads.filters import rehearsal, rehearsal_report
from zads.filters.recorded_night import RecordedAlert
from zads.packet import Packet
from zads.report import page as report
from zads.report.passed_alerts import PassedAlerts
from zads.sources import simulator

NASTY = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def packets() -> list[Packet]:
    [(_, made)] = simulator.simulate("20240101", 1, 3, seed=5)
    return [Packet.parse(data) for _, data in made]


def passed(packets: list[Packet], note: str = "") -> PassedAlerts:
    return PassedAlerts(len(packets), [(packet, note) for packet in packets])


@pytest.fixture
def figures() -> dict[str, Any]:
    return _figures()


def _figures() -> dict[str, Any]:
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
        "latency_target_seconds": 2.0,
        "visit_seconds": 1.0,
        "object_page": "https://www.example.org/object/{object}",
        "replication": {"origin": 3, "public": 3},
        "under_replicated": 0,
        "replicas": [{"site": "origin", "topic": "ztf_20240101_programid1", "leaderless": 0, **replicas}],
        "refused": [{"site": "origin", "reason": NASTY, "field": "candid", "count": 1, "source": "a/b.avro"}],
    }


def test_the_page_loads_nothing(figures: dict[str, Any], packets: list[Packet]) -> None:
    page = report.render(figures, [0.1, 0.2, 0.4], {"bright": passed(packets)})
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
    assert "minimum in sync" in page


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


def test_the_page_and_the_figures_are_two_files_of_one_name(figures: dict[str, Any], tmp_path: Path) -> None:
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
        shown = AlertCard.of(packet)
        assert packet.object_id == shown.object_id
        assert shown.light_curve.startswith("data:image/svg+xml")
        assert [label for label, _, _ in shown.cutouts] == ["Science", "Template", "Difference"]
        assert all(size == "64″" for _, size, _ in shown.cutouts)
        assert {name for name, _ in shown.facts} >= {"time", "RA", "Dec"}
        assert {name for name, _ in shown.facts} & {"rb", "drb"}
    assert seen


def test_an_unreadable_cutout_has_no_image() -> None:
    assert alert_card.cutout_image(b"no picture") is None


def test_the_latency_plot_does_not_depend_on_the_order_of_reading() -> None:
    rng = np.random.default_rng(1)
    latencies = rng.gamma(2.0, 0.2, 100)
    assert report.latency_plot(latencies.tolist(), 2.0) == report.latency_plot(sorted(latencies.tolist()), 2.0)


def test_passed_alerts_are_counted_and_their_annotations_shown(figures: dict[str, Any], packets: list[Packet]) -> None:
    some = PassedAlerts(6, [(packet, json.dumps({"why": NASTY})) for packet in packets])
    page = report.render(figures, [], {"bright": some, "all_of_them": passed(packets), "none": PassedAlerts()})
    assert re.search(r"Passed by bright <span[^>]*>3 of 6 shown<", page)
    assert re.search(r"Passed by all_of_them <span[^>]*>3<", page)
    assert "Passed by none" not in page
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") >= 3
    assert NASTY not in page


def test_an_objects_name_is_linked_to_where_it_can_be_looked_up(figures: dict[str, Any], packets: list[Packet]) -> None:
    name = packets[0].object_id
    link = f'<a href="https://www.example.org/object/{name}"'
    assert link not in report.render(figures, [], {"bright": passed(packets)}), "no page knows a simulated object"
    assert link in report.render(figures | {"source": "20181129.tar"}, [], {"bright": passed(packets)})
    assert "<a " not in report.render(figures | {"source": "a.tar", "object_page": ""}, [], {"bright": passed(packets)})


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("ZTF18abc", "ZTF18abc"), ('a"b c/d?e#<f>', "a%22b%20c%2Fd%3Fe%23%3Cf%3E"), ("ü\x1b[1m", "%C3%BC%1B%5B1m")],
)
def test_an_objects_name_is_escaped_in_its_address(name: str, wanted: str) -> None:
    assert (
        alert_card.object_address("https://www.example.org/o/{object}", name) == f"https://www.example.org/o/{wanted}"
    )


@pytest.mark.parametrize("template", ["javascript:alert({object})", "https://www.example.org/", "{object}"])
def test_an_object_page_that_is_not_a_web_address_is_refused(template: str) -> None:
    with pytest.raises(ZadsError, match=r"object_page is .*: no web address"):
        alert_card.object_address(template, "ZTF18abc")


@pytest.mark.parametrize(
    ("jd", "wanted"), [(2458451.71875, "2018-11-29 05:15:00 UTC"), (1e18, ""), (float("nan"), ""), (-1e300, "")]
)
def test_the_time_of_an_alert_is_in_utc(jd: float, wanted: str) -> None:
    assert alert_card.utc(jd) == wanted


def test_an_empty_topic_has_no_digest(figures: dict[str, Any]) -> None:
    figures["topics"] += [{**figures["topics"][0], "origin": 0, "origin_digest": "0" * 64, "public": 0,
                           "public_digest": "0" * 64}]  # fmt: skip
    page = report.render(figures, [], {})
    assert "000000000000" not in page
    assert page.count(">empty<") == 2


def test_the_latency_is_shown_with_its_target(figures: dict[str, Any]) -> None:
    page = report.render(figures, [0.1, 0.2], {})
    assert "The target is 99 % within" in page
    assert "target of 99 %: 2 s" in page


def test_upper_limits_are_in_the_legend() -> None:
    point = {"jd": 2458451.7, "fid": 1, "magpsf": 18.0, "sigmapsf": 0.1, "diffmaglim": 20.5}
    limit = {**point, "jd": 2458450.7, "magpsf": None}
    for earlier, there in (([limit], True), ([], False)):
        shown = alert_card.light_curve({"candidate": point, "prv_candidates": earlier})
        assert (b"upper limit" in base64.b64decode(shown.partition(",")[2])) is there


def test_north_is_up_and_east_left() -> None:
    """A cutout's first row is its north, as real packets show (see PIXEL_ARCSEC)."""
    rows = np.zeros((63, 63), dtype=np.float32)
    rows[:5, :] = 1.0
    header = [f"{key:<8}= {value:>20}" for key, value in
              {"SIMPLE": "T", "BITPIX": -32, "NAXIS": 2, "NAXIS1": 63, "NAXIS2": 63}.items()]  # fmt: skip
    text = "".join(f"{card:<80}" for card in [*header, "END"]).ljust(2880).encode()
    found = alert_card.cutout_image(gzip.compress((text + rows.astype(">f4").tobytes()).ljust(2880 * 7, b"\0")))
    assert found is not None
    size, address = found
    assert size == "64″"
    drawn = matplotlib.image.imread(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert drawn[2, 40, 0] == 1.0
    assert drawn[-3, 40, 0] == 0.0


STATIC = {
    "a viewport of the device's width": r'<meta name="viewport" content="width=device-width, initial-scale=1">',
    "both schemes": r"@media screen and \(prefers-color-scheme: ?dark\)",
    "a style for paper": r"@media print",
    "plots no wider than the page": r"svg \{ max-width: 100%",
}


@pytest.mark.parametrize("pattern", STATIC.values(), ids=STATIC)
def test_every_page_has(pattern: str, every_page: dict[str, str]) -> None:
    for name, page in every_page.items():
        assert re.search(pattern, page), name


def test_every_table_scrolls_in_its_own_box_and_has_headers(every_page: dict[str, str]) -> None:
    for name, page in every_page.items():
        assert page.count("<table>") == len(
            re.findall(r'<div class="scroll"[^>]*aria-label="[^"{]+"[^>]*>\s*<table>', page)
        )
        assert re.search(r"<th(?! scope)\b", page) is None, name
        assert re.search(r"<img(?![^>]* alt=\"[^\"]+\")", page) is None, name


@pytest.fixture(scope="module")
def every_page(packets: list[Packet]) -> dict[str, str]:
    """Every kind of page as HTML, with long words where a page may have them."""
    figures = json.loads(json.dumps(_figures()))
    figures["refused"][0]["reason"] = "a" * 300
    wide = PassedAlerts(9, [(packet, json.dumps({"word": "w" * 200})) for packet in packets])
    recorded = [RecordedAlert(f"{packet.candid}.avro", packet) for packet in packets]
    return {
        "report": report.render(figures, [0.1, 0.2, 0.4], {"bright": wide}),
        "filter": rehearsal_report.page(rehearsal.run("asteroid", recorded), recorded, {"gains": [packets[0].candid]}),
        "bench": _bench_page(),
    }


def _bench_page() -> str:
    made = Report(Basis("simulated", "", {"cores": 2, "processor": "p" * 60}), "about it")
    made.add(Result("cuts", (2.0,), "µs", "loop", (20.0,), "peer/ours", 15.0, note="read " * 30))
    made.add(Series("Scaling", "filters", "µs", {"group": [(1, 2, 1, 3), (10, 20, 18, 22)]}, logarithmic=True))
    return made.html()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this computer: apt-get install chromium")
def test_no_page_is_wider_than_a_phone(every_page: dict[str, str], tmp_path: Path) -> None:
    """In a frame of 375 px, because a window of Chromium cannot be as narrow."""
    frames = ""
    for name, page in every_page.items():
        (tmp_path / f"{name}.html").write_text(page)
        frames += f'<iframe src="{name}.html" title="{name}" width="375" height="800" style="border:0"></iframe>'
    script = (
        "onload = () => document.body.dataset.beyond = JSON.stringify(Object.fromEntries([...document.querySelectorAll("
        "'iframe')].map(f => [f.title, beyond(f.contentDocument.documentElement)])));"
        "const beyond = page => page.scrollWidth - page.clientWidth"
    )
    (tmp_path / "all.html").write_text(f"<!doctype html><body>{frames}<script>{script}</script>")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    options += [
        "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=20000",
    ]
    command = [str(CHROMIUM), *options, "--dump-dom", (tmp_path / "all.html").as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    match = re.search(r'data-beyond="([^"]*)"', result.stdout)
    assert match, result.stderr[-2000:]
    assert json.loads(html.unescape(match[1])) == dict.fromkeys(every_page, 0)
