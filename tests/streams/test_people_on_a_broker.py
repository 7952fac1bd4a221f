"""What a broker does with the people of an inventory, seen by clients: limits, ends of accounts, addresses, groups."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from bench.broker import Broker, await_true, running
from zads import kafka, names

Run = Callable[..., dict[str, Any]]
NIGHT, LIVE = "ztf_20300101_programid1", "ztf_20300102_programid1"
REAUTHENTICATE = 6  # seconds; a deployment has minutes
LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
#: The settings of the role's listener for clients, without encryption. The listener PATIENT asks for the password once:
#: a client that a limit delays for longer than REAUTHENTICATE would show it too late.
CLIENTS = {
    "listeners": "PLAINTEXT://0.0.0.0:9092,CLIENTS://0.0.0.0:9094,PATIENT://0.0.0.0:9095",
    "advertised.listeners": "PLAINTEXT://ADDRESS:9092,CLIENTS://ADDRESS:9094,PATIENT://ADDRESS:9095",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CLIENTS:SASL_PLAINTEXT,PATIENT:SASL_PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.name.clients.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.clients.scram-sha-512.sasl.jaas.config": LOGIN,
    "listener.name.patient.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.patient.scram-sha-512.sasl.jaas.config": LOGIN,
    "listener.name.clients.scram-sha-512.connections.max.reauth.ms": REAUTHENTICATE * 1000,
}
PATIENT = 9095  # the port
RECORD = 65_000  # bytes, of which no compression saves any
RECORDS = 1_200  # of the night: 78 MB
SLOW = 2_000_000  # bytes a second of everybody


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """A broker with a listener for clients, a night to read, and another that goes on."""
    with running(settings=CLIENTS) as started:
        started.create(NIGHT, LIVE, partitions=2)
        client = kafka.producer(started.conf, **{"compression.codec": "none"})
        for number in range(RECORDS):
            client.produce(NIGHT, os.urandom(RECORD), partition=number % 2)
            client.poll(0)
        assert client.flush(120) == 0
        yield started


def user(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "site": "public", "programmes": [1], **more}


FREE = {"limits": {"read": 10**9, "requests": 1000}}
NEIGHBOUR = user("neighbour", **FREE)


class People:
    """A site's people, made what an inventory says by the modules that the role access uses, in its order."""

    def __init__(self, broker: Broker, run: Run, remembered: str) -> None:
        self.broker, self.run, self.remembered = broker, run, remembered

    def policy(self, *users: dict[str, Any]) -> dict[str, Any]:
        return {
            "topics_night": {"partitions": 2, "replication_factor": 2, "min_insync_replicas": 1, "retention_days": 7},
            "programmes": {1: {"sites": ["origin", "public"]}},
            "users": list(users),
            "users_limits": {"read": SLOW, "requests": 100},
        }

    def plan(self, *users: dict[str, Any]) -> dict[str, Any]:
        return self.run("site_access", site="public", policy=self.policy(*users), brokers=["here"])

    def become(self, *users: dict[str, Any], only: str = "") -> None:
        """Give these people, and nobody else, what is theirs; `only`: with one module alone."""
        plan = self.plan(*users)
        passwords = {name: f"password-of-{name}" for name in plan["accounts"]}
        steps: dict[str, dict[str, Any]] = {
            "kafka_quotas": {"quotas": plan["quotas"]},
            "kafka_users": {"users": passwords, "remembered": self.remembered},
            "kafka_acls": {"acls": plan["acls"]},
        }
        for module, arguments in steps.items():
            if only in ("", module):
                answer = self.run(module, **arguments)
                assert "changed" in answer, answer

    def conf(self, name: str, port: int = 9094) -> dict[str, str]:
        """What a user's kit says, without encryption."""
        host = self.broker.conf["bootstrap.servers"].partition(":")[0]
        return {
            "bootstrap.servers": f"{host}:{port}", "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": name, "sasl.password": f"password-of-{name}",
        }  # fmt: skip


@pytest.fixture
def people(broker: Broker, run: Run, tmp_path_factory: pytest.TempPathFactory) -> People:
    remembered = tmp_path_factory.getbasetemp() / f"accounts-{broker.conf['bootstrap.servers']}.json"
    return People(broker, run, str(remembered))


class Reading:
    """Reads in a thread until it is stopped: bytes, moments of arrival, and errors by their names."""

    def __init__(
        self, conf: dict[str, str], topic: str, *, group: str = "", start: str = "earliest", at_once: int = 16_000_000
    ) -> None:
        self.size, self.arrivals, self.errors = 0, list[tuple[float, bytes]](), list[str]()
        self._stop = threading.Event()
        size = {"fetch.max.bytes": at_once, "max.partition.fetch.bytes": at_once}
        more = {"auto.offset.reset": start, "error_cb": self._failed, "log_level": 0, **size}
        self._consumer = kafka.consumer(conf, group or conf["sasl.username"], **more)
        self._consumer.subscribe([topic])
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _failed(self, error: KafkaError) -> None:
        self.errors.append(error.name())

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is None:
                continue
            if (error := message.error()) is not None:
                self.errors.append(error.name())
            else:
                self.size += len(message.value() or b"")
                self.arrivals.append((time.time(), message.key() or b""))
        self._consumer.close()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)


