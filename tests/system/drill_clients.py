"""Clients that need a toolchain or many packages, from a copied kit, and passwords with unusual characters."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from kits import CopiedKit, all_there_is, environment, forget
from local_system import ROOT, STATE, System, client
from zads.kit import Kit
from zads.site.people import User
from zads.site.policy import Policy

ODD = ["#a\"b'c\\d$e=f g", "ü日本\U0001f52d", "{{ x }};\"';\\n\\u0041"]


@pytest.fixture(scope="module")
def kafka_home(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The brokers' Kafka distribution."""
    directory = tmp_path_factory.mktemp("kafka")
    archive = json.loads((ROOT / ".zads/cache/kafka/current.json").read_text())["archive"]
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    (script,) = directory.rglob("kafka-console-consumer.sh")
    return script.parent.parent


@pytest.fixture(scope="module")
def kit(system: System, public_topic: str, kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> CopiedKit:
    forget("reader")
    kit = CopiedKit("reader", tmp_path_factory.mktemp("kit"), environment("ampel"), public_topic.split("_")[1])
    kit.env["KAFKA_HOME"] = str(kafka_home)
    return kit


def test_java_reads_every_packet_byte_for_byte(kit: CopiedKit) -> None:
    keys, _ = [kit.type(block) for block in kit.blocks("Java")]
    assert kit.packets("java") == all_there_is("reader")
    assert len(keys.stdout.splitlines()) == len(kit.packets("java"))


def test_go_reads_every_packet_byte_for_byte(kit: CopiedKit) -> None:
    if shutil.which("go", path=kit.env["PATH"]) is None:
        pytest.skip("Go is not installed")
    for block in kit.blocks("Go"):
        kit.type(block, 300)
    assert kit.packets("franz-go") == all_there_is("reader")
    refused = kit.run("read_franz_go", "--group", "somebody")
    assert refused.returncode == 1
    assert "the group somebody is not yours" in refused.stderr
    kit.change("librdkafka.properties", "^sasl.password=(.*)$", r"sasl.password=wrong\1")
    refused = kit.run("read_franz_go")
    kit.change("librdkafka.properties", "^sasl.password=wrong(.*)$", r"sasl.password=\1")
    assert refused.returncode == 1
    assert "refuse the password of reader" in refused.stderr


def test_ampel_reads_every_packet_byte_for_byte(kit: CopiedKit) -> None:
    for block in kit.blocks("Ampel"):
        kit.type(block)
    assert kit.packets("ampel") == all_there_is("reader")
    refused = kit.run("read_ampel.py", "--group", "somebody")
    assert refused.returncode == 1
    assert "the group somebody is not yours" in refused.stderr


@pytest.fixture(params=ODD)
def odd_kit(request: pytest.FixtureRequest, system: System, kafka_home: Path, tmp_path: Path) -> Iterator[CopiedKit]:
    """The kit of an account that has such a password and no access to any topic."""
    user, password = "odd", request.param
    mechanism = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192)
    admin = AdminClient(client("admin-public"))

    def alter(change: object) -> None:
        for answer in admin.alter_user_scram_credentials([change]).values():
            answer.result()

    alter(UserScramCredentialUpsertion(user, mechanism, password.encode()))
    policy = Policy.read(system.inventory.hosts["public-1"])
    policy = replace(policy, users=(User(name=user, site="public", programmes=frozenset({1})),))
    brokers = client("reader")["bootstrap.servers"].split(",")
    made = Kit.of(policy, user, password, brokers, (STATE / "clients/reader/ca.pem").read_text())
    copied = CopiedKit("reader", tmp_path, environment("ampel"))
    for name, file in made.files(ROOT / "roles/access/templates/kit").items():
        (copied.directory / name).write_bytes(file.data)
    copied.env["KAFKA_HOME"] = str(kafka_home)
    yield copied
    alter(UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512))


def test_every_client_connects_with_any_password(odd_kit: CopiedKit, public_topic: str) -> None:
    for program in sorted(odd_kit.directory.glob("read_*.py")):
        ended = odd_kit.run(program.name, "--end")
        assert "nothing to read" in ended.stderr, ended.stderr
    assert " 0 topics:" in odd_kit.run("kcat.sh", "-L").stdout
    java = odd_kit.run("java.sh", "--topic", public_topic, "--group", "odd-java", "--timeout-ms", "15000")
    assert "Not authorized to access topics" in java.stdout + java.stderr
    broker = client("reader")["bootstrap.servers"].split(",")[0]
    hop = odd_kit.run("hop.sh", "list-topics", f"kafka://{broker}")
    assert hop.returncode == 0, hop.stderr
