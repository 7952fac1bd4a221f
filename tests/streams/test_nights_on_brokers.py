"""The night keeper on two real sites of one broker each, by its own account: topics, grants and removals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.cimpl import NewTopic

import passwords
from bench.broker import Broker, running
from passwords import conf
from zads import kafka, names, warmup
from zads.night_keeper import Keeper
from zads.night_keeper.clocks import Clocks, offset
from zads.night_keeper.memory import Memory
from zads.site import nights
from zads.site.access import known_nights, wanted_acls
from zads.site.cluster import Cluster
from zads.site.nights import DAY, HOUR, Timetable
from zads.site.policy import SITES, NightTopics, Policy, Site
from zads.site.topics import Topic, fixed_topics

Sites = Mapping[Site, Broker]

DATA: dict[str, Any] = {
    "topics_night": {"partitions": 2, "replication_factor": 2, "min_insync_replicas": 1, "retention_days": 7},
    "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin"]}},
    "users": [
        {"name": "reader", "site": "public", "programmes": [1]},
        {"name": "partner", "site": "origin", "programmes": [1]},
    ],
}
# One broker is enough here; an inventory needs two replicas.
ONE_REPLICA = NightTopics.model_construct(partitions=2, replication_factor=1, min_insync_replicas=1, retention_days=7.0)
POLICY = replace(Policy.read(DATA), topics_night=ONE_REPLICA)
CANARIES = names.night_topic(names.CANARY_NIGHT, 1)
USERS = (names.NIGHT_KEEPER, names.PRODUCER, "reader", "partner")
SETTINGS = {**passwords.settings(USERS), "log.segment.delete.delay.ms": 100}
# Each test has months of its own.
MONTHS = count(0)


class Copier(threading.Thread):
    """In place of the mirror: copies the canaries of origin to the public site."""

    def __init__(self, sites: Sites) -> None:
        super().__init__(daemon=True)
        self._stop_copying = threading.Event()
        self.works = True
        self._from = kafka.consumer(sites["origin"].conf, "copier")
        self._to = kafka.producer(sites["public"].conf, **{"linger.ms": 0})

    def run(self) -> None:
        self._from.assign([TopicPartition(CANARIES, number, 0) for number in range(2)])
        while not self._stop_copying.is_set():
            message = self._from.poll(0.1)
            if self.works and message is not None and message.error() is None:
                self._to.produce(CANARIES, message.value(), message.key(), headers=message.headers() or [])
                self._to.flush(5)
        self._from.close()

    def end(self) -> None:
        self._stop_copying.set()
        self.join()


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    """Two sites as a deployment leaves them: no night yet, and the grants of the night keeper."""
    with running(settings=SETTINGS) as origin, running(settings=SETTINGS) as public:
        both: dict[Site, Broker] = {"origin": origin, "public": public}
        for site, broker in both.items():
            cluster = Cluster(broker.conf)
            cluster.create_topics([topic for topic in fixed_topics(POLICY, site) if topic.name == CANARIES])
            cluster.create_acls(wanted_acls(POLICY, site, known_nights(POLICY, site, [])))
        yield both


@pytest.fixture(scope="module", autouse=True)
def mirror(sites: Sites) -> Iterator[Copier]:
    """What copies the canaries."""
    copier = Copier(sites)
    copier.start()
    yield copier
    copier.end()


@pytest.fixture
def start(sites: Sites) -> Iterator[float]:
    """Noon of a day that no other test uses. Afterwards the sites have no night."""
    yield nights.begin("20210101") + next(MONTHS) * 100 * DAY + 12 * HOUR
    for broker in sites.values():
        cluster = Cluster(broker.conf)
        there = [name for name in cluster.topics() if nights.night_of(name)]
        if there:
            cluster.delete_topics(there)
        if left := [acl for acl in cluster.acls() if acl.name in there]:
            cluster.delete_acls(left)


class Clock:
    """The clock of everybody, which a test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> Clocks:
        return Clocks(self.now, dict.fromkeys(SITES, self.now))


