"""Nobody reads, writes or joins what the data policy does not give them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from local_system import STATE, System, client, read_error, run

#: The codes with which librdkafka reports that it cannot connect, whatever the cause.
NO_ANSWER = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE}


def program(name: str, like: str) -> dict[str, str]:
    """Client properties of a program at the site of a user."""
    passwords: dict[str, str] = yaml.safe_load((STATE / "secrets/passwords.yml").read_text())
    return {**client(like), "sasl.username": name, "sasl.password": passwords[name]}


def test_a_reader_reads_programme_1_in_a_group_of_its_own(system: System, public_topic: str) -> None:
    assert read_error(client("reader"), public_topic, "reader-access") is None


def test_a_reader_is_refused_other_groups(system: System, public_topic: str) -> None:
    error = read_error(client("reader"), public_topic, "somebody-else")
    assert error is not None
    assert error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED


@pytest.mark.parametrize("programme", [2, 3])
def test_programmes_2_and_3_are_not_at_the_public_site(system: System, public_topic: str, programme: int) -> None:
    admin = AdminClient(client("admin-public"))
    name = public_topic.replace("programid1", f"programid{programme}")
    assert name not in admin.list_topics(timeout=20).topics
    error = read_error(client("reader"), name, "reader-access")
    assert error is not None
    assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_a_partner_reads_what_is_theirs_at_the_origin_and_no_more(system: System, public_topic: str) -> None:
    allowed = public_topic.replace("programid1", "programid2")
    refused = public_topic.replace("programid1", "programid3")
    assert read_error(client("partner"), allowed, "partner-access") is None
    error = read_error(client("partner"), refused, "partner-access")
    assert error is not None
    assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_a_reader_cannot_write(system: System, public_topic: str) -> None:
    answers: list[KafkaError | None] = []
    producer = Producer({**client("reader"), "message.timeout.ms": 15000})
    producer.produce(public_topic, b"forged", on_delivery=lambda error, _: answers.append(error))
    producer.flush(20)
    assert [answer and answer.code() for answer in answers] == [KafkaError.TOPIC_AUTHORIZATION_FAILED]


def test_an_owner_reads_the_output_of_their_filters_and_nothing_else(system: System, public_topic: str) -> None:
    assert read_error(client("alice"), "ztf_filter_asteroid", "alice-access") is None
    for topic in (public_topic, "zads_rejected"):
        error = read_error(client("alice"), topic, "alice-access")
        assert error is not None
        assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def connects(conf: dict[str, str], errors: Callable[[KafkaError], None] = lambda _: None, seconds: float = 5) -> bool:
    """Whether a site answers a client with these properties. The client's errors are passed to `errors`."""
    consumer = Consumer({"group.id": "reader-nobody", **conf, "error_cb": errors, "log_level": 0})
    try:
        consumer.list_topics(timeout=seconds)
    except KafkaException as exception:
        assert exception.args[0].code() in NO_ANSWER
        consumer.poll(0.5)  # passes the errors on
        return False
    else:
        return True
    finally:
        consumer.close()


@pytest.mark.parametrize(
    "change",
    [{"security.protocol": "SSL"}, {"security.protocol": "SASL_PLAINTEXT"}, {"security.protocol": "PLAINTEXT"}],
    ids=["no password", "no encryption", "neither"],
)
def test_nobody_connects_without_credentials_and_encryption(system: System, change: dict[str, str]) -> None:
    assert connects(client("reader"), seconds=20)
    assert not connects({**client("reader"), **change})


def test_nobody_connects_with_a_wrong_password(system: System) -> None:
    errors: list[KafkaError] = []
    assert not connects({**client("reader"), "sasl.password": "wrong"}, errors.append)
    assert KafkaError._AUTHENTICATION in {error.code() for error in errors}, errors


def test_the_brokers_listener_wants_a_certificate(system: System) -> None:
    conf = client("admin-public")
    without = {key: value for key, value in conf.items() if not key.startswith(("ssl.cert", "ssl.key"))}
    assert without != conf
    assert connects(conf, seconds=20)
    assert not connects(without)


def test_zookeeper_refuses_every_client_without_a_certificate_of_its_site(system: System) -> None:
    member = f"{system.inventory.address('origin-1')}:2182"
    own = "-cert /etc/zookeeper/tls/keystore.pem -key /etc/zookeeper/tls/keystore.pem"

    def answer(host: str, certificate: str) -> str:
        """The answer of a member of the origin's ensemble to a client on a host."""
        command = f"echo srvr | timeout 5 openssl s_client -quiet {certificate} -connect {member} 2>&1; true"
        return system.on(host, command)

    assert "Zookeeper version" in answer("origin-2", own), "a member with its certificate is answered"
    for host, certificate in (("origin-2", ""), ("apps-1", ""), ("public-1", own)):
        refused = answer(host, certificate)
        assert "depth=" in refused, f"{host} has not been shown the member's certificate: {refused}"
        assert "Zookeeper version" not in refused


def test_a_reader_sees_the_settings_of_what_they_read_and_of_nothing_else(system: System, public_topic: str) -> None:
    admin = AdminClient(client("reader"))
    asked = {name: ConfigResource(ResourceType.TOPIC, name) for name in (public_topic, "zads_rejected")}
    answers = {name: next(iter(admin.describe_configs([about]).values())) for name, about in asked.items()}
    assert answers[public_topic].result(20)["retention.ms"].value == "604800000"
    with pytest.raises(KafkaException) as refused:
        answers["zads_rejected"].result(20)
    assert refused.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert public_topic in run(".venv/bin/zads", "topics", "--kafka", ".zads/local/clients/reader.properties").stdout


def test_a_reader_resets_and_deletes_groups_of_their_own_and_no_other(system: System, public_topic: str) -> None:
    admin = AdminClient(client("reader"))
    for group, theirs in (("reader", True), ("reader-reset", True), ("alice", False), ("zads.filter.moving", False)):
        wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(public_topic, 0, 0)])
        steps = [
            lambda wanted=wanted: admin.alter_consumer_group_offsets([wanted]),
            lambda group=group: admin.delete_consumer_groups([group]),
        ]
        for step in steps:
            answer = next(iter(step().values()))
            if theirs:
                answer.result(20)
                continue
            with pytest.raises(KafkaException) as refused:
                answer.result(20)
            assert refused.value.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED


def test_the_mirror_cannot_alter_what_the_public_site_keeps(system: System, public_topic: str) -> None:
    admin = AdminClient(program("zads.mirror", like="reader"))
    short = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, public_topic, incremental_configs=[short])
    answer = next(iter(admin.incremental_alter_configs([change], validate_only=True).values()))
    with pytest.raises(KafkaException) as refused:
        answer.result(20)
    assert refused.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
