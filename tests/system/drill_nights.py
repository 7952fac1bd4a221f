"""Thirty nights pass at the local system, in fast-forward, with the control machine off."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from keeping import nights_at, own
from local_system import System, at_rest, await_that, client
from zads import kafka, names
from zads.night_keeper import Keeper
from zads.night_keeper.clocks import Clocks
from zads.packet import Packet
from zads.site import nights
from zads.site.cluster import Cluster
from zads.site.nights import DAY, HOUR, Timetable
from zads.site.policy import SITES
from zads.sources import simulator

#: Thirty nights pass from here on. They are before all other nights of the tests, and before the survey's first alerts.
LONG_AGO = nights.begin("20170301") + 12 * HOUR
#: Fewer and shorter than a real night's, so that thirty pass in minutes.
SMALL = {"partitions": 2, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 2}


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


@pytest.fixture
def no_early_nights(system: System) -> Iterator[None]:
    """No site has a night from before the survey: not at the beginning, after an interrupted run, nor at the end."""
    remove_nights_before("20180101")
    yield
    remove_nights_before("20180101")
    at_rest(system)


def remove_nights_before(first: str) -> None:
    """Remove the topics of early nights, and the grants on them."""
    for site in ("origin", "public"):
        cluster = Cluster(client(f"admin-{site}"))
        early = {name for name in cluster.metadata().topics if (night := nights.night_of(name)) and night < first}
        if early:
            cluster.delete_topics(early)
        if grants := [acl for acl in cluster.acls() if acl.name in early]:
            cluster.delete_acls(grants)


def test_thirty_nights_pass(system: System, keeper_off: None, no_early_nights: None) -> None:
    """In fast-forward, by the keeper's own account. Users see each night from its first moment, and the right ones.

    Some nights have alerts, which expire after two days, except those of one night.
    """
    data = system.inventory.policy(topics_night=SMALL)
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