def keeper(sites: Sites, clock: Callable[[], Clocks] | None, policy: Policy = POLICY, **options: Any) -> Keeper:
    confs: dict[Site, dict[str, str]] = {site: conf(broker, names.NIGHT_KEEPER) for site, broker in sites.items()}
    return Keeper(confs, lambda: policy, clocks=clock, **{"warm_seconds": 0.0, "close_seconds": 0.0, **options})


def there(broker: Broker) -> set[str]:
    """The nights that a site has."""
    return {night for name in Cluster(broker.conf).topics() if (night := nights.night_of(name))}


def publish(broker: Broker, topic: str, user: str = "") -> KafkaError | None:
    """Write a record; returns the error if it is refused."""
    failed: list[KafkaError] = []
    client = kafka.producer(
        conf(broker, user) if user else broker.conf, **{"delivery.timeout.ms": 10_000, "enable.idempotence": False}
    )
    client.produce(topic, b"alert", on_delivery=lambda error, _: failed.append(error) if error else None)
    assert client.flush(20) == 0
    return failed[0] if failed else None


def visible(broker: Broker, user: str) -> set[str]:
    """The nights' topics that a user sees and reads."""
    client = Consumer({**conf(broker, user), "group.id": user})
    try:
        return {name for name in client.list_topics(timeout=20).topics if nights.night_of(name)}
    finally:
        client.close()


def expire(broker: Broker, topic: str) -> None:
    """Remove all records of a topic, as Kafka does when they expire."""
    client = kafka.admin(broker.conf)
    partitions = Cluster(broker.conf).metadata().topics[topic].partitions
    answers = client.delete_records([TopicPartition(topic, number, -1) for number in partitions])
    for answer in answers.values():
        answer.result(20)


def test_the_first_round_makes_the_nights_and_the_second_changes_nothing(sites: Sites, start: float) -> None:
    found = keeper(sites, Clock(start)).round()
    assert found.failures == {}
    assert not any(found.unready.values())
    wanted = set(Timetable(7).wanted(start))
    tonight = nights.night_at(start)
    for site, broker in sites.items():
        assert there(broker) == wanted, site
        cluster = Cluster(broker.conf)
        made = cluster.topics()[names.night_topic(tonight, 1)]
        assert made.config["retention.ms"] == str(7 * 86_400_000)
        assert made.config["message.timestamp.type"] == "LogAppendTime"
        assert (made.partitions, made.replication_factor) == (2, 1)
        assert set(cluster.acls()) == set(wanted_acls(POLICY, site, known_nights(POLICY, site, cluster.topics())))
    again = keeper(sites, Clock(start)).round()
    assert again.failures == {}
    assert not any(again.plans.values())


def test_users_see_what_is_theirs_and_the_producer_writes(sites: Sites, start: float) -> None:
    assert keeper(sites, Clock(start)).round().failures == {}
    tonight = nights.night_at(start)
    first, second = names.night_topic(tonight, 1), names.night_topic(tonight, 2)
    assert first in visible(sites["public"], "reader")
    assert first in visible(sites["origin"], "partner")
    assert second not in visible(sites["origin"], "partner")
    for topic in (first, second):
        assert publish(sites["origin"], topic, names.PRODUCER) is None
    refused = publish(sites["origin"], first, "partner")
    assert refused is not None
    assert refused.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_the_keeper_itself_reads_and_writes_no_alert(sites: Sites, start: float) -> None:
    assert keeper(sites, Clock(start)).round().failures == {}
    topic = names.night_topic(nights.night_at(start), 1)
    for broker in sites.values():
        refused = publish(broker, topic, names.NIGHT_KEEPER)
        assert refused is not None
        assert refused.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
        with pytest.raises(KafkaException):
            Cluster(conf(broker, names.NIGHT_KEEPER)).delete_topics([names.REJECTED_TOPIC])
        assert names.REJECTED_TOPIC in Cluster(broker.conf).metadata().topics


def test_the_brokers_clocks_are_read_off_canaries(sites: Sites) -> None:
    for broker in sites.values():
        properties = conf(broker, names.NIGHT_KEEPER)
        assert abs(offset(properties, CANARIES, time.time)) < 5
        assert abs(offset(properties, CANARIES, lambda: time.time() - 1000) - 1000) < 5


