"""What a running broker can take is given at once; the rest takes a restart, and is said beforehand."""

from __future__ import annotations

import pytest

from zads.site.broker_settings import plan, read

DYNAMIC = frozenset({"log.retention.ms", "max.connections", "ssl.keystore.location", "listeners", "throttle"})
FILE = {"log.retention.ms": "1000", "max.connections": "10", "broker.id": "1", "listeners": "a"}


def test_a_file_is_read_as_the_broker_reads_it() -> None:
    text = '# comment\n\nbroker.id=1\n jaas = module required user="x"; \nempty=\n'
    assert read(text) == {"broker.id": "1", "jaas": 'module required user="x";', "empty": ""}


def test_an_unchanged_file_asks_for_nothing() -> None:
    assert plan(FILE, FILE, {}, DYNAMIC).lines() == []


def test_what_kafka_can_take_is_given_at_once() -> None:
    found = plan({**FILE, "log.retention.ms": "2000"}, FILE, {}, DYNAMIC)
    assert found.at_once == {"log.retention.ms": ("1000", "2000")}
    assert (found.restart, found.remove) == ({}, {})
    assert found.lines() == ["log.retention.ms: 1000 becomes 2000, at once"]


def test_a_new_setting_can_be_given_too() -> None:
    old = {name: value for name, value in FILE.items() if name != "max.connections"}
    assert plan(FILE, old, {}, DYNAMIC).at_once == {"max.connections": (None, "10")}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        pytest.param({"broker.id": "2"}, "broker.id: 1 becomes 2, by a restart", id="read-only"),
        pytest.param({"listeners": "b"}, "listeners: a becomes b, by a restart", id="clients may lose the broker"),
        pytest.param({"ssl.keystore.location": "b"}, "ssl.keystore.location: Kafka's default becomes b", id="keys"),
        pytest.param(
            {"max.connections": None}, "max.connections: 10 becomes Kafka's default", id="back to the default"
        ),
    ],
)
def test_what_kafka_cannot_take_needs_a_restart(changed: dict[str, str | None], why: str) -> None:
    wanted = {name: value for name, value in {**FILE, **changed}.items() if value is not None}
    found = plan(wanted, FILE, {}, DYNAMIC)
    assert list(found.restart) == list(changed)
    assert found.lines()[0].startswith(why)


def test_a_restart_brings_all_changes_so_that_none_is_given() -> None:
    found = plan({**FILE, "broker.id": "2", "log.retention.ms": "2000"}, FILE, {}, DYNAMIC)
    assert sorted(found.restart) == ["broker.id", "log.retention.ms"]
    assert (found.at_once, found.remove) == ({}, {})


def test_what_was_given_is_not_given_again_and_follows_the_file() -> None:
    wanted = {**FILE, "log.retention.ms": "2000"}
    assert plan(wanted, FILE, {"log.retention.ms": "2000"}, DYNAMIC).lines() == []
    assert plan(wanted, FILE, {"log.retention.ms": "3000"}, DYNAMIC).at_once == {"log.retention.ms": ("3000", "2000")}
    # The old file again: what was given is taken away.
    assert plan(FILE, FILE, {"log.retention.ms": "2000"}, DYNAMIC).remove == {"log.retention.ms": ("2000", "1000")}


def test_a_value_that_repeats_the_file_is_taken_away_only_after_a_restart() -> None:
    given = {"log.retention.ms": "1000"}
    assert plan(FILE, FILE, given, DYNAMIC).lines() == []
    assert list(plan(FILE, FILE, given, DYNAMIC, tidy=True).remove) == ["log.retention.ms"]


def test_a_value_given_by_hand_is_taken_away_but_no_throttle_of_a_reassignment() -> None:
    given = {"max.connections": "5", "ssl.key": None, "follower.replication.throttled.rate": "1"}
    assert list(plan(FILE, FILE, given, DYNAMIC, tidy=True).remove) == ["max.connections", "ssl.key"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1.0", "1", True), ("TRUE", "true", True), ("a, b", "a,b", True), ("a", "b", False), (None, "a", False)],
)
def test_kafkas_own_way_of_writing_a_value_is_no_difference(one: str | None, other: str, same: bool) -> None:
    wanted = {**FILE, "throttle": other}
    assert (plan(wanted, FILE, {"throttle": one}, DYNAMIC).lines() == []) is same
