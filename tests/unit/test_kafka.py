"""Client configurations are read from a file, and are safe even if somebody else wrote the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from zads import kafka
from zads.errors import ZadsError

CONF = {"bootstrap.servers": "127.0.0.1:1", "log_level": "0"}


def test_a_properties_file_is_read_as_librdkafka_reads_it(tmp_path):
    path = tmp_path / "client.properties"
    path.write_text("# a client\n\nbootstrap.servers = a:9094,b:9094\nsasl.password=x=y#z\n")
    assert kafka.read_properties(path) == {"bootstrap.servers": "a:9094,b:9094", "sasl.password": "x=y#z"}


@pytest.mark.parametrize(
    ("text", "message"), [("bootstrap.servers=a\nnonsense\n", "line 2"), ("a=b\n", "names no brokers")]
)
def test_a_bad_properties_file_is_named_with_its_line(tmp_path, text, message):
    path = tmp_path / "client.properties"
    path.write_text(text)
    with pytest.raises(ZadsError, match=message):
        kafka.read_properties(path)


def test_an_answer_that_denies_is_not_taken_for_a_dead_network():
    conf = {"bootstrap.servers": "broker-1.example.org:9094", "sasl.username": "reader"}
    denied = kafka.failure(conf, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    assert "reader may not do that at broker-1.example.org:9094" in str(denied)
    assert "does not answer" not in str(denied)
    silent = kafka.failure(conf, KafkaError(KafkaError._TRANSPORT))
    assert "broker-1.example.org:9094 does not answer" in str(silent)


def test_a_missing_properties_file_is_named(tmp_path):
    with pytest.raises(ZadsError, match=r"nothing\.properties"):
        kafka.read_properties(tmp_path / "nothing.properties")


def test_one_configuration_serves_every_kind_of_client():
    conf = {**CONF, **kafka.PRODUCER, **kafka.CONSUMER, "group.id": "g"}
    kafka.producer(conf)
    kafka.consumer(conf, "g").close()
    kafka.admin(conf)


def test_a_transaction_bounds_how_long_a_record_may_wait():
    for milliseconds in (5_000, 60_000, 200_000):
        kafka.producer(CONF, **{"transactional.id": "p", "transaction.timeout.ms": milliseconds})


def test_a_property_that_does_not_exist_is_named():
    with pytest.raises(ZadsError, match=r"no\.such\.thing"):
        kafka.producer({**CONF, "no.such.thing": "1"})


def test_one_administration_client_serves_a_configuration_as_long_as_the_process_lives():
    conf = {**CONF, "group.id": "a"}
    first = kafka.admin(conf)
    assert kafka.admin({**conf, "group.id": "another, which is not an administrator's concern"}) is first
    assert kafka.admin({**conf, "bootstrap.servers": "127.0.0.1:2"}) is not first


def test_only_the_clients_of_a_forgotten_cluster_end():
    conf, other = ({**CONF, "client.id": name} for name in ("forgotten", "another"))
    first, kept = kafka.admin(conf), kafka.admin(other)
    kafka.forget(conf)
    with pytest.raises(RuntimeError):
        first.list_topics(timeout=0.1)
    assert kafka.admin(conf) is not first
    assert kafka.admin(other) is kept
    for one in (conf, conf, other):
        kafka.forget(one)


FORGETS = """
import contextlib, pathlib
from confluent_kafka import KafkaException
from zads import kafka

def clients():
    return sum(name.read_text().startswith("rdk:") for name in pathlib.Path("/proc/self/task").glob("*/comm"))

conf = {"bootstrap.servers": "127.0.0.1:1", "log_level": "0"}
held = kafka.admin(conf)
for group in ("one", "two"):
    with contextlib.suppress(KafkaException):
        kafka.committed(conf, group, [("topic", 0)], 0.1)