def test_a_host_whose_clock_is_wrong_goes_by_the_brokers(sites: Sites, start: float, monkeypatch: Any) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 400 * DAY)
    found = keeper(sites, None).round()
    assert abs(found.now - real()) < 60
    assert found.failures == {}


def test_thirty_nights_pass_and_no_unexpired_record_is_lost(sites: Sites, start: float) -> None:
    """Every third night has no alerts. Records of the others expire after seven days, except those of one night."""
    clock = Clock(start)
    looking_after = keeper(sites, clock)
    forever = names.night_topic(nights.night_at(start + DAY), 1)
    written: dict[str, float] = {}
    for number in range(30):
        tonight = nights.night_at(start + number * DAY)
        topic = names.night_topic(tonight, 1)
        for hour in (0, 11, 13):  # noon; before midnight, after the turn; after midnight
            clock.now = start + number * DAY + hour * HOUR
            if number == 0 or hour:
                assert looking_after.round().failures == {}
            table = Timetable(7)
            for site, broker in sites.items():
                assert set(table.wanted(clock.now)) <= there(broker), (site, number, hour)
        if number % 3:
            assert publish(sites["origin"], topic, names.PRODUCER) is None, "an alert had to wait for its topic"
            written[topic] = clock.now
        for name, when in list(written.items()):
            if when + 7 * DAY <= clock.now and name != forever:
                expire(sites["origin"], name)
                del written[name]
        assert {nights.night_of(name) for name in written} <= there(sites["origin"])
    cluster = Cluster(sites["origin"].conf)
    assert forever in cluster.topics()
    assert cluster.empty_topics([forever]) == set()
    # The alerts of a night expire an hour after its end and a week. Then a topic stays for a day, up to the next turn.
    oldest = nights.begin(Timetable(7).wanted(clock.now)[0]) - 3 * DAY
    for site, broker in sites.items():
        others = there(broker) - {nights.night_of(forever)}
        assert min(map(nights.begin, others)) >= oldest, site
        acls = Cluster(broker.conf).acls()
        assert set(acls) == set(wanted_acls(POLICY, site, known_nights(POLICY, site, Cluster(broker.conf).topics())))


def test_after_an_outage_late_alerts_find_their_topics(sites: Sites, start: float) -> None:
    clock = Clock(start)
    assert keeper(sites, clock).round().failures == {}
    clock.now += 6 * DAY
    assert keeper(sites, clock).round().failures == {}
    for days in range(7):
        topic = names.night_topic(nights.night_at(start + days * DAY), 2)
        assert publish(sites["origin"], topic, names.PRODUCER) is None, topic


def test_two_keepers_at_once_do_no_harm(sites: Sites, start: float) -> None:
    clock = Clock(start)
    both = [keeper(sites, clock) for _ in range(2)]
    for days in (0, 1, 10, 11):  # make, then remove
        clock.now = start + days * DAY
        with ThreadPoolExecutor(2) as pool:
            found = [one.result() for one in [pool.submit(one.round) for one in both]]
        assert [one.failures for one in found] == [{}, {}]
        for site, broker in sites.items():
            assert set(Timetable(7).wanted(clock.now)) <= there(broker), site
    assert nights.night_at(start) not in there(sites["origin"])


def test_an_alert_of_the_last_moment_keeps_its_topic_and_its_grants(sites: Sites, start: float) -> None:
    clock = Clock(start)
    topic = names.night_topic(nights.night_at(start), 1)
    arrivals: list[str] = []

    def rest(seconds: float) -> None:
        if seconds and arrivals:
            assert publish(sites["origin"], arrivals.pop()) is None

    careful = keeper(sites, clock, close_seconds=0.1, rest=rest)
    for days in (0, 1, 2):
        clock.now = start + days * DAY
        assert careful.round().failures == {}
    arrivals.append(topic)
    clock.now = start + 10 * DAY
    found = careful.round()
    assert topic in found.plans["origin"].remove
    assert topic not in found.removed["origin"]
    assert publish(sites["origin"], topic, names.PRODUCER) is None
    # The mirror looks for its target, so the public site keeps it too.
    assert topic in Cluster(sites["public"].conf).topics()


