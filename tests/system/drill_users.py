"""A user is added, limited, moved, expired and revoked by `make users`; each step is seen on a copy of the kit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from kits import CopiedKit, environment
from local_system import ROOT, STATE, System, await_that, client, playbook, run
from zads import kafka, names

USERS = ROOT / "inventories/local/group_vars/all/users.yml"
NAME = "nomad"
#: Bytes a second from all three brokers together, and the time for which somebody tries to get more.
LIMIT, SECONDS = 60_000, 15


class Line:
    """The user's line in the inventory."""

    def __init__(self, before: str) -> None:
        self._before = before

    def set(self, **keys: object) -> str:
        """Write the line, or none at all without keys, and apply it. Returns what `make users` says."""
        entry = json.dumps({"name": NAME, "site": "origin", **keys})
        USERS.write_text(self._before + (f"  - {entry}\n" if keys else ""))
        return run("make", "users", "YES=1").stdout


@pytest.fixture
def line(system: System) -> Iterator[Line]:
    before = USERS.read_text()
    yield Line(before)
    USERS.write_text(before)
    playbook("users")


@pytest.fixture(scope="module")
def programs() -> Path:
    return environment("clients")


def connects(kit: CopiedKit) -> bool:
    """Whether the site answers the kit's kcat."""
    return "broker" in kit.run("kcat.sh", "-L", "-m", "10").stdout


def seen(kit: CopiedKit) -> set[int]:
    """The programmes of the topics that the site shows to the user, by the kit's own settings."""
    conf = kafka.read_properties(kit.directory / "librdkafka.properties")
    topics = AdminClient({**conf, "log_level": 0}).list_topics(timeout=20).topics
    return {parts[1] for name in topics if (parts := names.parse_topic(name))}


def members(group: str) -> int:
    """How many members a group has, as the administrator sees it."""
    asked = kafka.admin(client("admin-origin")).describe_consumer_groups([group], request_timeout=20)
    return len(asked[group].result().members)


def throttled(kit: CopiedKit, topic: str) -> tuple[int, int]:
    """The bytes that the user gets in SECONDS, and the number of delays that brokers report."""
    delays: list[float] = []
    conf = kafka.read_properties(kit.directory / "librdkafka.properties")
    more = {"group.id": f"{NAME}-{time.time_ns()}", "throttle_cb": lambda event: delays.append(event.throttle_time)}
    consumer = Consumer({**conf, **more, "log_level": 0})
    consumer.subscribe([topic])
    size, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            size += len(message.value() or b"")
    consumer.close()
    return size, sum(delay > 0 for delay in delays)


def test_a_users_whole_life(system: System, public_topic: str, line: Line, programs: Path, tmp_path: Path) -> None:
    # Added: nothing changes for anybody else, and a copy of the kit works.
    assert f"added {NAME}: gets the account, consumer groups of their name, programme 1" in line.set(programmes=[1])
    kit = CopiedKit(NAME, tmp_path, programs)
    assert connects(kit)
    assert seen(kit) == {1}
    free, held_up = throttled(kit, public_topic)
    assert free > 0
    assert held_up == 0, "the limits of everybody are too low for one night"
    assert kit.run("read_confluent_kafka.py", "--end", "--count", "1").returncode == 0
    lag = kit.run("lag.py")
    assert f" {NAME}-confluent-kafka ztf_" in lag.stdout  # of one of the nights that the kit reads
    assert all(f" {NAME}" in text for text in lag.stdout.splitlines()), "a group of somebody else"

    # Held to a limit.
    said = line.set(programmes=[1], limits={"read": LIMIT})
    assert f"changed {NAME}: gets limits of their own (20000 bytes/s" in said
    size, held_up = throttled(kit, public_topic)
    assert held_up > 0
    assert size < free, "the limit does not show"

    # Moved from programme 1 to 1 and 2. The copy knows nothing of it, and its settings reach the new programme.
    assert f"changed {NAME}: loses limits of their own" in line.set(programmes=[1, 2])
    await_that("the new grants are known to all brokers", lambda: seen(kit) == {1, 2}, 30)

    # Expired: refused like a stranger, and brought back with the same password.
    assert f"expired {NAME}: loses the account" in line.set(programmes=[1], expires="2020-12-31")
    assert not connects(kit)
    assert not (STATE / "clients" / NAME).exists()
    assert f"added {NAME}" in line.set(programmes=[1], expires="2048-12-31")
    assert connects(kit)

    # Revoked while it reads: the reading ends at once, and says why.
    with kit.start("read_confluent_kafka.py", "--group", f"{NAME}-live", "--start", "now") as reading:
        try:
            await_that("the reader is a member of its group", lambda: members(f"{NAME}-live") == 1, 30)
            assert f"revoked {NAME}: loses the account, consumer groups of their name, programme 1" in line.set()
            _, said = reading.communicate(timeout=60)
        finally:
            reading.kill()
    assert reading.returncode
    assert f"not granted to {NAME}" in said or f"the group {NAME}-live is not yours" in said
    assert not connects(kit)
    assert "every site is what inventories/local says" in run("make", "users").stdout


def test_a_plan_changes_nothing_and_without_a_terminal_nobody_agrees(system: System, line: Line) -> None:
    USERS.write_text(USERS.read_text() + f"  - {{name: {NAME}, site: origin, programmes: [3]}}\n")
    planned = run("make", "users", "ARGS=--check")
    assert f"added {NAME}: gets the account, consumer groups of their name" in planned.stdout
    refused = run("make", "users", check=False)
    assert refused.returncode
    assert "YES=1" in refused.stdout
    assert not (STATE / "clients" / NAME).exists()
    playbook("users")
    password = next(
        text.partition("=")[2]
        for text in (STATE / "clients" / NAME / "librdkafka.properties").read_text().splitlines()
        if text.startswith("sasl.password=")
    )
    assert password not in planned.stdout + refused.stdout + run("make", "users", "ARGS=-vvv --diff").stdout


def test_an_owner_sees_the_counts_of_their_filters_and_others_do_not(
    system: System, programs: Path, tmp_path: Path
) -> None:
    topic = names.owner_topic("alice")
    kit = CopiedKit("alice", tmp_path, programs)
    shown = kit.run("my_filters.py")
    assert shown.returncode == 0, shown.stderr
    assert "asteroid: " in shown.stdout
    conf = kafka.read_properties(STATE / "clients/reader.properties")
    consumer = Consumer({**conf, "group.id": "reader-nosy", "log_level": 0})
    try:
        consumer.subscribe([topic])
        message = consumer.poll(30)
        assert message is not None
        error = message.error()
        assert error is not None
        assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    except KafkaException as refused:
        assert refused.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    finally:
        consumer.close()
