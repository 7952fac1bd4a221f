"""The nights of the local system come and go by themselves, with the control machine off."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient

from local_system import STATE, System, at_rest, await_that, client, drop, playbook, read_topic, run
from zads import kafka, names
from zads.night_keeper import Keeper
from zads.night_keeper.clocks import Clocks
from zads.packet import Packet
from zads.site import nights
from zads.site.access import known_nights, wanted_acls
from zads.site.cluster import Cluster
from zads.site.nights import DAY, HOUR, Timetable
from zads.site.policy import SITES, Policy, Site
from zads.sources import simulator

UNIT = "zads-night-keeper"
#: Thirty nights pass from here on. They are before all other nights of the tests, and before the survey's first alerts.
LONG_AGO = nights.begin("20170301") + 12 * HOUR
#: Fewer and shorter than a real night's, so that thirty pass in minutes.
SMALL = {"partitions": 2, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 2}


def variables(system: System) -> dict[str, Any]:
    """The inventory's variables."""
    return next(iter(system.inventory.hosts.values()))


def policy(system: System, **changes: Any) -> Policy:
    """The data policy of the inventory, with changes."""
    return Policy.read({**variables(system), **changes})


def own(site: Site) -> dict[str, str]:
    """Client properties of the night keeper's account at a site."""
    like = {"origin": "partner", "public": "reader"}[site]
    passwords: dict[str, str] = yaml.safe_load((STATE / "secrets/passwords.yml").read_text())
    return {**client(like), "sasl.username": names.NIGHT_KEEPER, "sasl.password": passwords[names.NIGHT_KEEPER]}


def nights_at(site: Site) -> set[str]:
    """The nights that a site has."""
    found = Cluster(client(f"admin-{site}")).metadata().topics
    return {night for name in found if (night := nights.night_of(name))}


def expected(system: System) -> set[str]:
    """The nights that the deployed keeper keeps now."""
    settings = variables(system)
    table = Timetable(7, settings["night_keeper_ahead"], settings["night_keeper_past"])
    return set(table.wanted(time.time()))


def ready(system: System) -> bool:
    """Whether both sites have the nights of now."""
    return all(expected(system) <= nights_at(site) for site in SITES)


def metric(system: System, name: str) -> dict[str, float]:
    """A metric of the keeper, by its site."""
    return {site: float(value) for site, value in re.findall(rf'^{name}{{site="(\w+)"}} (\S+)$', metrics(system), re.M)}


def metrics(system: System) -> str:
    """All metrics of the keeper; empty while it is off."""
    read = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9405/metrics', timeout=5).read().decode())"
    return system.on("apps-1", f'python3 -c "{read}"', check=False)


@pytest.fixture
def stopped(system: System) -> Iterator[None]:
    """The deployed keeper is off."""
    system.on("apps-1", f"systemctl stop {UNIT}")
    yield
    system.on("apps-1", f"systemctl start {UNIT}")
    await_that("the deployed keeper has done a round", lambda: len(metric(system, "zads_nights_late")) == 2, 120)


def test_the_nights_of_now_are_there_with_their_grants_though_nobody_made_them(system: System) -> None:
    await_that("both sites have the nights of now", lambda: ready(system), 120)
    for site in SITES:
        cluster = Cluster(client(f"admin-{site}"))
        data = policy(system)
        there = cluster.topics()
        for night in expected(system):
            for programme in data.allowed(site):
                made = there[names.night_topic(night, programme)]
                assert made.replication_factor == 3
                assert made.config["retention.ms"] == "604800000"
                assert made.config["min.insync.replicas"] == "2"
        wanted = {acl for acl in wanted_acls(data, site, known_nights(data, site, there)) if acl.resource == "topic"}
        assert wanted == {acl for acl in cluster.acls() if acl.resource == "topic"}, site


def test_it_says_until_when_nights_are_ready_and_that_none_is_late(system: System) -> None:
    await_that("both sites have the nights of now", lambda: ready(system), 120)
    until = await_that("a round has ended", lambda: metric(system, "zads_nights_ready_until_seconds"), 120)
    assert set(until) == set(SITES)
    assert min(until.values()) > time.time() + 12 * HOUR
    assert metric(system, "zads_nights_late") == {"origin": 0, "public": 0}
    assert all(abs(seconds) < 5 for seconds in metric(system, "zads_nights_clock_offset_seconds").values())
    (canary,) = re.findall(r"^zads_nights_canary_seconds (\S+)$", metrics(system), re.M)
    assert 0 < float(canary) < 60


