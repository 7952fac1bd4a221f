"""The nights of the local system are archived by themselves, served to those who may have them, and streamed again."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import re
import ssl
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from local_system import NIGHT, STATE, System, await_that, client, drop, hosts_of, make_night, read_topic, run
from zads import names
from zads.filters.owner import Spec
from zads.filters.sandbox import Sandbox
from zads.packet import Packet
from zads.site.cluster import Cluster
from zads.sources import simulator

pytestmark = pytest.mark.skipif(not hosts_of("archives"), reason="inventories/local has no archive")
UNIT = "zads-archive"
PUBLIC = names.night_topic(NIGHT, 1)
DIRECTORY = "/var/lib/zads/archive"
#: A night that these tests make and archive.
OWN_NIGHT = "20190611"


def ask(system: System, path: str, **headers: str) -> tuple[int, bytes]:
    """Ask the server of the archives, as anybody would who has the certificate of its authority."""
    host = system.inventory.group("archives")[0]
    trust = ssl.create_default_context(cafile=str(STATE / "secrets/archives/ca.crt"))
    connection = http.client.HTTPSConnection(system.inventory.address(host), 8444, context=trust, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def listed(system: System) -> dict[str, dict[str, Any]]:
    """The archives of the list, by night and programme."""
    status, text = ask(system, "/index.json")
    assert status == 200
    return {f"{one['night']}/{one['programme']}": one for one in json.loads(text)["archives"]}


def packets(data: bytes) -> Counter[bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        return Counter(found.extractfile(one).read() for one in found)


def visit(number: int, alerts: int, mix: dict[int, float]) -> list[tuple[str, bytes]]:
    """The packets of a visit of the night of these tests. No two visits have the same candids."""
    return list(simulator.simulate(OWN_NIGHT, number + 1, alerts, programme_mix=mix))[number][1]


def own_night(system: System, name: str, alerts: int, number: int) -> list[bytes]:
    """Publish a visit of programmes 1 and 2. Returns the packets of programme 1."""
    members = visit(number, alerts, {1: 0.7, 2: 0.3})
    drop(system, name, {Path(file).name: data for file, data in members})
    return [data for _, data in members if Packet.trusted(data).programid == 1]


@pytest.fixture(scope="module")
def played(system: System) -> dict[str, Any]:
    """The archive of the demo's night, which nobody asked for."""
    found: dict[str, Any] = await_that("the demo's night is archived", lambda: listed(system).get(f"{NIGHT}/1"), 240)
    return found


@pytest.fixture(scope="module")
def own(system: System) -> list[bytes]:
    """The packets of programme 1 of a night that has programme 2 too, and is archived."""
    make_night(OWN_NIGHT)
    packets_ = own_night(system, "archive-first", 30, 0)
    await_that("the night is archived", lambda: listed(system).get(f"{OWN_NIGHT}/1"), 240)
    return packets_