assert clients() >= 3
kafka.forget(conf)
assert clients() == 0
"""


def test_after_a_cluster_is_forgotten_no_thread_tries_to_reach_it():
    subprocess.run([sys.executable, "-c", FORGETS], check=True, timeout=60)


class Moving:
    """A consumer whose first request goes to the old leader, and whose second goes to the new one."""

    def __init__(self, code: int) -> None:
        self.code, self.asked_again = code, False

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        if self.asked_again:
            return 3, 17
        raise KafkaException(KafkaError(self.code))

    def list_topics(self, *_: Any, **__: Any) -> None:
        self.asked_again = True


def test_a_partitions_end_is_asked_of_its_new_leader() -> None:
    assert kafka.end(Moving(KafkaError.NOT_LEADER_FOR_PARTITION), "topic", 0, 5) == 17  # type: ignore[arg-type]


def test_an_end_that_may_not_be_read_is_an_error_at_once() -> None:
    with pytest.raises(KafkaException):
        kafka.end(Moving(KafkaError.TOPIC_AUTHORIZATION_FAILED), "topic", 0, 5)  # type: ignore[arg-type]


class MovingCoordinator:
    """A consumer whose first question goes to the group's old coordinator."""

    def __init__(self, code: int) -> None:
        self.code, self.asked = code, 0

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self.asked += 1
        if self.asked == 1:
            raise KafkaException(KafkaError(self.code))
        return [TopicPartition(one.topic, one.partition, 17) for one in partitions]


@pytest.mark.parametrize("code", sorted(kafka.COORDINATOR_MOVED))
def test_a_groups_offsets_are_asked_of_its_new_coordinator(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "_members", {})
    monkeypatch.setattr(kafka, "consumer", lambda *_, **__: MovingCoordinator(code))
    assert kafka.committed(CONF, "group", [("topic", 0)]) == {("topic", 0): 17}


def test_offsets_that_may_not_be_read_are_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "_members", {})
    monkeypatch.setattr(kafka, "consumer", lambda *_, **__: MovingCoordinator(KafkaError.GROUP_AUTHORIZATION_FAILED))
    with pytest.raises(KafkaException):
        kafka.committed(CONF, "group", [("topic", 0)])


def test_a_relative_path_in_a_properties_file_begins_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kit").mkdir()
    names = ["ssl.ca.location", "ssl.certificate.location", "ssl.key.location"]
    lines = ["bootstrap.servers=h:1", *(f"{name}={name}.pem" for name in names), "ssl.crl.location=/etc/crl.pem"]
    (tmp_path / "kit/client.properties").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    found = kafka.read_properties("kit/client.properties")
    assert [found[name] for name in names] == [str(tmp_path / "kit" / f"{name}.pem") for name in names]
    assert found["ssl.crl.location"] == "/etc/crl.pem"


def test_a_reader_without_a_group_takes_one_of_its_users_own() -> None:
    assert kafka.own_group({"sasl.username": "alice"}, "zads.replay") == "alice-replay"
    assert kafka.own_group({"sasl.username": "alice", "group.id": "alice-x"}, "zads.replay") == "alice-x"
    assert kafka.own_group({}, "zads.replay") == "zads.replay"


def test_what_is_written_for_a_client_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "client.properties"
    path.write_text(kafka.with_password(["a:9094", "b:9094"], "/ca.pem", "reader", "x=y#z"))
    assert kafka.read_properties(path) == {
        "bootstrap.servers": "a:9094,b:9094", "security.protocol": "SASL_SSL", "ssl.ca.location": "/ca.pem",
        "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "reader", "sasl.password": "x=y#z",
    }  # fmt: skip
    path.write_text(kafka.with_certificate(["a:9093"], "ca.crt", "admin.crt", "admin.key"))
    assert kafka.read_properties(path) == {
        "bootstrap.servers": "a:9093", "security.protocol": "ssl", "ssl.ca.location": str(tmp_path / "ca.crt"),
        "ssl.certificate.location": str(tmp_path / "admin.crt"), "ssl.key.location": str(tmp_path / "admin.key"),
    }  # fmt: skip