def test_an_alert_of_now_waits_for_no_topic(system: System) -> None:
    """It goes the whole way: spool, origin, mirror, public site."""
    await_that("both sites have the nights of now", lambda: ready(system), 120)
    tonight = nights.night_at(time.time())
    ((_, packets),) = simulator.simulate(tonight, 1, 20, seed=int(time.time()), programme_mix={1: 1.0})
    since = system.on("apps-1", "date +%s").strip()
    drop(system, f"{tonight}-{int(time.time())}-now", {Path(name).name: data for name, data in packets})
    topic = names.night_topic(tonight, 1)
    await_that("the alerts are at the public site", lambda: len(read_topic("admin-public", topic)) >= 20, 90)
    log = system.on("apps-1", f"journalctl -u zads-producer -o cat --since @{since}", check=False)
    assert "waiting for a topic" not in log
    assert read_topic("reader", topic)


def test_what_was_taken_away_by_hand_comes_back(system: System) -> None:
    await_that("both sites have the nights of now", lambda: ready(system), 120)
    coming = max(expected(system))
    topic = names.night_topic(coming, 1)
    for site in SITES:
        Cluster(client(f"admin-{site}")).delete_topics([topic])
    await_that("the night is there again", lambda: ready(system), 150)
    assert topic in AdminClient(client("reader")).list_topics(timeout=20).topics


def test_thirty_nights_pass(system: System, stopped: None) -> None:
    """In fast-forward, by the keeper's own account. Users see each night from its first moment, and the right ones.

    Some nights have alerts, which expire after two days, except those of one night.
    """
    data = policy(system, topics_night=SMALL)
    table = Timetable(SMALL["retention_days"], ahead=1, past=1)
    now = LONG_AGO
    before = {site: nights_at(site) for site in SITES}
    keeper = Keeper(
        {site: own(site) for site in SITES},
        lambda: data,
        ahead=1,
        past=1,
        warm_seconds=0,
        close_seconds=2,
        clocks=lambda: Clocks(now, dict.fromkeys(SITES, now)),
    )
    origin, public = client("admin-origin"), client("admin-public")
    kept = names.night_topic(nights.night_at(LONG_AGO + 3 * DAY), 1)
    held: dict[str, float] = {}
    for number in range(30):
        for hour in (0, 11, 13):  # noon; after the turn; after midnight
            now = LONG_AGO + number * DAY + hour * HOUR
            if number == 0 or hour == 11:
                found = keeper.round()
                assert found.failures == {}
                assert not any(found.unready.values())
            for site in SITES:
                assert set(table.wanted(now)) <= nights_at(site), (number, hour, site)
        tonight = nights.night_at(now)
        topic = names.night_topic(tonight, 1)
        assert {topic} <= seen("reader"), "a user of the public site reads programme 1"
        assert {topic, names.night_topic(tonight, 2)} <= seen("partner")
        assert names.night_topic(tonight, 3) not in seen("partner")
        if number in (2, 11, 20):
            publish(origin, tonight)
            await_that("the mirror has it", lambda topic=topic: holds(public, topic), 60)
            held[topic] = now
        for name, moment in list(held.items()):
            if moment + 2 * DAY <= now and name != kept:
                expire(origin, name)
                expire(public, name)
                del held[name]
    for site in SITES:
        new = nights_at(site) - before[site]
        assert nights.night_of(kept) in new, "an unexpired record was removed"
        oldest = nights.begin(table.wanted(now)[0]) - 3 * DAY
        assert {night for night in new if nights.begin(night) < oldest} == {nights.night_of(kept)}, site
        assert before[site] <= nights_at(site), "a night of others was removed"
    remove_nights_before("20180101")
    at_rest(system)


def seen(user: str) -> set[str]:
    """The topics of nights that a user may read, as the brokers name them to the user."""
    reader = Consumer({**client(user), "group.id": user})
    try:
        return {name for name in reader.list_topics(timeout=20).topics if nights.night_of(name)}
    finally:
        reader.close()


