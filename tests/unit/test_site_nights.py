"""Which nights a site has, at any moment and after any outage: the plan, without a broker."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads import names
from zads.site import nights
from zads.site.access import Acl, known_nights, wanted_acls
from zads.site.nights import DAY, HOUR, Plan, Timetable
from zads.site.policy import SITES, Policy, Site
from zads.site.topics import Topic, canary_topic, night_topics

DATA: dict[str, Any] = {
    "topics_night": {"partitions": 4, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 7},
    "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin"]}},
    "users": [
        {"name": "reader", "site": "public", "programmes": [1]},
        {"name": "partner", "site": "origin", "programmes": [1, 2]},
    ],
}
POLICY = Policy.read(DATA)
CANARIES = canary_topic(POLICY)
TABLE = Timetable(retention_days=7)
NOON = nights.begin("20261127") + 12 * HOUR
MOMENTS = st.floats(nights.begin("20180101"), nights.begin("20480101"))
TABLES = st.builds(
    Timetable,
    retention_days=st.floats(0.1, 30),
    ahead=st.integers(0, 5),
    past=st.none() | st.integers(0, 40),
    turn=st.floats(0, DAY, exclude_max=True),
)
SITE = st.sampled_from(SITES)


def moment(text: str) -> float:
    return datetime.datetime.fromisoformat(f"{text}+00:00").timestamp()


class Cluster:
    """A site that does what a plan says, and a program's memory of when its topics were first seen empty."""

    def __init__(self, site: Site, policy: Policy = POLICY) -> None:
        self.site, self.policy = site, policy
        self.topics: dict[str, Topic] = {}
        self.acls: set[Acl] = set()
        self.records: set[str] = set()
        self.empty_since: dict[str, float] = {}

    def plan(self, now: float, table: Timetable = TABLE) -> Plan:
        self.empty_since = {name: self.empty_since.get(name, now) for name in self.topics if name not in self.records}
        removable = table.removable(self.empty_since, now)
        return nights.plan(self.policy, self.site, table, now, self.topics, self.acls, removable)

    def follow(self, now: float, table: Timetable = TABLE) -> Plan:
        found = self.plan(now, table)
        self.topics |= {topic.name: topic for topic in found.topics.create}
        for name, settings in found.topics.configure.items():
            config = {**self.topics[name].config, **{key: new for key, (_, new) in settings.items() if new}}
            self.topics[name] = replace(self.topics[name], config=config)
        for name, (_, number) in found.topics.grow.items():
            self.topics[name] = replace(self.topics[name], partitions=number)
        self.acls = (self.acls | set(found.grants.add)) - set(found.grants.remove)
        for name in found.remove:
            del self.topics[name]
        return found

    @property
    def nights(self) -> set[str]:
        return {night for name in self.topics if (night := nights.night_of(name))}


@pytest.mark.parametrize(
    ("when", "first", "last"),
    [
        ("2026-11-27T00:00:00", "20261120", "20261129"),
        ("2026-11-27T21:59:59", "20261120", "20261129"),
        ("2026-11-27T22:00:00", "20261120", "20261130"),  # the turn
        ("2026-11-27T23:59:59", "20261120", "20261130"),
        ("2026-11-28T00:00:00", "20261121", "20261130"),  # midnight, within a night at some places
        ("2028-02-28T23:00:00", "20280221", "20280302"),  # a leap year
    ],
)
def test_the_nights_that_must_exist(when: str, first: str, last: str) -> None:
    wanted = TABLE.wanted(moment(when))
    assert (wanted[0], wanted[-1]) == (first, last)


def test_fewer_past_nights_may_be_asked_for() -> None:
    assert Timetable(7, ahead=1, past=1).wanted(NOON) == ["20261126", "20261127", "20261128"]
    assert Timetable(7, ahead=0, past=0).wanted(NOON) == ["20261127"]


@given(TABLES, MOMENTS)
def test_the_present_night_and_the_coming_ones_are_always_wanted_without_a_gap(table: Timetable, now: float) -> None:
    wanted = table.wanted(now)
    ahead = {nights.night_at(now + number * DAY) for number in range(table.ahead + 1)}
    assert ahead <= set(wanted)
    starts = [nights.begin(night) for night in wanted]
    assert starts == [starts[0] + number * DAY for number in range(len(starts))]


