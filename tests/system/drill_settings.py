"""A changed setting reaches running brokers without a restart where Kafka can, and is named beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from local_system import System, client, playbook, run
from zads import kafka

BROKERS = [f"{site}-{number}" for site in ("origin", "public") for number in (1, 2, 3)]


def pids(system: System) -> list[str]:
    """The process of each broker."""
    return [system.on(host, "systemctl show --property=MainPID --value kafka").strip() for host in BROKERS]


def settings(broker: int) -> dict[str, str]:
    """The settings with which a broker of the public site runs."""
    asked = [ConfigResource(ResourceType.BROKER, str(broker))]
    (answer,) = kafka.admin(client("admin-public")).describe_configs(asked).values()
    return {entry.name: entry.value for entry in answer.result(30).values()}


def changed(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: count["changed"] for name, count in counts.items() if count["changed"]}


@pytest.fixture
def as_it_was(system: System) -> Iterator[None]:
    """Brings the brokers back to their inventory."""
    yield
    playbook("deploy", "--tags", "kafka")
    assert changed(playbook("deploy", "--tags", "kafka")) == {}


def test_a_setting_that_kafka_can_change_restarts_nobody(system: System, as_it_was: None) -> None:
    before, eight = pids(system), ("--tags", "kafka", "-e", "kafka_retention_days=8")
    checked = run("scripts/ansible", "local", "deploy", "--check", *eight)
    assert "log.retention.ms: 604800000 becomes 691200000, at once" in checked.stdout, checked.stdout[-4000:]
    assert settings(1)["log.retention.ms"] == "604800000"
    assert set(changed(playbook("deploy", *eight))) >= set(BROKERS)
    assert pids(system) == before
    assert {settings(broker)["log.retention.ms"] for broker in (1, 2, 3)} == {"691200000"}
    for host in BROKERS:
        assert "log.retention.ms=691200000" in system.on(host, "cat /etc/kafka/server.properties")
    assert changed(playbook("deploy", *eight)) == {}, "the second deployment finds nothing to do"
    # A restart keeps it, now from the file.
    run("make", "restart", "LIMIT=public-1")
    assert settings(1)["log.retention.ms"] == "691200000"
    assert changed(playbook("deploy", *eight)) == {}


def test_a_setting_that_kafka_cannot_change_is_named_before_the_restart(system: System) -> None:
    before = pids(system)
    checked = run("scripts/ansible", "local", "deploy", "--check", "--tags", "kafka", "-e", "kafka_idle_seconds=170")
    assert "connections.max.idle.ms: 180000 becomes 170000, by a restart" in checked.stdout, checked.stdout[-4000:]
    assert pids(system) == before


def test_a_setting_given_by_hand_is_drift(system: System, as_it_was: None) -> None:
    entry = ConfigEntry("log.cleaner.threads", "2", incremental_operation=AlterConfigOpType.SET)
    by_hand: Any = ConfigResource(ResourceType.BROKER, "2", incremental_configs=[entry])
    for answer in kafka.admin(client("admin-public")).incremental_alter_configs([by_hand]).values():
        answer.result(30)
    found = run("make", "check", "TAGS=kafka", check=False)
    assert found.returncode != 0
    assert "log.cleaner.threads: 2 was set by hand" in found.stdout, found.stdout[-4000:]
    playbook("deploy", "--tags", "kafka")
    assert settings(2)["log.cleaner.threads"] == "1"
