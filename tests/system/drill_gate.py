"""The gate refuses with the right reason, and stops nothing then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from local_system import System, await_that, client, run, under_replicated
from zads import kafka

TOPIC = "zads_gate"
RECORDS = 40  # of a megabyte. A throttled replica fetches four every eleven seconds
BROKERS = [1, 2, 3]
LAST = 3  # the broker, on the host public-3, that is away or lags
ALWAYS = {"client": ".zads/local/clients/admin-public.properties", "state": "may_stop", "expected": BROKERS}


def admin() -> Any:
    return kafka.admin(client("admin-public"))


def refusal(*options: str) -> str:
    """What `make restart` of the host public-1 says when it is refused."""
    found = run("make", "restart", "LIMIT=public-1", " ".join(["ARGS=-e kafka_gate_wait=4", *options]), check=False)
    assert found.returncode != 0, found.stdout[-3000:]
    assert "This broker was not stopped" in found.stdout, found.stdout[-3000:]
    return found.stdout


def reasons(broker: int, **asked: Any) -> list[str]:
    """The gate's reasons against a stop of one broker."""
    found = run(
        ".venv/bin/ansible", "localhost", "--one-line", "--module-name", "kafka_gate", "--args",
        json.dumps({**ALWAYS, "brokers": [broker], "wait": 0, **asked}), "--extra-vars",
        "ansible_become=false ansible_python_interpreter=.venv/bin/python",
        check=False, ANSIBLE_CONFIG="ansible/ansible.cfg", ANSIBLE_CACHE_PLUGIN="memory",
    )  # fmt: skip
    (line,) = [line for line in found.stdout.splitlines() if " => " in line]
    answer: list[str] = json.loads(line.partition(" => ")[2])["reasons"]
    return answer


def started(system: System, host: str) -> str:
    return system.on(host, "systemctl show --property=ActiveEnterTimestampMonotonic --value kafka").strip()


@pytest.fixture(autouse=True)
def survivor(system: System) -> Iterator[None]:
    """The broker that the tests try to restart has not been restarted. Afterwards the site is whole again."""
    before = started(system, "public-1")
    yield
    assert started(system, "public-1") == before, "the gate let it go down"
    await_that("every replica is in sync", lambda: not under_replicated("public"), 240)
    assert reasons(1) == []


def test_another_broker_is_down(system: System) -> None:
    system.on("public-3", "systemctl stop kafka")
    try:
        said = refusal()
    finally:
        system.on("public-3", "systemctl start kafka")
    assert "already away: broker 3 (its unit is inactive (dead))" in said
    assert "public-1 waits, " in said, "it shows for what it waits"


def test_another_broker_recovers_its_logs(system: System) -> None:
    """The broker's process is stopped at the beginning of its recovery, which is short here."""
    freeze = (
        "systemctl kill --signal=KILL kafka; journalctl --follow --lines=0 --unit=kafka --output=cat | "
        "grep --max-count=1 'since no clean shutdown file was found'; systemctl kill --signal=STOP kafka"
    )
    system.on("public-3", f'timeout 60 sh -c "{freeze}"')
    try:
        said = refusal()
    finally:
        system.on("public-3", "systemctl kill --signal=CONT kafka")
    assert "broker 3 (recovers its logs after an unclean end" in said


def test_a_disk_is_nearly_full(system: System) -> None:
    (reason,) = reasons(1, free_percent=100)
    assert reason.startswith("a disk is nearly full: /var/lib/kafka/data of broker 1 has ")


def test_the_controller_is_not_the_last(system: System) -> None:
    controller = admin().list_topics(timeout=20).controller_id
    (reason,) = reasons(controller, later=BROKERS)
    assert reason.startswith(f"broker {controller} is the controller and has to be the last")


def set_throttle(value: str | None) -> None:
    """Bound the bytes a second that the last broker fetches of the slow topic; None for no bound."""
    kind = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    entry = ConfigEntry("follower.replication.throttled.rate", value, incremental_operation=kind)
    resource = ConfigResource(ResourceType.BROKER, str(LAST), incremental_configs=[entry])
    for answer in admin().incremental_alter_configs([resource]).values():
        answer.result(30)


def fill() -> None:
    """Write as many megabytes to the slow topic as take a throttled replica minutes."""
    producer = kafka.producer(client("admin-public"), **{"compression.codec": "none"})
    for _ in range(RECORDS):
        producer.produce(TOPIC, bytes(1 << 20), partition=0)
    assert producer.flush(60) == 0


@pytest.fixture
def slow_topic(request: pytest.FixtureRequest, system: System) -> Iterator[None]:
    """A topic with replicas on the brokers of the parameter, which the last broker fetches slowly."""
    config = {"min.insync.replicas": "2", "follower.replication.throttled.replicas": "*"}
    new = NewTopic(TOPIC, 1, replica_assignment=[request.param], config=config)
    for answer in admin().create_topics([new], operation_timeout=30).values():
        answer.result(60)
    set_throttle("1")
    yield
    set_throttle(None)
    for answer in admin().delete_topics([TOPIC], operation_timeout=30).values():
        answer.result(60)


@pytest.mark.parametrize("slow_topic", [BROKERS], indirect=True)
def test_a_partition_is_at_its_minimum(system: System, slow_topic: None) -> None:
    """A broker that was away while records arrived is registered again, and lags."""
    system.on("public-3", "systemctl stop kafka")
    fill()
    system.on("public-3", "systemctl start kafka")
    await_that("the broker is registered", lambda: LAST in admin().list_topics(timeout=20).brokers, 120)
    others = await_that("nothing else lags", lambda: under_replicated("public") == 1 and reasons(1), 60)
    assert others == [f"too few replicas in sync without broker 1: {TOPIC}-0 (in sync 1,2, minimum 2)"]


@pytest.mark.parametrize("slow_topic", [BROKERS[:2]], indirect=True)
def test_a_reassignment_is_running(system: System, slow_topic: None) -> None:
    fill()
    plan = {"version": 1, "partitions": [{"topic": TOPIC, "partition": 0, "replicas": BROKERS}]}
    # The broker's own certificate is that of a superuser.
    properties = (
        "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=/etc/kafka/tls/keystore.pem\n"
        "ssl.truststore.type=PEM\nssl.truststore.location=/etc/kafka/tls/ca.pem\n"
    )
    system.on("public-1", f"printf '{properties}' > /run/gate.properties; echo '{json.dumps(plan)}' > /run/gate.json")
    address = f"{system.inventory.address('public-1')}:9093"
    tool = (
        "java -Xmx128m -cp '/opt/kafka/libs/*' org.apache.kafka.tools.reassign.ReassignPartitionsCommand "
        f"--bootstrap-server {address} --command-config /run/gate.properties "
        "--reassignment-json-file /run/gate.json "
    )
    system.on("public-1", f"{tool} --execute")
    try:
        found = reasons(1)
    finally:
        system.on("public-1", f"{tool} --cancel")
    assert f"a reassignment is running: {TOPIC}-0 (to 3, from none)" in found