@given(TABLES, MOMENTS, st.floats(0, 5 * DAY))
def test_what_was_made_for_the_future_is_still_wanted_when_it_has_come(
    table: Timetable, now: float, later: float
) -> None:
    before = {night for night in table.wanted(now) if nights.begin(night) + DAY > now + later}
    assert before <= set(table.wanted(now + later))


@given(TABLES, MOMENTS, st.floats(0, 40 * DAY), st.integers(-40, 10))
def test_no_topic_is_removed_before_its_retention_has_ended_and_a_day_without_records(
    table: Timetable, now: float, empty: float, number: int
) -> None:
    night = nights.night_at(now + number * DAY)
    topic = names.night_topic(night, 1)
    removed = table.removable({topic: now - empty}, now)
    if removed:
        assert nights.begin(night) + (1 + table.retention_days) * DAY <= now
        assert empty >= DAY
        assert night not in table.wanted(now)
    elif nights.begin(night) + (2 + table.retention_days) * DAY <= now:
        assert empty < 2 * DAY, "it stays for ever"


@given(SITE, TABLES, MOMENTS)
def test_a_plan_that_was_followed_leaves_nothing_to_do(site: Site, table: Timetable, now: float) -> None:
    cluster = Cluster(site)
    cluster.follow(now, table)
    assert not cluster.plan(now, table)
    assert cluster.nights == set(table.wanted(now))


@given(SITE, MOMENTS, st.lists(st.floats(0, 20 * DAY), max_size=12))
def test_after_any_outages_a_site_is_as_one_that_was_always_looked_after(
    site: Site, now: float, steps: list[float]
) -> None:
    """Nights of an outage are made afterwards: late alerts of them may come."""
    cluster = Cluster(site)
    for step in steps:
        now += step
        cluster.follow(now)
        assert set(TABLE.wanted(now)) <= cluster.nights
    now += 3 * DAY
    for _ in range(3):  # to see what is empty, and then to remove it a day later
        cluster.follow(now)
        now += DAY
    cluster.follow(now)
    oldest = nights.begin(TABLE.wanted(now)[0])
    assert {night for night in cluster.nights if nights.begin(night) < oldest - DAY} == set()


def test_thirty_nights_pass() -> None:
    for site in SITES:
        cluster = Cluster(site)
        now = NOON
        for hour in range(30 * 24):
            now = NOON + hour * HOUR
            before = cluster.nights
            found = cluster.follow(now)
            if hour and found:
                assert nights.night_at(now) in before, "the present night was made too late"
                assert now % DAY == TABLE.turn, "something was changed while alerts stream"
            assert set(TABLE.wanted(now)) <= cluster.nights
            assert len(cluster.nights) <= 12
            wanted = wanted_acls(POLICY, site, known_nights(POLICY, site, cluster.topics))
            assert {acl for acl in wanted if names.parse_topic(acl.name)} == cluster.acls


def test_a_topic_that_holds_records_is_never_removed() -> None:
    cluster = Cluster("origin")
    cluster.follow(NOON)
    held = names.night_topic("20261127", 1)
    cluster.records = {held}
    for day in range(40):
        cluster.follow(NOON + day * DAY)
    assert held in cluster.topics
    assert names.night_topic("20261127", 2) not in cluster.topics
    cluster.records = set()
    cluster.follow(NOON + 40 * DAY)
    assert held in cluster.topics, "people may be about to publish to it"
    for day in (41, 42):
        cluster.follow(NOON + day * DAY)
    assert held not in cluster.topics


def test_a_night_of_long_ago_that_somebody_makes_stays_for_a_day_and_loses_no_grant() -> None:
    cluster = Cluster("public")
    cluster.follow(NOON)
    made = {topic.name: topic for topic in night_topics(POLICY, "public", ["20181129"])}
    cluster.topics |= made
    cluster.acls = set(wanted_acls(POLICY, "public", known_nights(POLICY, "public", cluster.topics)))
    assert not cluster.plan(NOON)
    assert not cluster.plan(NOON + 9 * HOUR)
    removed = [name for day in (1, 2) for name in cluster.follow(NOON + day * DAY).remove]
    assert removed == [*made, names.night_topic("20261120", 1)]
    assert not [acl for acl in cluster.acls if "20181129" in acl.name]


