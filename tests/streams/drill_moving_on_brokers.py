"""Moves of replicas that are interrupted or ended, and brokers that lose their data or are gone: nothing is lost.

Each takes half a minute or more, so `make drill` runs them and `make test` does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka.cimpl import NewTopic

from bench.broker import Broker, await_true
from several_brokers import FAST, PARTITIONS, RACKS, SLOW, Site, arriving, asked, fill, slowly
from zads import kafka
from zads.site import look
from zads.site.cluster import Cluster
from zads.site.moving import BROKER_BOUNDS

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def broker(site: Site) -> Broker:
    """The broker whose address the modules of Ansible get."""
    return site.first


def test_an_interrupted_run_is_followed_and_continued(run: Run, site: Site, topic: str) -> None:
    fill(site, topic, 40)
    stopped = run("kafka_reassign", **asked(rate=SLOW, at_once=2, wait=25))
    assert "partitions moved" in stopped["msg"], stopped
    slow = slowly(site, topic)
    assert 0 < len(slow) <= 2
    refused = run("kafka_gate", state="may_stop", brokers=[2], expected=[1, 2, 3], wait=0)
    assert any(reason.startswith("a reassignment is running") for reason in refused["reasons"])
    follows = run("kafka_reassign", **asked(rate=SLOW, at_once=2, wait=2))
    assert "follows the copies that are under way" in follows["msg"], follows
    assert slowly(site, topic) == slow
    for number in RACKS:
        Cluster(site.conf).set_broker(number, dict.fromkeys(BROKER_BOUNDS, str(FAST)))
    assert run("kafka_reassign", **asked())["changed"] is True
    assert Counter(broker for one in site.placement(topic).values() for broker in one) == {1: 4, 2: 4, 3: 4}
    assert site.bounded(topic) == set()


def test_copies_that_are_ended_leave_every_partition_where_it_was(run: Run, site: Site, topic: str) -> None:
    fill(site, topic, 40)
    before = site.placement(topic)
    run("kafka_reassign", **asked(rate=SLOW, at_once=3, wait=25))
    ended = run("kafka_reassign", **asked(state="cancelled", wait=0))
    assert 0 < len([name for name in ended["cancelled"] if name.startswith(topic)]) <= 3
    assert {number: set(one) for number, one in site.placement(topic).items()} == {
        number: set(one) for number, one in before.items()
    }
    assert site.bounded(topic) == set()
    assert run("kafka_reassign", **asked(state="cancelled", wait=0))["cancelled"] == []


def test_a_broker_that_lost_its_data_starts_once_nobody_counts_on_it(run: Run, site: Site, topic: str) -> None:
    """It gets everything back from the others, while records arrive."""
    fill(site, topic, 5)
    gone = {"brokers": [2], "expected": [1, 2, 3], "wait": 0}
    cluster = Cluster(site.conf)
    cluster.settle(cluster.client.create_topics([NewTopic("zads_single", 1, replica_assignment=[[1]])]))
    only = run("kafka_gate", state="may_replace", **{**gone, "brokers": [1]})
    assert "no other replica is in sync: zads_single-0" in only["reasons"]
    cluster.delete_topics(["zads_single"])
    may = run("kafka_gate", state="may_replace", **{**gone, "wait": 30})
    assert may["reasons"] == []
    assert may["holds"] >= PARTITIONS
    with arriving(site, topic) as acknowledged:
        site.kill(2, wipe=True)
        early = run("kafka_gate", state="may_start_empty", **gone)
        assert "still registered: broker 2" in early["reasons"]
        assert run("kafka_gate", state="may_start_empty", **{**gone, "wait": 60})["reasons"] == []
        site.start(2)
        assert "reasons" in run("kafka_gate", state="recovered", brokers=[2], wait=90)
    seen, _ = look.describe(kafka.admin(site.conf))
    assert all(set(one.isr) == {1, 2} for one in seen.partitions if one.topic == topic)
    numbers = [
        int(message.value() or b"") for message in site.first.read_all(topic) if len(message.value() or b"") < 20
    ]
    assert sorted(numbers) == sorted(acknowledged)


def test_a_broker_that_is_gone_for_good_is_removed(run: Run, site: Site, topic: str) -> None:
    site.kill(2)
    await_true(lambda: 2 not in site.brokers(), "the end of broker 2", 60)
    leave = asked(racks={"1": "", "3": ""}, leaving=[2], spread=False)
    answer = run("kafka_reassign", **leave)
    assert answer["changed"] is True, answer
    assert all(set(one) == {1, 3} for one in site.placement(topic).values())
    site.start(2)