@contextmanager
def reading(conf: dict[str, str], topic: str, **more: Any) -> Iterator[Reading]:
    one = Reading(conf, topic, **more)
    try:
        yield one
    finally:
        one.stop()


@contextmanager
def going_on(broker: Broker, conf: dict[str, str] | None = None) -> Iterator[list[str]]:
    """Write a record into the live night every 50 ms; its key is the moment. Yields failures of delivery."""
    stop, failures = threading.Event(), list[str]()
    client: Producer = kafka.producer(conf or broker.conf, **{"linger.ms": 0, "log_level": 0})

    def write() -> None:
        while not stop.wait(0.05):
            client.produce(
                LIVE, b"x", f"{time.time():.6f}", on_delivery=lambda error, _: error and failures.append(error.str())
            )
            client.poll(0)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield failures
    finally:
        stop.set()
        thread.join(30)
        if client.flush(30):
            failures.append("some were never delivered")


def latencies(one: Reading, since: float) -> list[float]:
    """Seconds from the production to the arrival of each record produced after a moment, sorted."""
    return sorted(arrived - float(key) for arrived, key in one.arrivals if float(key) >= since)


def test_a_user_who_never_stops_is_held_to_the_limit_and_a_neighbour_does_not_notice(people: People) -> None:
    people.become(user("greedy"), NEIGHBOUR)
    with reading(people.conf("neighbour"), NIGHT, group="neighbour-all") as free:
        await_true(
            lambda: free.size >= RECORDS * RECORD, "the neighbour to read the whole night, far above the limit", 60
        )
    with going_on(people.broker), reading(people.conf("neighbour"), LIVE, start="latest") as neighbour:
        await_true(lambda: len(neighbour.arrivals) > 20, "the neighbour to follow the live night")
        began = time.time()
        # Each takes little at once: a request that a broker has accepted is answered, and delays the next ones.
        conf = people.conf("greedy", PATIENT)
        greedy = [Reading(conf, NIGHT, group=f"greedy-{n}", at_once=1_000_000) for n in range(6)]
        try:
            time.sleep(25)  # a rate is bytes in some time
        finally:
            for one in greedy:
                one.stop()
        seconds = time.time() - began
        late = latencies(neighbour, began)
    taken = sum(one.size for one in greedy)
    # A broker averages over eleven seconds: after some silence a user may take their bytes at once.
    assert SLOW * (seconds - 15) < taken < SLOW * (seconds + 11), f"{taken / seconds:.0f} bytes/s"
    assert [one.errors for one in greedy] == [[]] * len(greedy), "a limit delays, and refuses nothing"
    assert len(late) > 300
    # Half of what an alert may take; other tests run beside this one.
    assert late[int(0.99 * len(late))] < 5.0, f"the neighbour's 99th percentile is {late[int(0.99 * len(late))]:.2f} s"


def test_a_limit_of_ones_own_holds_at_once_for_an_open_connection(people: People) -> None:
    people.become(user("moved", **FREE), NEIGHBOUR)
    with reading(people.conf("moved"), NIGHT) as one:
        await_true(lambda: one.size >= RECORDS * RECORD, "the whole night without a limit to speak of", 60)
    people.become(user("moved", limits={"read": 1_000_000}), NEIGHBOUR)
    began = time.monotonic()
    with reading(people.conf("moved", PATIENT), NIGHT, group="moved-again", at_once=1_000_000) as one:
        # What was read before counts as well, so the first bytes may take a while.
        await_true(lambda: one.size > 3_000_000, "the user to read on", 180)
        assert one.size < 1_000_000 * (time.monotonic() - began + 11)


def test_removed_grants_end_a_live_reading_at_once(people: People) -> None:
    people.become(user("gone"), NEIGHBOUR)
    with going_on(people.broker), reading(people.conf("gone"), LIVE, start="latest") as gone:
        await_true(lambda: len(gone.arrivals) > 20, "the user to follow the live night")
        people.become(NEIGHBOUR, only="kafka_acls")
        removed = time.time()
        await_true(
            lambda: "TOPIC_AUTHORIZATION_FAILED" in gone.errors or "GROUP_AUTHORIZATION_FAILED" in gone.errors,
            "the refusal", state=lambda: str(gone.errors),
        )  # fmt: skip
        time.sleep(2)
        assert not [key for _, key in gone.arrivals if float(key) > removed + 1], "the user has read what came later"


def test_without_an_account_a_connection_lives_until_it_must_show_the_password_again(people: People) -> None:
    people.become(user("gone"), NEIGHBOUR)
    with going_on(people.broker), reading(people.conf("gone"), LIVE, group="gone-alone", start="latest") as gone:
        await_true(lambda: len(gone.arrivals) > 20, "the user to follow the live night")
        people.become(NEIGHBOUR, only="kafka_users")
        removed = time.time()
        await_true(lambda: "_AUTHENTICATION" in gone.errors, "the refusal of the password", 3 * REAUTHENTICATE)
        time.sleep(1)
        last = max(float(key) for _, key in gone.arrivals)
        assert last < removed + REAUTHENTICATE + 2, "a connection outlives its account"
    with pytest.raises(KafkaException):
        AdminClient({**people.conf("gone"), "log_level": 0}).list_topics(timeout=3)


