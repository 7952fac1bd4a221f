"""The local system audits its nights by itself, and its hosts send their journals to the collector."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import KafkaError, KafkaException

from local_system import STATE, System, await_that, client, drop, hosts_of, make_night, playbook, read_topic, run
from zads import kafka, names
from zads.sources import simulator

pytestmark = pytest.mark.skipif(not hosts_of("auditors"), reason="inventories/local has no auditor")
NIGHT = "20300415"
ALERTS = 120
REPORTS = STATE / "reports/audits"


@pytest.fixture(scope="module")
def night(system: System) -> str:
    """A night that has gone the whole way to the public site."""
    make_night(NIGHT)
    for number, (_, packets) in enumerate(simulator.simulate(NIGHT, 2, ALERTS // 2, seed=3, programme_mix={1: 1.0})):
        drop(system, f"{NIGHT}-{number}", {Path(name).name: data for name, data in packets})
    topic = names.night_topic(NIGHT, 1)
    await_that("the night is at the public site", lambda: len(read_topic("admin-public", topic)) >= ALERTS, 120)
    return NIGHT


def audit(night: str, *, check: bool = True) -> dict[str, Any]:
    """Audit a night now, as an operator does. Returns the result."""
    playbook("audit", "-e", f"night={night}", check=check)
    found: dict[str, Any] = json.loads((REPORTS / f"{night}.json").read_text())
    return found


def whole(night: str) -> dict[str, Any]:
    """The result, as soon as the filters have read the night."""
    return await_that(
        "the night is whole", lambda: one if (one := audit(night, check=False))["status"] == "whole" else None, 180
    )


def test_a_night_is_whole_from_the_receipts_to_the_filters(system: System, night: str) -> None:
    found = whole(night)
    assert (found["alerts"], found["published"]["alerts"]) == (ALERTS, ALERTS)
    assert found["receipts"] >= 2, "the auditor runs beside the producer, and compares its receipts"
    assert {row["offered"] for row in found["filters"]} <= {ALERTS}
    assert (REPORTS / f"{night}.html").exists()


def test_an_alert_from_nowhere_is_found(system: System) -> None:
    night = "20300416"
    make_night(night)
    topic = names.night_topic(night, 1)
    producer = kafka.producer(client("admin-origin"))
    producer.produce(topic, b"x", b"k", headers=[(names.HEADER_CANDID, b"1"), (names.HEADER_VISIT, b"62607.25")])
    assert producer.flush(30) == 0
    await_that("the mirror has copied it", lambda: read_topic("admin-public", topic), 90)
    assert "unrecorded" in {one["kind"] for one in audit(night, check=False)["differences"]}
    # The result is removed, so that later tests see a system that keeps its promises.
    system.on("apps-1", f"rm /var/lib/zads/auditor/{night}.*")


def own(site: str) -> dict[str, str]:
    """Client properties of the auditor's account at a site."""
    like = {"origin": "partner", "public": "reader"}[site]
    passwords: dict[str, str] = yaml.safe_load((STATE / "secrets/passwords.yml").read_text())
    return {**client(like), "sasl.username": names.AUDITOR, "sasl.password": passwords[names.AUDITOR]}


@pytest.mark.parametrize("site", ["origin", "public"])
def test_its_account_may_write_nothing(system: System, night: str, site: str) -> None:
    errors: list[KafkaError] = []
    producer = kafka.producer(own(site), **{"enable.idempotence": False})
    producer.produce(names.night_topic(night, 1), b"x", on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    assert [error.code() for error in errors] == [KafkaError.TOPIC_AUTHORIZATION_FAILED]
    with pytest.raises(KafkaException):
        kafka.admin(own(site)).delete_topics([names.night_topic(night, 1)])[names.night_topic(night, 1)].result(30)


def test_lines_of_programs_have_a_priority_and_are_json(system: System) -> None:
    wrote = system.on("apps-1", "journalctl -u 'zads-producer' -u 'zads-auditor' -u 'zads-night-keeper' -n 200 -o json")
    entries = [json.loads(line) for line in wrote.splitlines()]
    ours = [one for one in entries if str(one.get("MESSAGE", "")).startswith("{")]
    assert ours
    for one in ours:
        event = json.loads(one["MESSAGE"])
        expected = {"debug": "7", "info": "6", "warning": "4", "error": "3", "critical": "2"}[event["level"]]
        assert one["PRIORITY"] == expected, event
    assert not [one for one in entries if str(one.get("MESSAGE", "")).startswith("%")], "lines of librdkafka"


def test_every_host_sends_its_journal_and_the_collector_may_be_away(system: System) -> None:
    def collected() -> set[str]:
        wrote = system.on(
            "apps-1",
            "journalctl --directory=/var/log/journal/remote -o json --output-fields=_HOSTNAME -n 5000 --no-pager",
        )
        return {json.loads(line)["_HOSTNAME"] for line in wrote.splitlines()}

    others = set(system.inventory.hosts) - {"apps-1"}
    await_that("every other host's journal", lambda: others <= collected(), 180)
    mark = f"marked-{int(time.time())}"
    system.on("apps-1", "systemctl stop zads-journal-front zads-journal-collector")
    try:
        system.on("public-1", f"logger -t zads-test {mark}")
    finally:
        system.on("apps-1", "systemctl start zads-journal-collector zads-journal-front")
    find = f"journalctl --directory=/var/log/journal/remote --no-pager -g {mark} | grep -c {mark} || true"
    await_that("what was written meanwhile", lambda: int(system.on("apps-1", find).strip() or 0) >= 1, 180)
    assert mark not in run("make", "logs", "COLLECTED=1", "UNIT=kafka", "HOST=public-1").stdout
