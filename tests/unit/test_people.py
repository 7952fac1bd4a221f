"""Who people are: when their accounts end, where they may come from, and how much they may take."""

from __future__ import annotations

import copy
import datetime
from typing import Any

import pytest

from test_access import DATA, NIGHTS
from zads import names, quotas
from zads.site import access, limits, people, standing
from zads.site.limits import UNLIMITED
from zads.site.policy import SITES, Policy

TODAY = datetime.date(2031, 6, 30)
BROKERS = ["public-1", "public-2", "public-3"]


def policy(*, everybody: dict[str, int] | None = None, **reader: Any) -> Policy:
    """The data with changes of the user `reader` and of everybody's limits."""
    data = copy.deepcopy(DATA)
    data["users"][0].update(reader)
    return Policy.read({**data, "users_limits": everybody or {}}, TODAY)


def grants(wanted: Policy) -> list[access.Acl]:
    return access.wanted_acls(wanted, "public", access.known_nights(wanted, "public", [], NIGHTS))


# Until when


@pytest.mark.parametrize("last", [TODAY, "2031-06-30", "2031-07-01", None])
def test_an_account_holds_to_the_end_of_its_last_day(last: object) -> None:
    found = policy(expires=last)
    assert "reader" in access.accounts(found, "public")
    assert found.expired == ()


@pytest.mark.parametrize("last", ["2031-06-29", datetime.date(1999, 1, 1)])
def test_after_its_last_day_an_account_has_nothing(last: object) -> None:
    found = policy(expires=last)
    assert [user.name for user in found.expired] == ["reader"]
    for site in SITES:
        assert "reader" not in access.accounts(found, site)
    assert not [acl for acl in grants(found) if acl.principal == "User:reader"]
    assert quotas.user("reader") not in limits.wanted_quotas(found, "public", BROKERS)


def test_a_filter_may_belong_to_somebody_whose_account_has_ended() -> None:
    data = copy.deepcopy(DATA)
    data["users"][1]["expires"] = "2031-01-01"
    found = Policy.read(data, TODAY)
    assert [one.name for one in found.running_filters("transients")] == ["young", "fast"]


def test_accounts_that_end_within_weeks_are_named_with_whom_to_ask() -> None:
    data = copy.deepcopy(DATA)
    data["users"] = [
        {"name": "soon", "site": "public", "expires": "2031-07-10", "contact": "soon@example.org"},
        {"name": "later", "site": "public", "expires": "2031-07-29"},
        {"name": "ended", "site": "public", "expires": "2031-06-01"},
        {"name": "elsewhere", "site": "origin", "expires": "2031-07-01"},
        {"name": "always", "site": "public"},
    ]
    found = Policy.read({**data, "filters": []}, TODAY)
    assert people.ending([*found.users, *found.expired], "public", TODAY, 28) == [
        "the account of ended has ended on 2031-06-01: remove the user from users.yml, or write a later day",
        "the account of soon (soon@example.org) ends in 10 days, after 2031-07-10: "
        "tell them, or write a later day in users.yml",
    ]


# From where


def test_each_address_is_a_grant_spelt_as_a_broker_spells_it() -> None:
    found = grants(policy(networks=["192.0.2.7", "198.51.100.8/31", "2001:db8::7"]))
    hosts = {acl.host for acl in found if acl.principal == "User:reader"}
    assert hosts == {"192.0.2.7", "198.51.100.8", "198.51.100.9", "2001:db8:0:0:0:0:0:7"}
    assert {acl.host for acl in found if acl.principal != "User:reader"} == {"*"}


def test_without_networks_a_user_may_come_from_anywhere() -> None:
    assert {acl.host for acl in grants(policy())} == {"*"}


# How much


def test_everybody_has_limits_and_a_broker_has_its_share_of_them() -> None:
    found = limits.wanted_quotas(policy(everybody={"read": 10_000_000}), "public", BROKERS)
    everybody = found[quotas.user(None)]
    assert everybody["consumer_byte_rate"] == 3_333_334
    assert everybody["request_percentage"] == 20
    assert 0 < everybody["producer_byte_rate"] <= 100_000, "users write nothing"
    assert quotas.user("reader") not in found


def test_a_user_has_limits_of_their_own_and_those_of_everybody_for_the_rest() -> None:
    found = limits.wanted_quotas(policy_with_own(), "public", BROKERS)
    assert found[quotas.user("reader")]["consumer_byte_rate"] == 20_000_000
    assert found[quotas.user("reader")]["request_percentage"] == 7


def policy_with_own() -> Policy:
    data = copy.deepcopy(DATA)
    data["users"][0]["limits"] = {"read": 60_000_000}
    return Policy.read({**data, "users_limits": {"requests": 7}}, TODAY)


