"""The local system is measured: everything tells, strangers see nothing, and nobody waits for it."""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_system import STATE, System, at_rest, await_that, drop, hosts_of, read_topic
from zads import names
from zads.site import monitoring, nights
from zads.sources import simulator

pytestmark = pytest.mark.skipif(not hosts_of("monitors"), reason="inventories/local has no monitor")

MONITOR = "apps-1"
HOSTS = ["origin-1", "origin-2", "origin-3", "public-1", "public-2", "public-3", "apps-1"]
FRONT, PROMETHEUS, ALERTMANAGER = 9440, 9441, 9442
#: What people open, by the group of its hosts; these speak TLS too.
PAGES = {"archives": 8444, "boards": 9480}
OURS = ("zads-prometheus", "zads-alertmanager", "zads-metrics-front", "zads-node-exporter")
AUTHORITY = STATE / "secrets/monitoring/ca.crt"


def password(user: str) -> str:
    found: dict[str, str] = yaml.safe_load((STATE / "secrets/passwords.yml").read_text())
    return found[f"zads.{user}"]


def ask(system: System, host: str, port: int, path: str, user: str = "", secret: str = "") -> tuple[int, str]:
    """The status and the body of an answer, over TLS that must be of the monitoring's authority."""
    context = ssl.create_default_context(cafile=str(AUTHORITY))
    connection = http.client.HTTPSConnection(system.inventory.address(host), port, timeout=30, context=context)
    token = base64.b64encode(f"{user}:{secret}".encode()).decode()
    try:
        connection.request("GET", path, headers={"Authorization": f"Basic {token}"} if user else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def page(system: System, path: str, port: int = PROMETHEUS) -> Any:
    """What a page of the monitor says in JSON to people."""
    status, body = ask(system, MONITOR, port, path, "zads.monitor", password("monitor"))
    assert status == 200, body
    return json.loads(body)


def query(system: System, expression: str) -> list[tuple[dict[str, str], float]]:
    """The labels and the value of each series that Prometheus finds now."""
    answer = page(system, f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]


def silent(system: System) -> list[str]:
    """Targets that have not answered; none when all are up."""
    targets = page(system, "/api/v1/targets?state=active")["data"]["activeTargets"]
    return [f"{one['scrapeUrl']}: {one['lastError']}" for one in targets if one["health"] != "up"]


def test_everything_tells(system: System) -> None:
    await_that("every target is up", lambda: not silent(system), 120)
    up = {(labels["job"], labels["instance"]) for labels, value in query(system, "up") if value == 1}
    expected = {
        (job, name)
        for job, program in monitoring.PROGRAMS.items()
        for name in HOSTS
        if not program.group or name in system.inventory.group(program.group)
    }
    assert expected | {("prometheus", MONITOR), ("alertmanager", MONITOR)} == up


def test_what_is_told_is_right(system: System) -> None:
    """Each kind of program by one number that is known."""
    await_that("every target is up", lambda: not silent(system), 120)
    for site in ("origin", "public"):
        assert [value for _, value in query(system, f'sum(kafka_controller_active{{site="{site}"}})')] == [1]
        assert [value for _, value in query(system, f'sum(zookeeper_leads{{site="{site}"}})')] == [1]
        assert [value for _, value in query(system, f'count(zookeeper_leads{{site="{site}"}})')] == [3]
    for expression in (
        "sum(kafka_received_bytes_total) > 0",
        'count(kafka_request_seconds{quantile="0.99"}) == 18',
        "count(node_memory_MemAvailable_bytes) == 7",
        "sum(zads_producer_published_total) > 0",
        "sum(zads_worker_public_seconds_count) > 0",
        "count(zads_worker_circuit_open) > 0",
        "min(zads_nights_ready_until_seconds) > time()",
        'count(mirrormaker_task_status{status="running"}) > 0',
        "min(jvm_memory_max_bytes{area='heap'}) > 0",
    ):
        await_that(expression, lambda asked=expression: query(system, asked), 60)


@pytest.mark.parametrize("host", HOSTS)
def test_a_front_refuses_a_stranger_and_who_may_see_the_pages(system: System, host: str) -> None:
    assert ask(system, host, FRONT, "/node")[0] == 401
    assert ask(system, host, FRONT, "/node", "zads.scrape", "guessed")[0] == 401
    assert ask(system, host, FRONT, "/node", "zads.monitor", password("monitor"))[0] == 401
    assert ask(system, host, FRONT, "/node", "zads.scrape", password("scrape"))[0] == 200


@pytest.mark.parametrize("port", [PROMETHEUS, ALERTMANAGER])
def test_a_page_refuses_a_stranger_and_who_may_scrape(system: System, port: int) -> None:
    for path in ("/", "/metrics", "/-/ready", "/api/v1/status/config", "/api/v2/status"):
        assert ask(system, MONITOR, port, path)[0] == 401
        assert ask(system, MONITOR, port, path, "zads.scrape", password("scrape"))[0] == 401


@pytest.mark.parametrize("host", HOSTS)
def test_nothing_of_monitoring_is_open_without_tls(system: System, host: str) -> None:
    listening = system.on(host, "ss -Hltnp").splitlines()
    ours = {"nginx", "prometheus", "prometheus-aler", "prometheus-node", "java", "zads"}
    there = set()
    for line in listening:
        address, program = line.split()[3], re.search(r'users:\(\("([^"]+)"', line)
        if program and program[1] in ours - {"java"} and not address.startswith(("127.", "[::1]")):
            port = int(address.rpartition(":")[2])
            there.add(port)
            answer = system.on(
                host, f"timeout 5 openssl s_client -connect 127.0.0.1:{port} </dev/null 2>&1", check=False
            )
            assert re.search(r"^subject=.*CN", answer, re.M), f"{host}:{port} does not speak TLS"
    pages = {port for group, port in PAGES.items() if host in hosts_of(group)}
    assert there == ({FRONT, PROMETHEUS, ALERTMANAGER} if host == MONITOR else {FRONT}) | pages
    for port in (9401, 9402, 9403, 9404, 9405, 9406, 9407):
        assert not re.search(
            rf"^\S+ +\d+ +\d+ +(?!127\.|\[::1\]|\[::ffff:127\.)\S*:{port} ", "\n".join(listening), re.M
        )


@pytest.mark.parametrize("host", HOSTS)
def test_the_units_of_debian_do_not_run(system: System, host: str) -> None:
    for unit in ("nginx", "prometheus", "prometheus-alertmanager", "prometheus-node-exporter"):
        assert system.on(host, f"systemctl is-active {unit}", check=False).strip() in ("inactive", "failed")


def test_secrets_are_readable_by_their_program_alone_and_stand_in_no_command(system: System) -> None:
    secrets = [password("scrape"), password("monitor")]
    for host in HOSTS:
        commands = system.on(
            host, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '", check=False
        )
        assert not any(secret in commands for secret in secrets)
        places = "/etc/zads/metrics /etc/zads/prometheus /etc/zads/alertmanager"
        named = "-name '*.key' -o -name '*.password' -o -name web.yml"
        modes = system.on(host, f"find {places} -type f \\( {named} \\) -printf '%m %u %p\\n'", check=False)
        found = [line.split() for line in modes.splitlines() if line.count(" ") == 2]
        assert len(found) >= (7 if host == MONITOR else 2)
        assert {mode for mode, _, _ in found} == {"400"}
        assert {user for _, user, _ in found} <= {"zads-metrics", "zads-prometheus", "zads-alertmanager"}


def test_the_number_of_series_is_within_its_bounds(
    system: System, record_property: Callable[[str, object], None]
) -> None:
    await_that("every target is up", lambda: not silent(system), 120)
    counts: dict[str, float] = {}
    for labels, value in query(system, "scrape_samples_scraped"):
        if program := monitoring.PROGRAMS.get(labels["job"]):
            counts[labels["job"]] = max(counts.get(labels["job"], 0), value)
            assert 0 < value < program.series, labels
    assert counts["kafka"] < 200
    (total,) = [value for _, value in query(system, "prometheus_tsdb_head_series")]
    record_property("series of all", int(total))
    for job, value in sorted(counts.items()):
        record_property(f"series of one {job}", int(value))
    assert total < 20_000


def test_the_stream_does_not_notice_that_the_monitor_is_away(system: System) -> None:
    """Nor do its programs when their front is gone. Afterwards everything is told again, and counters went on."""
    await_that("every target is up", lambda: not silent(system), 120)
    (before,) = [value for _, value in query(system, "sum(zads_producer_published_total)")]
    since = system.on(MONITOR, "date +%s").strip()
    for unit in OURS:
        system.on(MONITOR, f"systemctl stop {unit}")
    try:
        tonight = nights.night_at(time.time())
        ((_, packets),) = simulator.simulate(tonight, 1, 20, seed=int(time.time()), programme_mix={1: 1.0})
        topic = names.night_topic(tonight, 1)
        already = len(read_topic("admin-public", topic))
        drop(system, f"{tonight}-{int(time.time())}-unwatched", {Path(name).name: data for name, data in packets})
        await_that("the alerts are public", lambda: len(read_topic("admin-public", topic)) >= already + 20, 60)
        at_rest(system)
    finally:
        for unit in OURS:
            system.on(MONITOR, f"systemctl start {unit}")
    for unit in ("zads-producer", "zads-night-keeper", "zads-mirrormaker"):
        log = system.on(MONITOR, f"journalctl -u {unit} -o cat --since @{since}", check=False)
        assert "metric" not in log.lower()
        assert "Traceback" not in log
    await_that("every target is up", lambda: not silent(system), 120)
    await_that(
        "the counters have gone on",
        lambda: query(system, "sum(zads_producer_published_total)")[0][1] >= before + 20,
        60,
    )