def publish(conf: dict[str, str], night: str) -> None:
    """Publish an alert of a night to programme 1, as the producer does."""
    failed: list[KafkaError] = []
    producer = kafka.producer(conf, **{"linger.ms": 0})
    ((_, packets),) = simulator.simulate(night, 1, 1, programme_mix={1: 1.0})
    packet = Packet.trusted(packets[0][1])
    headers = [
        (names.HEADER_CANDID, str(packet.candid).encode()),
        (names.HEADER_VISIT, packet.visit.encode()),
        (names.HEADER_SCHEMA, packet.schema_version.encode()),
        (names.HEADER_FORMAT, names.FORMAT_AVRO),
        (names.HEADER_PRODUCED, f"{time.time():.6f}".encode()),
    ]
    producer.produce(
        packet.topic, packet.data, packet.key, headers=headers,
        on_delivery=lambda error, _: failed.append(error) if error else None,
    )  # fmt: skip
    assert producer.flush(30) == 0
    assert not failed


def holds(conf: dict[str, str], topic: str) -> bool:
    return not Cluster(conf).empty_topics([topic])


def expire(conf: dict[str, str], topic: str) -> None:
    """Remove all records of a topic, as Kafka does when they expire."""
    cluster = Cluster(conf)
    numbers = cluster.metadata().topics[topic].partitions
    for answer in cluster.client.delete_records([TopicPartition(topic, number, -1) for number in numbers]).values():
        answer.result(30)


def remove_nights_before(first: str) -> None:
    """Remove what a test has made: topics of early nights, and the grants on them."""
    for site in ("origin", "public"):
        cluster = Cluster(client(f"admin-{site}"))
        early = {name for name in cluster.metadata().topics if (night := nights.night_of(name)) and night < first}
        if early:
            cluster.delete_topics(early)
        if grants := [acl for acl in cluster.acls() if acl.name in early]:
            cluster.delete_acls(grants)


def test_a_keeper_that_was_away_catches_up(system: System, stopped: None) -> None:
    """Its whole work is undone meanwhile. The deployed keeper makes it again from nothing."""
    for site in SITES:
        cluster = Cluster(client(f"admin-{site}"))
        empty = cluster.empty_topics([name for name in cluster.topics() if nights.night_of(name) in expected(system)])
        cluster.delete_topics(empty)
    assert not ready(system)
    system.on("apps-1", f"systemctl start {UNIT}")
    await_that("the nights are there again", lambda: ready(system), 120)


def test_its_account_may_do_its_work_and_nothing_else(system: System, public_topic: str) -> None:
    for site in SITES:
        cluster = Cluster(own(site))
        with pytest.raises(KafkaException) as refused:
            cluster.delete_topics([names.REJECTED_TOPIC])
        assert refused.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
        reader = Consumer({**own(site), "group.id": names.NIGHT_KEEPER})
        try:
            reader.assign([TopicPartition(public_topic, 0, 0)])
            code = KafkaError.GROUP_AUTHORIZATION_FAILED  # may be said first: it has no group either
            while code == KafkaError.GROUP_AUTHORIZATION_FAILED:
                message = reader.poll(30)
                assert message is not None
                assert message.error() is not None, "it reads alerts"
                code = message.error().code()
            assert code == KafkaError.TOPIC_AUTHORIZATION_FAILED
        finally:
            reader.close()
        mine = {acl for acl in cluster.acls() if acl.principal == f"User:{names.NIGHT_KEEPER}"}
        assert {acl.operation for acl in mine if acl.resource == "cluster"} == {"describe", "alter"}
        assert AclOperation.ALL.name.lower() not in {acl.operation for acl in mine}


def test_its_host_has_the_policy_without_any_password(system: System) -> None:
    text = system.on("apps-1", "cat /etc/zads/night_keeper/policy.json")
    passwords: dict[str, str] = yaml.safe_load((STATE / "secrets/passwords.yml").read_text())
    assert not [user for user, password in passwords.items() if password in text]
    listed = system.on("apps-1", "stat -c '%U:%G %a' /etc/zads/night_keeper /etc/zads/night_keeper/policy.json")
    assert listed.splitlines() == ["root:zads 750", "root:zads 640"]


def test_verify_names_a_keeper_that_is_off(system: System, stopped: None) -> None:
    found = run("make", "verify", check=False)
    assert found.returncode != 0
    assert f"FAIL apps-1: {UNIT}.service is inactive (dead)" in found.stdout, found.stdout[-4000:]


def test_a_deploy_changes_nothing_of_the_keeper(system: System) -> None:
    counts = playbook("deploy", "--tags", "night_keeper")
    assert {host: one["changed"] for host, one in counts.items() if one.get("changed")} == {}