@pytest.mark.parametrize("site", SITES)
def test_no_program_broker_or_operator_is_limited_even_for_a_moment(site: Any) -> None:
    found = list(limits.wanted_quotas(policy(), site, BROKERS).items())
    unlimited = {entity[0][1] for entity, values in found if values == UNLIMITED}
    programs = {name for name in access.accounts(policy(), site) if names.is_program(name)}
    assert unlimited == {*programs, names.ADMIN, *map(names.broker_principal, BROKERS)}
    assert found[-1][0] == quotas.user(None), "everybody's limits are set before a program has its own"


def test_the_changes_of_limits_lead_from_present_to_wanted() -> None:
    everybody, reader, odd = quotas.user(None), quotas.user("reader"), (("client-id", "x"), ("user", "reader"))
    wanted = {reader: {"a": 1.0}, everybody: {"a": 2.0, "b": 3.0}}
    present = {everybody: {"a": 2.0, "c": 4.0}, odd: {"a": 9.0}}
    changes = limits.quota_changes(wanted, present)
    assert changes == {reader: {"a": 1.0}, everybody: {"b": 3.0, "c": None}, odd: {"a": None}}
    assert limits.quota_changes(wanted, wanted) == {}


# What changes


def given(wanted: Policy) -> standing.Standing:
    return standing.wanted_standing(wanted, "public", grants(wanted), BROKERS)


NOBODY = standing.Standing([], [], {})


def lines(wanted: Policy, present: standing.Standing) -> list[str]:
    return [str(change) for change in standing.user_changes(wanted, "public", given(wanted), present)]


def test_a_first_plan_adds_everybody() -> None:
    assert lines(policy(), NOBODY) == [
        "added alice: gets the account, consumer groups of their name, what the filter fast passes, "
        "what the filter young passes, what their filters count",
        "added reader: gets the account, consumer groups of their name, programme 1, "
        "what the filter asteroid passes, what their filters count",
    ]


def test_a_plan_for_a_site_that_is_right_is_empty() -> None:
    assert lines(policy(), given(policy())) == []
    assert standing.limits_changes(given(policy()).quotas, given(policy()).quotas) == []


def test_a_plan_says_what_each_loses_and_gets() -> None:
    present = given(policy())
    assert lines(policy(programmes=[]), present) == ["changed reader: loses programme 1"]
    [limited] = lines(policy_with_own(), present)
    assert limited == ("changed reader: gets limits of their own (20000000 bytes/s and 7 % of a thread on each broker)")
    [placed] = lines(policy(networks=["192.0.2.7"]), present)
    assert placed == "changed reader: gets connections from 192.0.2.7 only"


def test_a_plan_tells_the_expired_from_the_revoked() -> None:
    present = given(policy())
    without = Policy.read({**copy.deepcopy(DATA), "users": DATA["users"][1:], "filters": []}, TODAY)
    assert lines(without, present) == [
        "changed alice: loses what the filter fast passes, what the filter young passes, what their filters count",
        "revoked reader: loses the account, consumer groups of their name, programme 1, "
        "what the filter asteroid passes, what their filters count",
    ]
    [ended] = lines(policy(expires="2031-06-29"), present)
    assert ended == (
        "expired reader: loses the account, consumer groups of their name, programme 1, "
        "what the filter asteroid passes, what their filters count; the last day was 2031-06-29"
    )
    assert lines(policy(expires="2031-06-29"), given(policy(expires="2031-06-29"))) == []


def test_a_plan_names_the_filters_of_an_expired_owner() -> None:
    data = copy.deepcopy(DATA)
    data["users"][1]["expires"] = "2031-01-01"
    [line] = lines(Policy.read(data, TODAY), given(policy()))
    assert line.endswith('their filters run on until their state is "off": young, fast')


def test_a_plan_finds_what_somebody_else_has_given() -> None:
    present = given(policy())
    odd = standing.Standing(
        [*present.accounts, "mallory"],
        [*present.acls, access.Acl("User:eve", "topic", "zads_rejected", "literal", "read")],
        {**present.quotas, quotas.user("trent"): {"consumer_byte_rate": 5.0}},
    )
    assert lines(policy(), odd) == [
        "revoked eve: loses topic zads_rejected",
        "revoked mallory: loses the account",
        "revoked trent: loses limits of their own (5 bytes/s on each broker)",
    ]


def test_a_missing_grant_of_one_night_is_put_right() -> None:
    present = given(policy())
    fewer = [acl for acl in present.acls if acl.name != "ztf_20181130_programid1"]
    assert lines(policy(), standing.Standing(present.accounts, fewer, present.quotas)) == [
        "changed reader: 2 grants are put right"
    ]


def test_a_plan_says_if_everybodys_limits_change() -> None:
    now, then = given(policy()).quotas, given(policy(everybody={"read": 3_000_000})).quotas
    assert standing.limits_changes(then, now) == [
        "changed everybody without limits of their own: 1000000 bytes/s and 20 % of a thread on each broker; "
        "was 3333334 bytes/s and 20 % of a thread on each broker"
    ]
    assert standing.limits_changes(then, {})[0].endswith("was no limit")