def test_a_night_of_the_far_future_that_somebody_makes_is_left_alone() -> None:
    cluster = Cluster("origin")
    cluster.topics |= {topic.name: topic for topic in night_topics(POLICY, "origin", ["20450101"])}
    for day in range(20):
        assert not cluster.follow(NOON + day * DAY).remove or day
    assert "20450101" in cluster.nights
    assert {acl.name for acl in cluster.acls} >= {"ztf_20450101_programid1"}


def test_a_second_program_does_not_give_back_the_grants_of_a_topic_that_is_being_removed() -> None:
    cluster = Cluster("origin")
    cluster.follow(NOON)
    old = {name: topic for name, topic in cluster.topics.items() if "20261120" in name}
    cluster.follow(NOON + DAY)  # first seen without records
    now = NOON + 9 * DAY
    first = cluster.plan(now)
    assert set(first.remove) >= set(old)
    cluster.acls -= set(first.grants.remove)
    second = nights.plan(POLICY, "origin", TABLE, now, cluster.topics, cluster.acls)
    assert not [acl for acl in second.grants.add if acl.name in old]


def test_nights_that_have_begun_keep_their_partitions_and_their_settings() -> None:
    cluster = Cluster("origin")
    cluster.follow(NOON)
    tonight, tomorrow = names.night_topic("20261127", 1), names.night_topic("20261128", 1)
    for name in (tonight, tomorrow):
        config = {**cluster.topics[name].config, "retention.ms": str(90 * 86_400_000)}
        cluster.topics[name] = replace(cluster.topics[name], config=config)
    more = Policy.read({**DATA, "topics_night": {**DATA["topics_night"], "partitions": 8}})
    found = nights.plan(more, "origin", TABLE, NOON, cluster.topics, cluster.acls)
    assert tonight not in found.topics.grow
    assert tonight not in found.topics.configure
    assert found.topics.grow[tomorrow] == (4, 8)
    assert found.topics.configure[tomorrow]["retention.ms"][1] == str(7 * 86_400_000)


def test_changed_users_have_changed_grants_on_all_nights_and_nothing_else_is_touched() -> None:
    cluster = Cluster("origin")
    cluster.follow(NOON)
    group = Acl("User:partner", "group", "partner", "literal", "read")
    denied = Acl("User:partner", "topic", names.night_topic("20261127", 2), "literal", "read", "deny")
    prefix = Acl("User:zads.night-keeper", "topic", "ztf_20", "prefixed", "create")
    cluster.acls |= {group, denied, prefix}
    assert not cluster.plan(NOON)
    less = Policy.read({**DATA, "users": [{"name": "partner", "site": "origin", "programmes": [1]}]})
    found = nights.plan(less, "origin", TABLE, NOON, cluster.topics, cluster.acls)
    assert {acl.name[-1] for acl in found.grants.remove} == {"2"}
    assert {acl.principal for acl in found.grants.remove} == {"User:partner"}
    assert not found.grants.add
    assert not found.remove


@pytest.mark.parametrize("name", ["ztf_20261340_programid1", "ztf_99999999_programid1", "ztf_filter_young", "other"])
def test_a_topic_that_is_of_no_night_is_nobodys_to_remove(name: str) -> None:
    assert nights.night_of(name) is None
    assert not TABLE.removable({name: 0.0, CANARIES or "": 0.0}, NOON)
    cluster = Cluster("origin")
    cluster.topics[name] = Topic(name, 1, 1)
    for day in range(20):
        cluster.follow(NOON + day * DAY)
    assert name in cluster.topics


@pytest.mark.parametrize(
    ("unready", "until", "tardy"),
    [
        ([], "2026-11-30T00:00:00", []),
        (["20261129"], "2026-11-29T00:00:00", []),
        (["20261128"], "2026-11-28T00:00:00", ["20261128"]),
        (["20261127", "20261126"], "2026-11-27T00:00:00", ["20261127"]),
    ],
)
def test_it_is_said_until_when_nights_are_ready_and_which_are_late(
    unready: Collection[str], until: str, tardy: list[str]
) -> None:
    assert nights.ready_until(TABLE.wanted(NOON), unready, NOON) == moment(until)
    assert nights.late(unready, NOON) == tardy


def test_a_plan_names_what_nights_lack_and_each_change() -> None:
    cluster = Cluster("public")
    found = cluster.plan(NOON)
    assert found.unready() == set(TABLE.wanted(NOON))
    lines = list(found.lines())
    assert "create ztf_20261127_programid1, 4 partitions" in lines
    assert "grant: allow User:reader read topic ztf_20261127_programid1" in lines
