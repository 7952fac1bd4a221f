"""A broker whose authority and passwords are changed, seen by clients with the files of before, between and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from bench.broker import Broker, running
from zads import kafka, kit, reach
from zads.site.authority import Authority
from zads.site.certificates import Pair

Run = Callable[..., dict[str, Any]]
LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
BROKERS, CLIENTS = 9093, 9094
REFUSED = 10  # seconds after which a client gives up that a broker does not let in


def line(text: str) -> str:
    """One certificate or key as a value of one line. Of two in one line Kafka would read the last alone."""
    return text.replace("\n", " ")


class Changing:
    """An authority, and a broker of it that gets the files of each step."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.names = directory, ["localhost"]
        Authority.make(directory / "kafka-ca", "ZADS public Kafka").save()
        self.renew()

    @property
    def authority(self) -> Authority:
        found = Authority.load(self.directory / "kafka-ca")
        assert found is not None
        return found

    def renew(self) -> None:
        """New certificates of the authority that issues, for the broker and the operator."""
        for name, names in (("broker", self.names), ("admin", [])):
            Pair.make(self.directory / name, name, names=names, issuer=self.authority.issuer).save()

    def settings(self, listener: str) -> dict[str, str]:
        """The files of the broker, as its settings of a listener."""
        found = {
            "ssl.keystore.certificate.chain": "broker.crt",
            "ssl.keystore.key": "broker.key",
            "ssl.truststore.certificates": "kafka-ca.crt",
        }
        return {listener + name: (self.directory / file).read_text() for name, file in found.items()}

    def give(self, broker: Broker) -> None:
        """Let the broker use the present files. A deployment restarts it; what it trusts and shows is the same."""
        host = broker.conf["bootstrap.servers"].partition(":")[0]
        self.names = ["localhost", host]
        for listener in ("listener.name.brokers.", "listener.name.clients."):
            settings = self.settings(listener)
            entries = [
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in settings.items()
            ]
            resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=entries)
            kafka.admin(broker.conf).incremental_alter_configs([resource])[resource].result(30)

    def side(self, place: Path) -> Path:
        """A copy of what an operator or a subscriber has now."""
        place.mkdir()
        for name in ("kafka-ca.crt", "admin.crt", "admin.key"):
            (place / name).write_bytes((self.directory / name).read_bytes())
        return place


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Changing:
    return Changing(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def broker(changing: Changing) -> Iterator[Broker]:
    """A broker with the role's two listeners besides its plain one."""
    files = {**changing.settings("listener.name.brokers."), **changing.settings("listener.name.clients.")}
    settings = {
        "listeners": "PLAINTEXT://0.0.0.0:9092,BROKERS://0.0.0.0:9093,CLIENTS://0.0.0.0:9094",
        "advertised.listeners": "PLAINTEXT://ADDRESS:9092,BROKERS://ADDRESS:9093,CLIENTS://ADDRESS:9094",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,BROKERS:SSL,CLIENTS:SASL_SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        "super.users": "User:ANONYMOUS;User:CN=admin",
        "listener.name.brokers.ssl.client.auth": "required",
        "listener.name.clients.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.clients.scram-sha-512.sasl.jaas.config": LOGIN,
        "ssl.keystore.type": "PEM", "ssl.truststore.type": "PEM", "password.encoder.secret": "of this test",
        **{name: line(text) for name, text in files.items()},
    }  # fmt: skip
    with running(settings=settings) as started:
        changing.give(started)
        changing.renew()
        changing.give(started)  # with its address, which it has only now
        yield started


def address(broker: Broker, port: int) -> str:
    return f"{broker.conf['bootstrap.servers'].partition(':')[0]}:{port}"


def lets_in(broker: Broker, side: Path) -> bool:
    """Whether broker and operator accept each other."""
    files = {
        "ssl.ca.location": "kafka-ca.crt",
        "ssl.certificate.location": "admin.crt",
        "ssl.key.location": "admin.key",
    }
    conf = {"security.protocol": "ssl", **{name: str(side / file) for name, file in files.items()}}
    return reach.login(conf, address(broker, BROKERS), REFUSED).state == reach.OK


def java_lets_in(broker: Broker, side: Path) -> bool:
    """The same for one of Kafka's own tools, whose properties hold the certificates as a kit's do."""
    files = {
        "ssl.truststore.certificates": "kafka-ca.crt", "ssl.keystore.key": "admin.key",
        "ssl.keystore.certificate.chain": "admin.crt",
    }  # fmt: skip
    settings = {
        "security.protocol": "SSL", "ssl.keystore.type": "PEM", "ssl.truststore.type": "PEM",
        "default.api.timeout.ms": "20000", **{name: (side / file).read_text() for name, file in files.items()},
    }  # fmt: skip
    text = "".join(f"{name}={kit.java(value)}\n" for name, value in settings.items())
    command = f"cat > /data/client.properties <<'END'\n{text}END\n/opt/kafka/bin/kafka-broker-api-versions.sh "
    command += f"--bootstrap-server {address(broker, BROKERS)} --command-config /data/client.properties"
    status, output = broker.container.get_wrapped_container().exec_run(["sh", "-c", command])
    assert status == 0 or b"SSL handshake failed" in output or b"failed authentication" in output, output
    return bool(status == 0)


def test_no_step_shuts_out_who_has_the_files_of_the_step_before(
    broker: Broker, changing: Changing, tmp_path: Path
) -> None:
    """Each side may be one step ahead of the other; who is two steps behind is refused."""
    sides = [changing.side(tmp_path / "0")]
    assert lets_in(broker, sides[0])
    for step in (1, 2, 3):
        changing.authority.advance()
        if step == 2:
            changing.renew()
        sides.append(changing.side(tmp_path / str(step)))
        assert lets_in(broker, sides[step]), f"step {step}: the operator is ahead"
        changing.give(broker)
        assert lets_in(broker, sides[step - 1]), f"step {step}: the broker is ahead"
        assert lets_in(broker, sides[step])
        if step == 2:
            assert not lets_in(broker, sides[0]), "the kit of before step 1 does not know the new authority"
            assert java_lets_in(broker, sides[1]), "Java reads both certificates of a file"
    assert not lets_in(broker, sides[1]), "the operator's old certificate is worthless"
    assert java_lets_in(broker, sides[3])


def test_a_changed_password_serves_at_once_and_the_old_one_no_more(
    broker: Broker, changing: Changing, run: Run, tmp_path: Path
) -> None:
    users, remembered = {"reader": "first", "zads.mirror": "mirror's"}, tmp_path / "accounts.json"
    ask = {"brokers": [address(broker, CLIENTS)], "authority": str(changing.directory / "kafka-ca.crt")}

    def login(**passwords: str) -> dict[str, Any]:
        return run("kafka_login", client=None, users=passwords, wait=REFUSED, **ask)

    assert run("kafka_users", users=users, remembered=str(remembered))["set"] == ["reader", "zads.mirror"]
    assert login(**users)["problems"] == []
    changed = {**users, "reader": "second"}
    assert run("kafka_users", users=changed, remembered=str(remembered))["set"] == ["reader"]
    assert login(**changed)["problems"] == []
    (refused,) = login(**users)["problems"]
    assert "reader: the broker refuses reader" in refused
    assert "first" not in refused
    # An interrupted run may have told Kafka and noted nothing: the next one tells it again.
    remembered.unlink()
    assert run("kafka_users", users=changed, remembered=str(remembered))["set"] == ["reader", "zads.mirror"]
    assert login(**changed)["problems"] == []
