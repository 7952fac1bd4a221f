"""A site changes its version of Kafka by the steps that Kafka allows, and by no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads.site import versions
from zads.site.versions import Daemon

OLD, NEW = "3.8.1", "3.9.1"
HOSTS = ("p1", "p2", "p3")


def broker(host: str, version: str, protocol: str = "3.8", runs: str | None = None) -> Daemon:
    runs = version if runs is None else runs
    return Daemon(host, "kafka", version, runs, protocol, protocol if runs else "")


def member(host: str, version: str) -> Daemon:
    return Daemon(host, "zookeeper", version, version)


def site(brokers: list[str], members: list[str], protocol: str = "3.8") -> list[Daemon]:
    """A site whose brokers and members have these versions."""
    return [
        *(broker(host, version, protocol) for host, version in zip(HOSTS, brokers, strict=False)),
        *(member(host, version) for host, version in zip(HOSTS, members, strict=False)),
    ]


def names(plan: versions.Plan) -> list[str]:
    return [str(one) for one in plan.turns]


# The way up and back


def test_on_the_way_up_the_ensemble_is_first_and_there_is_a_way_back() -> None:
    plan = versions.change("public", site([OLD] * 3, [OLD] * 3), NEW)
    assert (plan.refused, plan.up, len(plan.turns)) == ([], True, 6)
    assert plan.said[0] == "public: p1 (member of the ensemble): Kafka 3.8.1 becomes 3.9.1"
    assert "p1 (broker)" in plan.said[3]
    assert "the brokers' protocol stays 3.8, so there is a way back" in plan.said[-1]


def test_on_the_way_back_the_ensemble_is_last() -> None:
    plan = versions.change("public", site([NEW] * 3, [NEW] * 3), OLD)
    assert (plan.refused, plan.up, len(plan.turns)) == ([], False, 6)
    assert plan.said[0] == "public: p1 (broker): Kafka 3.9.1 becomes 3.8.1"
    assert "way back" not in "".join(plan.said)


@pytest.mark.parametrize("done", range(7))
@pytest.mark.parametrize("wanted", [OLD, NEW])
def test_an_interrupted_upgrade_is_continued_or_undone(done: int, wanted: str) -> None:
    """The first of ensemble and brokers have the new version; only the others have a turn."""
    have = [NEW] * done + [OLD] * (6 - done)
    plan = versions.change("public", site(have[3:], have[:3]), wanted)
    assert plan.refused == []
    assert len(plan.turns) == sum(version != wanted for version in have)
    assert plan.up is (wanted == NEW or done == 0)


def test_a_broker_whose_unit_was_written_but_not_restarted_has_its_turn() -> None:
    daemons = [broker("p1", NEW, runs=OLD), broker("p2", OLD)]
    assert names(versions.change("public", daemons, NEW)) == ["p1 (broker)", "p2 (broker)"]
    assert names(versions.change("public", daemons, OLD)) == ["p1 (broker)"]


def test_a_broker_that_fails_with_the_new_version_goes_back() -> None:
    daemons = [broker("p1", NEW, runs=""), broker("p2", OLD)]
    plan = versions.change("public", daemons, OLD)
    assert (plan.refused, names(plan)) == ([], ["p1 (broker)"])


def test_some_hosts_come_first_if_they_are_named() -> None:
    plan = versions.change("public", site([OLD] * 3, [OLD] * 3), NEW, ["p2"])
    assert names(plan) == ["p2 (broker)", "p2 (member of the ensemble)"]
    assert "public: 4 daemons of other hosts stay as they are" in plan.said[2]


def test_nothing_changes_where_the_version_is_there() -> None:
    plan = versions.change("public", site([NEW] * 3, [NEW] * 3), NEW)
    assert (plan.refused, plan.turns) == ([], [])
    assert plan.said[0] == "public: nothing changes: every daemon has Kafka 3.9.1"


# What is refused


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("4.0.0", "Kafka 4.0.0 has no ZooKeeper, and public needs it"),
        ("10.1", "has no ZooKeeper"),
        ("2.8.2", "Kafka 2.8.2 is too old"),
        ("newest", "'newest' is no version"),
        ("", "'' is no version"),
    ],
)
def test_a_version_that_no_site_can_have_is_refused(wanted: str, reason: str) -> None:
    (said,) = versions.change("public", site([OLD] * 3, [OLD] * 3), wanted).refused
    assert reason in said


def test_a_third_version_beside_two_is_refused() -> None:
    (said,) = versions.change("public", site([NEW, OLD, OLD], [NEW] * 3), "3.9.2").refused
    assert said == "public is between Kafka 3.8.1 and 3.9.1: bring it to one of them before you bring it to 3.9.2"


def test_below_a_protocol_that_one_broker_speaks_there_is_no_way_back() -> None:
    daemons = site([NEW] * 3, [NEW] * 3)
    daemons[1] = replace(daemons[1], protocol="3.9")  # written, and not restarted yet
    (said,) = versions.change("public", daemons, OLD).refused
    assert "its brokers speak the protocol 3.9" in said
    assert "no way back" in said
    assert versions.change("public", daemons, "3.9.2").refused == []


def test_what_was_never_deployed_is_not_upgraded() -> None:
    (said,) = versions.change("public", [broker("p1", OLD), Daemon("p4", "kafka", "")], NEW).refused
    assert said == "public: no Kafka is installed: p4 (broker); make deploy first"
    assert versions.raising("public", [Daemon("p4", "kafka", "")]).refused == [said]


@given(st.lists(st.sampled_from([OLD, NEW]), min_size=3, max_size=3), st.sampled_from(["3.8", "3.9"]))
def test_no_plan_lets_a_broker_speak_what_it_cannot(brokers: list[str], protocol: str) -> None:
    daemons = site(brokers, brokers, protocol)
    for wanted in (OLD, NEW):
        plan = versions.change("public", daemons, wanted)
        assert bool(plan.refused) is not versions.may_speak(wanted, protocol)


def test_versions_are_compared_as_numbers() -> None:
    assert versions.may_speak("3.10.0", "3.9")
    assert not versions.may_speak("3.9.1", "3.10")
    assert versions.protocol_of("3.10.2") == "3.10"


# The protocol


def test_the_protocol_rises_when_every_daemon_has_one_version() -> None:
    plan = versions.raising("public", site([NEW] * 3, [NEW] * 3))
    assert (plan.refused, names(plan)) == ([], [f"{host} (broker)" for host in HOSTS])
    assert plan.said[0] == "public: p1 (broker): the protocol 3.8 becomes 3.9"
    assert plan.said[-1] == "public: afterwards there is no way back below Kafka 3.9"


def test_the_protocol_does_not_rise_before_the_upgrade_is_done() -> None:
    for daemons in (site([NEW, NEW, OLD], [NEW] * 3), site([NEW] * 3, [NEW, NEW, OLD])):
        assert versions.raising("public", daemons).refused == [
            "public is between Kafka 3.8.1 and 3.9.1: first finish make upgrade"
        ]


def test_an_interrupted_raise_is_continued() -> None:
    daemons = site([NEW] * 3, [NEW] * 3)
    daemons[0] = replace(daemons[0], protocol="3.9", speaks="3.9")
    daemons[1] = replace(daemons[1], protocol="3.9")
    assert names(versions.raising("public", daemons)) == ["p2 (broker)", "p3 (broker)"]
    done = versions.raising("public", site([NEW] * 3, [NEW] * 3, "3.9"))
    assert (done.turns, done.said) == ([], ["public: nothing changes: every broker speaks the protocol 3.9"])


# What verify says


@pytest.mark.parametrize(
    ("daemons", "said"),
    [
        (site([NEW] * 3, [NEW] * 3), []),
        (site([OLD] * 3, [OLD] * 3), ["public has Kafka 3.8.1, the inventory says 3.9.1"]),
        (
            site([NEW, OLD, OLD], [OLD]),
            [
                "public is between versions of Kafka (3.8.1: p2 (broker), p3 (broker), p1 (member of the ensemble); "
                "3.9.1: p1 (broker))"
            ],
        ),
        ([broker("p1", NEW, runs=OLD)], ["public: p1 (broker) runs Kafka 3.8.1, and starts 3.9.1 next time"]),
        ([broker("p1", NEW, "3.8"), broker("p2", NEW, "3.9")], ["public is between the protocols 3.8 and 3.9"]),
        ([Daemon("p4", "kafka", "")], []),
    ],
    ids=["one version", "older than the inventory", "between", "not restarted", "protocols", "nothing there"],
)
def test_versions_that_differ_are_named(daemons: list[Daemon], said: list[str]) -> None:
    found = versions.differences("public", daemons, NEW)
    assert len(found) == len(said)
    assert all(line.startswith(words) for line, words in zip(found, said, strict=True)), found


# What playbooks and roles ask


@pytest.fixture(scope="module")
def filters(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("filter/versions.py")


def told(version: str, protocol: str = "3.8", **programs: str) -> dict[str, Any]:
    """The variables of a host, after the module host_versions has answered."""
    kafka = {"version": version, "runs": version, "protocol": protocol, "speaks": protocol, "java": "17.0.1"}
    units = [
        {"unit": f"zads-{name}.service", "image": image, "before": "", "rolled_back": ""}
        for name, image in programs.items()
    ]
    return {"kafka_distribution_there": {"daemons": {"kafka": {**kafka, "zookeeper": "3.8.4"}}, "programs": units}}


def test_a_plan_names_the_hosts_of_each_kind(filters: ModuleType) -> None:
    hostvars = {"p1": told(OLD), "p2": told(NEW)}
    plan = filters.upgrade_plan(hostvars, ["p1", "p2", "p1"], "public", NEW)
    assert (plan["kafka"], plan["zookeeper"], plan["up"], plan["refused"]) == (["p1"], [], True, [])
    assert filters.protocol_plan(hostvars, ["p1", "p2"], "public")["refused"] != []


def test_a_host_that_did_not_answer_is_left_out(filters: ModuleType) -> None:
    hostvars = {"p1": told(NEW), "p2": {"kafka_distribution_there": {"unreachable": True}}, "p3": {}}
    assert filters.version_problems(hostvars, ["p1", "p2", "p3"], "public", NEW) == []
    table = filters.version_table(hostvars, ["p1", "p3"])
    assert table == ["p1: kafka 3.9.1, protocol 3.8, Java 17.0.1", "p3: does not answer"]


@pytest.mark.parametrize(
    ("own", "others", "wanted", "chosen"),
    [
        ("3.8", ["3.9"], "3.7", "3.8"),
        ("", ["3.9", "3.8", ""], "3.7", "3.8"),
        ("", [], "3.7", "3.7"),
        ("", [], "", "3.9"),
    ],
    ids=["its own", "the oldest of the others", "the inventory's", "the newest of its version"],
)
def test_a_broker_speaks_like_its_site(
    filters: ModuleType, own: str, others: list[str], wanted: str, chosen: str
) -> None:
    answers = [{"daemons": {"kafka": {"protocol": one}}} for one in others]
    assert filters.broker_protocol(own, [*answers, {"skipped": True}], wanted, NEW) == chosen


def test_programs_whose_images_differ_are_named(filters: ModuleType) -> None:
    hostvars = {"a": told(NEW, mirrormaker="zads/mirrormaker:1"), "b": told(NEW, mirrormaker="zads/mirrormaker:2")}
    assert filters.image_problems(hostvars, ["a", "b"]) == [
        "zads-mirrormaker.service has different images: zads/mirrormaker:1 on a; zads/mirrormaker:2 on b"
    ]
    assert filters.image_problems(hostvars, ["a", "a"]) == []


def test_a_filter_worker_goes_back_with_its_sandbox(filters: ModuleType) -> None:
    assert filters.rolled_units("producer") == ["zads-producer.service"]
    assert filters.rolled_units("filter-worker") == ["zads-filters-*@.service", "zads-sandbox-*@.service"]


def test_every_pair_of_pinned_versions_can_be_taken_both_ways() -> None:
    for one, other in product([OLD, NEW], repeat=2):
        assert versions.change("public", site([one] * 3, [one] * 3), other).refused == []