def test_the_demos_night_is_archived_byte_for_byte(system: System, played: dict[str, Any]) -> None:
    status, data = ask(system, f"/{played['file']}")
    assert status == 200
    assert packets(data) == Counter(message.value() for message in read_topic("admin-public", PUBLIC))
    assert hashlib.sha256(data).hexdigest() == played["sha256"]
    assert ask(system, f"/{played['checksum']}")[1].decode() == f"{played['sha256']}  {played['file']}\n"
    rest = ask(system, f"/{played['file']}", Range=f"bytes={len(data) // 2}-")
    assert rest == (206, data[len(data) // 2 :])
    assert played["file"].encode() in ask(system, "/")[1]


def test_nobody_gets_another_programme(system: System, played: dict[str, Any], own: list[bytes]) -> None:
    host = system.inventory.group("archives")[0]

    def private() -> list[str]:
        return system.on(host, f"ls {DIRECTORY}/private").split()

    await_that("programme 2 is archived", lambda: f"{names.night_topic(OWN_NIGHT, 2)}.tar.gz" in private(), 60)
    assert {one["programme"] for one in listed(system).values()} == {1}
    for name in private():
        for path in (f"/{name}", f"/../private/{name}", f"/%2e%2e/private/{name}"):
            if not name.startswith("index"):
                assert ask(system, path)[0] in (400, 404), path
    seen = system.on(
        host, "nsenter -t $(systemctl show -P MainPID zads-archive-server) -m ls -A /var/lib/zads", check=False
    )
    assert seen.strip() == "", "the server sees more than the public archives"


def test_late_alerts_make_a_new_version(system: System, own: list[bytes]) -> None:
    one = listed(system)[f"{OWN_NIGHT}/1"]
    assert (one["files"], one["version"]) == (len(own), 1)
    late = own_night(system, "archive-late", 10, 1)

    def second() -> dict[str, Any] | None:
        found = listed(system).get(f"{OWN_NIGHT}/1", {})
        return found if found.get("version") == 2 else None

    two = await_that("the night is archived again", second, 240)
    assert two["added"] == len(late)
    assert packets(ask(system, f"/{two['file']}")[1]) == Counter([*own, *late])
    assert ask(system, f"/{one['file']}")[0] == 404
    told = run("make", "archive", f"NIGHT={OWN_NIGHT}").stdout
    assert "all of it is archived" in told


def test_its_account_reads_nights_and_changes_nothing(system: System) -> None:
    host = system.inventory.group("archives")[0]
    for site in ("origin", "public"):
        text = system.on(host, f"cat /etc/zads/archive/{site}/kafka.properties")
        properties = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and line[0] != "#")
        properties["ssl.ca.location"] = str(STATE / f"secrets/{site}/kafka-ca.crt")
        with pytest.raises(KafkaException) as refused:
            Cluster(properties).delete_topics([PUBLIC])
        assert refused.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
        mine = {acl for acl in Cluster(client(f"admin-{site}")).acls() if acl.principal == f"User:{names.ARCHIVE}"}
        assert {(acl.resource, acl.operation) for acl in mine} == {("topic", "read"), ("group", "describe")}
        assert {acl.pattern for acl in mine} == {"literal"}


def test_an_archive_is_streamed_again_into_a_topic_of_choice(
    system: System, played: dict[str, Any], tmp_path: Path
) -> None:
    archive = tmp_path / played["file"]
    archive.write_bytes(ask(system, f"/{played['file']}")[1])
    target = "replayed_night"
    cluster = Cluster(client("admin-public"))
    template = cluster.topics()[PUBLIC]
    cluster.create_topics([type(template)(target, 4, 3, template.config)])
    try:
        replay = (".venv/bin/zads", "replay", str(archive), "--to", target)
        properties = ("--kafka", str(STATE / "clients/admin-public.properties"))
        told = run(*replay, *properties).stdout
        assert f"content {played['content']}" in told
        assert f"{played['files']} packets streamed" in told
        again = run(*replay, *properties).stdout
        assert f"0 packets streamed into {target}, {played['files']} were there already" in again
        assert Counter(m.value() for m in read_topic("admin-public", target)) == packets(archive.read_bytes())
        refused = run(*replay[:-1], PUBLIC, *properties, check=False)
        assert refused.returncode == 1
        assert "is the topic of a night" in refused.stdout
    finally:
        cluster.delete_topics([target])


def traced(candid: int, *where: str) -> tuple[int, dict[str, Any]]:
    found = run(".venv/bin/zads", "trace", str(candid), "--json", *where, check=False)
    start, end = found.stdout.index("{"), found.stdout.rindex("}") + 1
    return found.returncode, json.loads(found.stdout[start:end])


def test_alerts_are_followed_and_a_reader_learns_nothing_of_another_programme(system: System, own: list[bytes]) -> None:
    records = read_topic("admin-public", PUBLIC)[:8]
    for message in records:
        candid = int(dict(message.headers())[names.HEADER_CANDID])
        status, told = traced(candid, "--env", "local")
        assert status == 0
        assert [one["sha256"] for one in told["public"]] == [hashlib.sha256(message.value()).hexdigest()]
        assert told["public"][0]["offset"] == message.offset()
        assert told["origin"][0]["sha256"] == told["public"][0]["sha256"]
        assert told["ledger"]
        assert {one["filter"] for one in told["filters"]} == {one["name"] for one in system.inventory.common("filters")}
    hidden = int(dict(read_topic("admin-origin", names.night_topic(OWN_NIGHT, 2))[0].headers())[names.HEADER_CANDID])
    status, told = traced(hidden, "--env", "local")
    assert (status, len(told["origin"]), told["public"]) == (0, 1, [])
    reader = ("--public", str(STATE / "clients/reader.properties"), "--night", OWN_NIGHT)
    secret, nothing = (traced(candid, *reader) for candid in (hidden, hidden + 99_999))
    for status, told in (secret, nothing):
        assert status == 1
        assert told["found"] is False
        told.pop("candid")
        told.pop("candid_str")
    assert secret == nothing


def test_a_refused_file_is_followed(system: System) -> None:
    ((_, data),) = visit(2, 1, {1: 1.0})
    candid = Packet.trusted(data).candid
    drop(system, "archive-refused", {f"{candid}.avro": data[:-9]})

    def refused() -> bool:
        return bool(traced(candid, "--env", "local")[1]["refusals"])

    await_that("the refused file is followed", refused, 60)


def test_an_alert_that_a_filters_cap_cut_is_followed(system: System) -> None:
    """More alerts of a visit pass this filter than its cap allows."""
    chatty, cap = "bright_young_transient", 20
    packets_ = visit(3, 300, {1: 1.0})
    with Sandbox([Spec(chatty, chatty)]) as sandbox:
        verdicts, _ = sandbox.run([data for _, data in packets_])
    wanted = {Packet.trusted(packets_[index][1]).candid for index in verdicts[chatty].passed}
    assert len(wanted) > cap
    drop(system, "archive-capped", {Path(name).name: data for name, data in packets_})

    def published() -> set[int]:
        records = read_topic("alice", names.filter_topic(chatty))
        return wanted & {int(dict(one.headers())[names.HEADER_CANDID]) for one in records}

    await_that("the cap is reached", lambda: len(published()) == cap, 120)
    cut = min(wanted - published())

    def verdict() -> str:
        told = traced(cut, "--env", "local")[1]["filters"]
        return next((one["verdict"] for one in told if one["filter"] == chatty), "none")

    await_that("the filter has judged it", lambda: verdict() == "cut", 60)


def test_its_units_are_closed(system: System) -> None:
    host = system.inventory.group("archives")[0]
    for unit in (UNIT, f"{UNIT}-server"):
        score = system.on(host, f"systemd-analyze security {unit}.service --no-pager | tail -1")
        assert float(re.search(r"([0-9.]+) (OK|MEDIUM|EXPOSED|UNSAFE)", score)[1]) < 4.0, score
    log = system.on(host, "journalctl -o cat -u zads-archive -u zads-archive-server --no-pager")
    assert "BEGIN PRIVATE KEY" not in log
