"""Reaching a real broker with a password: what works, and the step at which each mistake shows itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from bench.broker import Broker, await_true, running
from zads import kafka, reach
from zads.reach import FAIL, OK, SKIP, Step
from zads.site.access import Acl
from zads.site.cluster import Cluster

NIGHT = "ztf_20300101_programid1"
LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
#: The listener ASTRAY names an address at which nobody listens, as a wrong advertised address does.
SETTINGS = {
    "listeners": "PLAINTEXT://0.0.0.0:9092,CLIENTS://0.0.0.0:9094,ASTRAY://0.0.0.0:9095",
    "advertised.listeners": "PLAINTEXT://ADDRESS:9092,CLIENTS://ADDRESS:9094,ASTRAY://ADDRESS:9999",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CLIENTS:SASL_PLAINTEXT,ASTRAY:SASL_PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.name.clients.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.clients.scram-sha-512.sasl.jaas.config": LOGIN,
    "listener.name.astray.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.astray.scram-sha-512.sasl.jaas.config": LOGIN,
}
GRANTS = [
    Acl("User:anna", "topic", NIGHT, "literal", "read"),
    Acl("User:anna", "group", "anna-", "prefixed", "read"),
]


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """A broker with a listener for passwords, and a night with one transaction in it."""
    with running(settings=SETTINGS) as started:
        started.create(NIGHT, partitions=2)
        producer: Producer = kafka.producer(started.conf, **{"transactional.id": f"test-{uuid.uuid4().hex}"})
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(NIGHT, b"x" * 1000, partition=1)
        producer.commit_transaction(30)
        yield started


@pytest.fixture(scope="module")
def anna(broker: Broker) -> dict[str, str]:
    """The properties of a user who may read the night."""
    cluster = Cluster(broker.conf)
    kind = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    cluster.settle(cluster.client.alter_user_scram_credentials([UserScramCredentialUpsertion("anna", kind, b"hers-1")]))
    cluster.create_acls(GRANTS)
    conf = properties(broker, 9094)
    await_true(lambda: sees(conf), "the account and its grants")
    return conf


def sees(conf: dict[str, str]) -> bool:
    """Whether a user is let in and sees the night."""
    try:
        return NIGHT in AdminClient({**conf, "log_level": 0}).list_topics(timeout=3).topics
    except KafkaException:
        return False


def properties(broker: Broker, port: int, password: str = "hers-1") -> dict[str, str]:
    address = broker.conf["bootstrap.servers"].partition(":")[0]
    return {
        "bootstrap.servers": f"{address}:{port}", "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "anna", "sasl.password": password,
    }  # fmt: skip


def failed(conf: dict[str, str], group: str = "anna-check") -> list[Step]:
    return [step for step in reach.tried(conf, group, 6) if step.state == FAIL]


def test_a_user_with_all_rights_comes_to_a_record(anna: dict[str, str]) -> None:
    steps = list(reach.tried(anna, "anna-check"))
    assert [step.what for step in steps] == ["name", "connection", "login", "metadata", "group", "read"]
    assert {step.state for step in steps} == {OK}
    assert steps[-1].says == f"a record of 1000 bytes of {NIGHT}"
    assert "hers-1" not in "".join(line for step in steps for line in step.lines())


def test_the_operators_client_without_a_password_is_tried_too(broker: Broker) -> None:
    assert failed(broker.conf, "zads.reach") == []


def test_a_wrong_password_shows_at_the_login(broker: Broker, anna: dict[str, str]) -> None:
    [step] = failed(properties(broker, 9094, "wrong"))
    assert (step.what, "the broker refuses anna" in step.says) == ("login", True)


def test_a_listener_of_another_kind_shows_at_the_login(broker: Broker, anna: dict[str, str]) -> None:
    [step] = failed(properties(broker, 9092))
    assert step.what == "login"


def test_an_advertised_address_without_a_listener_is_named(broker: Broker, anna: dict[str, str]) -> None:
    steps = list(reach.tried(properties(broker, 9095), "anna-check", 3))
    assert steps[3].what == "metadata"
    assert [(step.what, step.where.rpartition(":")[2]) for step in steps if step.state == FAIL][:2] == [
        ("connection", "9999"),
        ("advertised", "9999"),
    ]


def test_a_group_that_is_not_granted_shows_at_the_group(anna: dict[str, str]) -> None:
    [step] = failed(anna, "somebody")
    assert step.what == "group"


def test_a_user_without_grants_has_nothing_to_read_and_that_is_no_failure(broker: Broker, anna: dict[str, str]) -> None:
    Cluster(broker.conf).delete_acls(GRANTS)  # the last test: the others need them
    await_true(lambda: not sees(anna), "the end of the grants")
    steps = list(reach.tried(anna, "anna-check"))
    assert (steps[-1].what, steps[-1].state) == ("read", SKIP)
    assert "hers-1" not in str(steps)