def test_revocation_takes_grants_and_connection_and_leaves_the_neighbour_alone(people: People) -> None:
    people.become(user("gone"), NEIGHBOUR)
    with (
        going_on(people.broker),
        reading(people.conf("neighbour"), LIVE, start="latest") as neighbour,
        reading(people.conf("gone"), LIVE, start="latest") as gone,
    ):
        await_true(lambda: min(len(neighbour.arrivals), len(gone.arrivals)) > 20, "both to follow the live night")
        people.become(NEIGHBOUR)
        removed = time.time()
        await_true(lambda: "_AUTHENTICATION" in gone.errors, "the end of the connection", 3 * REAUTHENTICATE)
        assert not [key for _, key in gone.arrivals if float(key) > removed + 1]
        await_true(lambda: neighbour.arrivals[-1][0] > removed + REAUTHENTICATE, "the neighbour to go on")
        assert neighbour.errors == []


def test_passwords_are_shown_again_without_a_loss_a_double_or_an_error(people: People) -> None:
    people.become(NEIGHBOUR)
    with (
        going_on(people.broker, people.conf(names.MIRROR)) as failures,
        reading(people.conf("neighbour"), LIVE, group="neighbour-long", start="latest") as one,
    ):
        await_true(lambda: len(one.arrivals) > 20, "the neighbour to follow the live night")
        began = time.time()
        time.sleep(3.5 * REAUTHENTICATE)
        keys = [key for _, key in one.arrivals if float(key) >= began]
    assert failures == []
    assert one.errors == []
    written = {
        message.key()
        for message in people.broker.read_all(LIVE)
        if began <= float(message.key() or 0) < float(max(keys))
    }
    assert len(keys) == len(set(keys))
    assert written <= set(keys)


def test_an_expired_user_is_refused_like_a_revoked_one(people: People) -> None:
    people.become(user("late", expires="2999-12-31"), NEIGHBOUR)
    assert AdminClient(people.conf("late")).list_topics(timeout=20).topics
    policy = people.policy(user("late", expires="2026-01-01"), NEIGHBOUR)
    [line] = people.run("users_plan", site="public", policy=policy, brokers=["here"])["lines"]
    assert line == (
        "expired late: loses the account, consumer groups of their name, programme 1; the last day was 2026-01-01"
    )
    people.become(user("late", expires="2026-01-01"), NEIGHBOUR)
    with pytest.raises(KafkaException):
        AdminClient({**people.conf("late"), "log_level": 0}).list_topics(timeout=3)
    assert people.run("users_plan", site="public", policy=policy, brokers=["here"])["lines"] == []


def refused(conf: dict[str, str], topic: str) -> bool:
    """Whether a user may not see a topic."""
    return topic not in AdminClient({**conf, "log_level": 0}).list_topics(timeout=20).topics


def test_a_user_may_come_from_their_networks_alone(people: People) -> None:
    host = people.broker.conf["bootstrap.servers"].partition(":")[0]
    with socket.create_connection((host, 9094)) as connection:
        here = connection.getsockname()[0]
    people.become(user("placed", networks=["192.0.2.7"]), NEIGHBOUR)
    await_true(lambda: refused(people.conf("placed"), NIGHT), "the refusal of this address")
    people.become(user("placed", networks=["192.0.2.7", here]), NEIGHBOUR)
    await_true(lambda: not refused(people.conf("placed"), NIGHT), "the grant for this address")


def test_a_user_sees_the_lag_of_their_own_groups_and_of_nobody_elses(people: People) -> None:
    people.become(user("carol"), NEIGHBOUR)
    for name in ("carol", "neighbour"):
        consumer: Consumer = kafka.consumer(people.conf(name), f"{name}-lag")
        consumer.commit(offsets=[TopicPartition(NIGHT, 0, 100)], asynchronous=False)
        consumer.close()
    admin = AdminClient(people.conf("carol"))
    groups = {one.group_id for one in admin.list_consumer_groups(request_timeout=20).result().valid}
    assert "carol-lag" in groups
    assert not [group for group in groups if not group.startswith("carol")]

    def committed(group: str) -> Any:
        [answer] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
        return answer.result(20).topic_partitions

    [where] = committed("carol-lag")
    reader = kafka.consumer(people.conf("carol"), "carol-lag")
    assert kafka.end(reader, NIGHT, 0, 20) - where.offset == RECORDS // 2 - 100
    reader.close()
    with pytest.raises(KafkaException) as denied:
        committed("neighbour-lag")
    assert denied.value.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED
    described = next(iter(admin.describe_consumer_groups(["neighbour-lag"]).values()))
    with pytest.raises(KafkaException):
        described.result(20)
