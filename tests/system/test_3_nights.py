"""The nights of the local system come and go by themselves, with the control machine off."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient

from keeping import UNIT, expected, metric, metrics, own, ready
from local_system import STATE, System, await_that, client, drop, read_topic
from zads import names
from zads.site import nights
from zads.site.access import known_nights, wanted_acls
from zads.site.cluster import Cluster
from zads.site.nights import HOUR
from zads.site.policy import SITES
from zads.sources import simulator


def test_the_nights_of_now_are_there_with_their_grants_though_nobody_made_them(system: System) -> None:
    await_that("both sites have the nights of now", lambda: ready(system), 120)
    for site in SITES:
        cluster = Cluster(client(f"admin-{site}"))
        data = system.inventory.policy()
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


def topic_id(user: str, topic: str) -> str | None:
    """The id of a topic as a user sees it; None if there is none, or it is not known or granted everywhere yet."""
    admin = AdminClient(client(user))  # kept until the answer is there
    asked = admin.describe_topics(TopicCollection([topic]), request_timeout=20)
    try:
        return str(asked[topic].result().topic_id)
    except KafkaException as error:
        if error.args[0].code() not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED):
            raise
        return None


def test_what_was_taken_away_by_hand_comes_back(system: System) -> None:
    await_that("both sites have the nights of now", lambda: ready(system), 120)
    coming = max(expected(system))
    topic = names.night_topic(coming, 1)
    before = {site: topic_id(f"admin-{site}", topic) for site in SITES}
    assert all(before.values())
    for site in SITES:
        Cluster(client(f"admin-{site}")).delete_topics([topic])
    # By its id, since a broker goes on telling of a topic for a moment after the controller has deleted it.
    await_that(
        "both sites have the night again",
        lambda: all(topic_id(f"admin-{site}", topic) not in (None, before[site]) for site in SITES),
        150,
    )
    assert await_that("readers see it", lambda: topic_id("reader", topic), 30) == topic_id("admin-public", topic)


def test_a_keeper_that_was_away_catches_up(system: System, keeper_off: None) -> None:
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
