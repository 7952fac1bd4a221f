"""The modules for Kafka, run by Ansible against a real broker: their results are what the broker then holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from zads import kafka

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def admin(broker: Any) -> AdminClient:
    return kafka.admin(broker.conf)


@pytest.fixture
def name(admin: AdminClient) -> Iterator[str]:
    """The name of a topic that is removed after the test."""
    name = f"zads_modules_{uuid4().hex[:8]}"
    yield name
    if name in admin.list_topics(timeout=20).topics:
        for answer in admin.delete_topics([name], operation_timeout=20).values():
            answer.result()


def topic(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "partitions": 2, "replication_factor": 1, "config": {"retention.ms": 3600000}, **changes}


def setting(admin: AdminClient, name: str, key: str) -> str:
    (answer,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name)]).values()
    value: str = answer.result()[key].value
    return value


def test_a_topic_is_created_once_and_the_second_run_changes_nothing(run: Run, admin: AdminClient, name: str) -> None:
    assert run("kafka_topics", topics=[topic(name)])["created"] == [name]
    assert len(admin.list_topics(timeout=20).topics[name].partitions) == 2
    assert setting(admin, name, "retention.ms") == "3600000"
    assert run("kafka_topics", topics=[topic(name)])["changed"] is False


def test_check_mode_says_what_would_happen_and_does_nothing(run: Run, admin: AdminClient, name: str) -> None:
    answer = run("kafka_topics", "--check", topics=[topic(name)])
    assert answer["changed"] is True
    assert answer["created"] == [name]
    assert name not in admin.list_topics(timeout=20).topics


def test_partitions_grow_and_never_shrink(run: Run, admin: AdminClient, name: str) -> None:
    run("kafka_topics", topics=[topic(name)])
    assert run("kafka_topics", topics=[topic(name, partitions=4)])["grown"] == [name]
    assert len(admin.list_topics(timeout=20).topics[name].partitions) == 4
    refused = run("kafka_topics", topics=[topic(name, partitions=2, config={"retention.ms": 1})])
    assert "4 partitions and Kafka cannot take any away" in refused["msg"]
    assert setting(admin, name, "retention.ms") == "3600000", "a refused run has changed something"


def test_settings_follow_the_data_and_return_to_the_default(run: Run, admin: AdminClient, name: str) -> None:
    run("kafka_topics", topics=[topic(name, config={"retention.ms": 3600000, "segment.ms": 600000})])
    assert run("kafka_topics", topics=[topic(name, config={"retention.ms": 7200000})])["configured"] == [name]
    assert setting(admin, name, "retention.ms") == "7200000"
    assert setting(admin, name, "segment.ms") != "600000"


def test_another_number_of_replicas_is_refused(run: Run, name: str) -> None:
    run("kafka_topics", topics=[topic(name)])
    assert "takes a reassignment" in run("kafka_topics", topics=[topic(name, replication_factor=2)])["msg"]


def test_a_site_that_does_not_answer_is_an_error_in_one_sentence(run: Run, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.properties"
    nowhere.write_text("bootstrap.servers=127.0.0.1:9\n")
    answer = run("kafka_topics", client=str(nowhere), topics=[topic("any")])
    assert answer["msg"].startswith(f"the site of {nowhere} answers:")


READ = {"principal": "User:a", "resource": "topic", "name": "t1", "operation": "read"}
GROUP = {"principal": "User:a", "resource": "group", "name": "a-", "pattern": "prefixed", "operation": "read"}
IDS = {"principal": "User:b", "resource": "transactional_id", "name": "b", "operation": "write"}
CLUSTER = {"principal": "User:b", "resource": "cluster", "name": "kafka-cluster", "operation": "idempotent_write"}


def test_the_grants_of_a_cluster_become_exactly_the_wanted_ones(run: Run) -> None:
    run("kafka_acls", acls=[READ, GROUP])
    assert run("kafka_acls", acls=[READ, GROUP])["changed"] is False
    wanted = [READ, IDS, CLUSTER]
    checked = run("kafka_acls", "--check", acls=wanted)
    changed = run("kafka_acls", acls=wanted)
    assert checked["added"] == changed["added"]
    assert changed["removed"] == ["allow User:a read group a-*"]
    assert run("kafka_acls", acls=wanted)["changed"] is False
    assert len(run("kafka_acls", acls=[])["removed"]) == 3


def test_accounts_follow_the_data_and_a_known_password_is_not_set_again(run: Run, tmp_path: Path) -> None:
    remembered = str(tmp_path / "accounts.json")
    first = run("kafka_users", users={"a": "first-password", "b": "other-password"}, remembered=remembered)
    assert first["set"] == ["a", "b"]
    again = run("kafka_users", users={"a": "first-password", "b": "other-password"}, remembered=remembered)
    assert again["changed"] is False
    assert "password" not in json.dumps({key: value for key, value in first.items() if key != "invocation"})
    another = run("kafka_users", users={"a": "second-password"}, remembered=remembered)
    assert (another["set"], another["removed"]) == (["a"], ["b"])
    assert run("kafka_users", users={}, remembered=remembered)["removed"] == ["a"]


def broker_setting(admin: AdminClient, key: str) -> str:
    (answer,) = admin.describe_configs([ConfigResource(ResourceType.BROKER, "1")]).values()
    value: str = answer.result()[key].value
    return value


def test_a_running_broker_is_given_what_it_can_take_and_its_file_decides_after_a_restart(
    run: Run, admin: AdminClient
) -> None:
    started = "log.retention.ms=1000000\nconnections.max.idle.ms=600000\n"
    wanted = started.replace("1000000", "2000000")
    asked: dict[str, Any] = {"broker": 1, "started": started}
    before = broker_setting(admin, "log.retention.ms")
    assert run("kafka_broker_settings", "--check", wanted=wanted, **asked)["given"] == ["log.retention.ms"]
    assert broker_setting(admin, "log.retention.ms") == before
    given = run("kafka_broker_settings", wanted=wanted, **asked)
    assert (given["given"], given["restart"], given["changed"]) == (["log.retention.ms"], [], True)
    assert given["said"] == ["log.retention.ms: 1000000 becomes 2000000, at once"]
    assert broker_setting(admin, "log.retention.ms") == "2000000"
    again = run("kafka_broker_settings", wanted=wanted, **asked)
    assert (again["changed"], again["restart"]) == (False, [])
    roll = run("kafka_broker_settings", wanted=wanted.replace("600000", "300000"), **asked)
    assert (roll["changed"], roll["restart"]) == (False, ["connections.max.idle.ms", "log.retention.ms"])
    restarted = run("kafka_broker_settings", wanted=wanted, broker=1, started=wanted)
    assert restarted["changed"] is False, "a value that repeats the file does no harm"
    assert run("kafka_broker_settings", wanted=wanted, broker=1, started=wanted, tidy=True)["removed"] == [
        "log.retention.ms"
    ]
    assert broker_setting(admin, "log.retention.ms") == before


def test_a_setting_given_by_hand_is_found_and_taken_away(run: Run, admin: AdminClient) -> None:
    by_hand = "log.cleaner.threads=2\n"
    run("kafka_broker_settings", broker=1, started="", wanted=by_hand)
    found = run("kafka_broker_settings", "--check", broker=1, started="", wanted="")
    assert found["said"] == ["log.cleaner.threads: 2 was set by hand, at once Kafka's default"]
    assert run("kafka_broker_settings", broker=1, started="", wanted="")["removed"] == ["log.cleaner.threads"]
    assert broker_setting(admin, "log.cleaner.threads") == "1"


def test_an_impossible_value_is_refused_by_kafka_in_one_sentence_and_a_broker_that_is_away_is_left(run: Run) -> None:
    refused = run("kafka_broker_settings", broker=1, started="", wanted="log.cleaner.threads=-3\n")
    assert "answers:" in refused["msg"]
    assert run("kafka_broker_settings", broker=7, started="", wanted="x=1\n")["up"] is False


def test_the_gate_sees_a_brokers_disks_and_reassignments_and_gives_its_reasons(run: Run) -> None:
    asked = {"state": "may_stop", "brokers": [1], "expected": [1], "wait": 1}
    assert run("kafka_gate", **asked)["deferred"] is False
    assert run("kafka_gate", defer_controller=True, later=[2], **asked)["deferred"] is True
    refused = run("kafka_gate", later=[1, 2], free_percent=100, **{**asked, "expected": [1, 2]}, doing={"2": "starts"})
    assert [reason.partition(":")[0] for reason in refused["reasons"]] == [
        "already away",
        "broker 1 is the controller and has to be the last",
        "a disk is nearly full",
    ]
    assert refused["reasons"][0] == "already away: broker 2 (starts)"
    assert "/data/kafka of broker 1 has " in refused["reasons"][2]
    assert refused["msg"].endswith("(waited 1 s)")


def test_the_gate_waits_for_a_broker_that_is_not_registered(run: Run) -> None:
    refused = run("kafka_gate", state="recovered", brokers=[2], wait=1)
    assert refused["reasons"] == ["not registered: broker 2"]
    assert run("kafka_gate", state="recovered", brokers=[1], wait=20)["elected"] == 0


def test_the_limits_of_a_cluster_become_exactly_the_wanted_ones(run: Run) -> None:
    reader = {"user": "reader", "values": {"consumer_byte_rate": 5000, "request_percentage": 12.5}}
    everybody = {"values": {"consumer_byte_rate": 1000}}
    checked = run("kafka_quotas", "--check", quotas=[reader, everybody])
    assert checked["set"] == ["user reader", "user <default>"]
    assert run("kafka_quotas", quotas=[reader, everybody])["set"] == checked["set"], "check mode has changed something"
    assert run("kafka_quotas", quotas=[reader, everybody])["changed"] is False
    fewer = {**reader, "values": {"consumer_byte_rate": 6000}}
    changed = run("kafka_quotas", "--diff", "-vvv", quotas=[fewer])
    assert (changed["set"], changed["removed"]) == (["user reader"], ["user <default>"])
    assert "user reader: request_percentage=12" in changed["diff"]["before"]
    assert changed["diff"]["after"] == "user reader: consumer_byte_rate=6000\n"
    refused = run("kafka_quotas", quotas=[{"user": "reader", "values": {"bytes_a_second": 1}}])
    assert "refuses a quota for user reader" in refused["msg"]
    assert run("kafka_quotas", quotas=[])["removed"] == ["user reader"]


def test_the_limits_and_the_account_of_a_user_do_not_touch_each_other(run: Run, tmp_path: Path) -> None:
    """A broker keeps both in one place."""
    remembered = str(tmp_path / "accounts.json")
    quota = {"user": "both", "values": {"consumer_byte_rate": 5000}}
    run("kafka_quotas", quotas=[quota])
    run("kafka_users", users={"both": "first-password"}, remembered=remembered)
    assert run("kafka_quotas", quotas=[quota])["changed"] is False
    assert run("kafka_quotas", quotas=[])["removed"] == ["user both"]
    assert run("kafka_users", users={"both": "first-password"}, remembered=remembered)["changed"] is False
    assert run("kafka_users", users={}, remembered=remembered)["removed"] == ["both"]
