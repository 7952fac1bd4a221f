"""A comparison of definitions names each difference, and nothing that the night keeper or Kafka itself does."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from zads import quotas
from zads.backup import definitions, restoring
from zads.backup.definitions import Definitions
from zads.errors import ZadsError
from zads.site.access import Acl
from zads.site.policy import Policy
from zads.site.topics import Topic

NIGHT, NEXT, CANARIES = "ztf_20300401_programid1", "ztf_20300402_programid1", "ztf_20000101_programid1"


def topic(name: str, partitions: int = 2, replicas: int = 3, **config: str) -> Topic:
    return Topic(name, partitions, replicas, {key.replace("_", "."): value for key, value in config.items()})


def grant(name: str, who: str = "User:alice", operation: str = "read") -> Acl:
    return Acl(who, "topic", name, "literal", operation)


def site(*topics: Topic, **other: Any) -> Definitions:
    given: dict[str, Any] = {
        "cluster": "one",
        "topics": {one.name: one for one in topics},
        "placed": {one.name: [list(range(one.replication_factor))] * one.partitions for one in topics},
        "accounts": {"alice": {"SCRAM-SHA-512": 8192}},
        "limits": {quotas.user("alice"): {"consumer_byte_rate": 1e6}, quotas.user(None): {"request_percentage": 20.0}},
        "grants": sorted(grant(one.name) for one in topics),
        "given": {1: {"log.cleaner.threads": "2", "secret": None}},
    }
    return Definitions(**{**given, **other})


BASE = site(
    topic("zads_ledger", cleanup_policy="compact"), topic(NIGHT, retention_ms="1"), topic("__consumer_offsets", 50)
)


def lines(now: Definitions, before: Definitions = BASE) -> list[str]:
    return definitions.differences(before, now).lines


def test_definitions_are_read_back_as_they_were() -> None:
    assert Definitions.read(BASE.text()) == BASE
    assert json.loads(BASE.text())["topics"][NIGHT]["partitions"] == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"cluster": "a", "topics": {"a": 1}}', BASE.text()[:-50]])
def test_damaged_definitions_are_refused(text: bytes) -> None:
    with pytest.raises(ZadsError, match="definitions"):
        Definitions.read(text)


def test_a_site_does_not_differ_from_itself() -> None:
    found = definitions.differences(BASE, BASE)
    assert (found.lines, found.came, found.went) == ([], 0, 0)


def test_nights_that_came_and_went_are_counted_with_their_grants() -> None:
    now = site(*(one for name, one in BASE.topics.items() if name != NIGHT), topic(NEXT), topic(NEXT[:-1] + "2"))
    found = definitions.differences(BASE, now)
    assert (found.lines, found.came, found.went) == ([], 2, 1)


def test_a_night_that_both_have_is_compared() -> None:
    now = replace(BASE, topics={**BASE.topics, NIGHT: topic(NIGHT, 3, 2, retention_ms="2", x="y")})
    assert lines(now) == [
        f"other: topic {NIGHT}: partitions 2 in the backup, now 3",
        f"other: topic {NIGHT}: replication factor 3 in the backup, now 2",
        f"other: topic {NIGHT}: retention.ms 1 in the backup, now 2",
        f"other: topic {NIGHT}: x None in the backup, now y",
    ]


def test_missing_and_new_topics_are_named_and_kafkas_own_are_not() -> None:
    now = site(topic(NIGHT, retention_ms="1"), topic("mine"))
    assert lines(now) == [
        "missing: topic zads_ledger",
        "new: topic mine",
        "missing: grant allow User:alice read topic __consumer_offsets",
        "missing: grant allow User:alice read topic zads_ledger",
        "new: grant allow User:alice read topic mine",
    ]


def test_the_canaries_topic_is_no_night() -> None:
    assert lines(BASE, replace(BASE, topics={**BASE.topics, CANARIES: topic(CANARIES)})) == [
        f"missing: topic {CANARIES}"
    ]


def test_where_a_replica_is_does_not_matter() -> None:
    assert lines(replace(BASE, placed=dict.fromkeys(BASE.placed, [[7, 8, 9]] * 2), cluster="another")) == []


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"accounts": {"alice": {"SCRAM-SHA-512": 4096}}}, "other: account alice (SCRAM-SHA-512): 8192 rounds in the"),
        ({"accounts": {}}, "missing: account alice"),
        (
            {"limits": {**BASE.limits, quotas.user("alice"): {"consumer_byte_rate": 2e6}}},
            "other: limit user alice: cons",
        ),
        ({"limits": {quotas.user("alice"): {"consumer_byte_rate": 1e6}}}, "missing: limit user <default>: request_per"),
        ({"grants": [*BASE.grants, grant("x", "User:eve", "write")]}, "new: grant allow User:eve write topic x"),
        ({"grants": BASE.grants[:1]}, "missing: grant allow User:alice read topic zads_ledger"),
        ({"given": {}}, "missing: given to broker 1: log.cleaner.threads"),
    ],
)
def test_one_change_is_found(changed: dict[str, Any], line: str) -> None:
    assert any(found.startswith(line) for found in lines(replace(BASE, **changed))), lines(replace(BASE, **changed))


# what a new site gets

POLICY = Policy.read(
    {
        "topics_night": {"partitions": 2, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 7},
        "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin"]}},
        "users": [],
        "filters": [],
        "filter_groups": {},
    }
)


def test_a_new_site_gets_the_nights_of_the_backup_and_those_that_the_other_site_has() -> None:
    origin = site(topic(NIGHT), topic(NEXT), topic(NEXT[:-1] + "2"), topic(CANARIES), topic("zads_ledger"))
    found = restoring.wanted_nights(POLICY, "public", BASE, [origin, site(topic("zads_rejected"))])
    assert [one.name for one in found] == [NIGHT, NEXT], "programme 2 may not be at the public site"
    assert found[0] == BASE.topics[NIGHT], "with the settings that it had"
    assert found[1].config["retention.ms"] == str(7 * 86_400_000)