def test_while_the_clocks_differ_no_night_is_removed(sites: Sites, start: float) -> None:
    clock = Clock(start)
    careful = keeper(sites, clock)
    for days in (0, 1, 2):
        clock.now = start + days * DAY
        assert careful.round().failures == {}
    clock.now = start + 10 * DAY
    wrong = Clocks(clock.now, {"origin": clock.now, "public": clock.now - HOUR})
    other = keeper(sites, lambda: wrong)
    other._memory = careful._memory
    assert other.round().removed == {}
    assert nights.night_at(start) in there(sites["origin"])
    assert careful.round().removed["origin"]


def test_a_site_that_is_away_does_not_keep_the_other_from_its_nights(sites: Sites, start: float) -> None:
    away: dict[Site, dict[str, str]] = {
        "origin": conf(sites["origin"], names.NIGHT_KEEPER),
        "public": {"bootstrap.servers": "127.0.0.1:9"},
    }
    found = Keeper(away, lambda: POLICY, warm_seconds=0.0).round()
    assert set(found.failures) == {"public"}
    assert set(Timetable(7).wanted(found.now)) <= there(sites["origin"])


def test_a_changed_policy_changes_the_grants_of_every_night(sites: Sites, start: float) -> None:
    assert keeper(sites, Clock(start)).round().failures == {}
    users = [{"name": "reader", "site": "public", "programmes": []}, *DATA["users"][1:]]
    less = replace(Policy.read({**DATA, "users": users}), topics_night=ONE_REPLICA)
    assert keeper(sites, Clock(start), less).round().failures == {}
    assert visible(sites["public"], "reader") == set()
    assert visible(sites["origin"], "partner")


def test_a_lost_canary_is_a_failure_of_the_mirror_and_the_nights_are_there(
    sites: Sites, start: float, mirror: Copier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zads.night_keeper.keeper.CANARY_LIMIT_SECONDS", 2.0)
    mirror.works = False
    try:
        found = keeper(sites, Clock(start)).round()
    finally:
        mirror.works = True
    assert set(found.failures) == {"mirror"}
    assert not any(found.unready.values())
    assert keeper(sites, Clock(start)).round().failures == {}


def test_the_chain_is_warmed_up_after_nights_were_made_and_at_each_turn(
    sites: Sites, start: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed: list[float] = []
    warm = warmup.warm

    def note(*arguments: Any, at_least: float, **options: Any) -> warmup.WarmUpResult:
        warmed.append(at_least)
        return warm(*arguments, at_least=0.0, **options)

    monkeypatch.setattr(warmup, "warm", note)
    monkeypatch.setattr(warmup, "ROUND_SECONDS", 0.5)
    clock = Clock(start)
    warming = keeper(sites, clock, warm_seconds=1.0)
    for hours, expected in ((0, [12.0]), (1, []), (10, [12.0]), (11, [])):  # the turn is ten hours after noon
        clock.now = start + hours * HOUR
        assert warming.round().failures == {}
        assert warmed == expected
        warmed.clear()


def test_with_a_broker_away_topics_get_replicas_there_and_none_is_removed(sites: Sites) -> None:
    """Kafka makes no topic of two replicas with one broker, except on brokers that it is told."""
    cluster = Cluster(sites["origin"].conf)
    known = names.night_topic("20171230", 1)
    answers = cluster.client.create_topics([NewTopic(known, 1, replica_assignment=[[1, 2]])])
    answers[known].result(20)
    topic = Topic(names.night_topic("20171231", 1), 3, 2, {})
    cluster.create_topics([topic], with_absent_brokers=True)
    partitions = cluster.metadata().topics[topic.name].partitions.values()
    assert {tuple(sorted(partition.replicas)) for partition in partitions} == {(1, 2)}
    assert {partition.leader for partition in partitions} == {1}
    assert publish(sites["origin"], topic.name) is None
    # Kafka would not finish a removal before the broker is back.
    memory = Memory()
    memory.see("origin", {known}, 0.0)
    found = keeper(sites, Clock(nights.begin("20210101")), memory=memory).round()
    assert found.plans["origin"].remove == []
