"""Replicas move between real brokers while records arrive; drill_moving_on_brokers.py has what takes longer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bench.broker import Broker
from several_brokers import Site, arriving, asked, watched
from zads.site.cluster import Cluster

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def broker(site: Site) -> Broker:
    """The broker whose address the modules of Ansible get."""
    return site.first


def test_the_plan_is_shown_and_changes_nothing(run: Run, site: Site, topic: str) -> None:
    before = site.placement(topic)
    for options in ({"state": "planned"}, {}):
        answer = run("kafka_reassign", *(["--check"] if not options else []), **asked(**options))
        assert answer["moves"] > 0
        assert "replicas to copy" in answer["said"][0]
        assert len(answer["said"]) == answer["moves"] + 1
    assert site.placement(topic) == before


def test_a_third_broker_gets_its_share_while_records_arrive(run: Run, site: Site, topic: str) -> None:
    with arriving(site, topic) as acknowledged, watched(site, topic) as seen:
        time.sleep(1)
        answer = run("kafka_reassign", **asked(at_once=2))
        time.sleep(1)
    assert answer["changed"] is True, answer
    placed = site.placement(topic)
    assert Counter(broker for replicas in placed.values() for broker in replicas) == {1: 4, 2: 4, 3: 4}
    assert Counter(replicas[0] for replicas in placed.values()) == {1: 2, 2: 2, 3: 2}
    leaders = Cluster(site.conf).metadata().topics[topic].partitions
    assert {number: one.leader for number, one in leaders.items()} == {n: one[0] for n, one in placed.items()}
    assert site.bounded(topic) == set()
    assert min(seen) >= 2, "a partition lost a replica in sync"
    numbers = [
        int(message.value() or b"") for message in site.first.read_all(topic) if len(message.value() or b"") < 20
    ]
    assert sorted(numbers) == sorted(acknowledged)
    assert run("kafka_reassign", **asked())["changed"] is False


def test_an_impossible_plan_is_refused_at_once(run: Run, site: Site, topic: str) -> None:
    few = run("kafka_reassign", **asked(racks={"1": ""}, leaving=[2, 3]))
    assert "has 2 replicas, and 1 brokers would be left; add a broker first" in few["msg"]
    unknown = run("kafka_reassign", **asked(racks={"1": "", "3": ""}))
    assert "the inventory does not have broker 2" in unknown["msg"]
