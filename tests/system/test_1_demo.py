"""A night was played, and its report agrees with what the clusters hold."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from local_system import STATE, System, client, read_topic, run
from zads import names


def test_every_alert_of_the_night_is_at_both_sites_once(system: System, alerts: Path | None) -> None:
    report = system.report
    read = len(list(alerts.glob("*.avro"))) if alerts else report["alerts"]["read"]
    assert read > 0
    assert report["alerts"]["read"] == read
    assert report["alerts"]["rejected"] == 0
    assert report["alerts"]["origin"] == read
    assert report["digests_agree"] is True
    assert report["duplicates"] == 0


def test_the_report_has_latency_and_replication(system: System) -> None:
    report = system.report
    latency = report["latency_seconds"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"] < 120
    assert report["replication"] == {"origin": 3, "public": 3}
    assert report["under_replicated"] == 0


def test_every_filter_saw_every_public_alert_and_passed_what_is_on_its_topic(system: System) -> None:
    report = system.report
    states = {row["name"]: row["state"] for row in system.inventory.common("filters") if row["state"] != "off"}
    assert sorted(report["filters"]) == sorted(states)
    nights = [row["topic"] for row in report["topics"] if row["topic"].endswith("_programid1")]
    public = {record.value() for night in nights for record in read_topic("admin-public", night)}
    for name, row in report["filters"].items():
        assert row["seen"] == report["alerts"]["public"], name
        held = [record.value() for record in read_topic("admin-public", names.filter_topic(name))]
        passed = [value for value in held if value in public]
        assert len(passed) == len(set(passed)) == (row["passed"] if states[name] == "active" else 0), name
    assert any(row["passed"] for row in report["filters"].values())


def test_the_report_is_one_page_that_needs_nothing_else(system: System) -> None:
    page = (STATE / "reports" / "demo.html").read_text()
    assert 'aria-label="Share of alerts by the seconds' in page, "the plot of the latencies"
    assert "data:image/png;base64," in page, "the cutouts of alerts that were passed"
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert re.findall(r"""<link\b|@import|\bsrc=["'](?!data:)|url\(["']?(?!#|data:)""", page) == []


def test_kcat_reads_every_packet_byte_for_byte(
    system: System, public_topic: str, alerts: Path | None, tmp_path: Path
) -> None:
    properties = str(STATE / "clients" / "reader.properties")
    command = ["kcat", "-F", properties, "-C", "-t", public_topic, "-e", "-q", "-D", "", "-f", "%S\n"]
    sizes = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()
    assert len(sizes) == system.report["alerts"]["public"]
    records = read_topic("reader", public_topic)
    assert len(records) == len(sizes)
    if alerts is None:
        pytest.skip("set ZADS_ALERTS to a directory of real packets to compare every byte")
    here = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in alerts.glob("*.avro"))
    there = sorted(hashlib.sha256(record.value()).hexdigest() for record in records)
    assert there == here


def test_a_second_demo_deploys_no_change_and_publishes_nothing_twice(system: System, tmp_path: Path) -> None:
    before = system.report["alerts"]
    recap = tmp_path / "recap.json"
    given = [f"ALERTS={system.report['source']}"] if system.report.get("source") else []
    run("make", "demo", *given, ZADS_RECAP=str(recap))
    counts = json.loads(recap.read_text())
    assert {host: count["changed"] for host, count in counts.items() if count["changed"]} == {}
    assert {host: count["failures"] for host, count in counts.items() if count["failures"]} == {}
    assert set(system.inventory.hosts) <= set(counts)
    assert system.report["alerts"] == before
    assert system.report["duplicates"] == 0


def test_verify_finds_no_fault(system: System) -> None:
    run("make", "verify")


def test_admin_credentials_are_for_their_owner_alone(system: System) -> None:
    for path in [*(STATE / "clients").iterdir(), *(path for path in (STATE / "secrets").rglob("*") if path.is_file())]:
        assert path.stat().st_mode & 0o077 == 0 or path.suffix == ".crt", path
    assert "sasl.password" in client("reader")
