"""The inventory's data about topics and access: every rule, and one line for each problem."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from zads.site import access
from zads.site.policy import SITES, Policy, PolicyError

ROOT = Path(__file__).resolve().parents[2]
Data = dict[str, Any]
DATA: Data = {
    "topics_night": {"partitions": 16, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 7},
    "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin"]}},
    "users": [
        {"name": "reader", "site": "public", "programmes": [1]},
        {"name": "alice", "site": "public"},
        {"name": "partner", "site": "origin", "programmes": [1, 2]},
    ],
    "filters": [
        {"name": "young", "owner": "alice", "group": "transients", "state": "active", "cap": 20},
        {"name": "fast", "owner": "alice", "group": "transients", "state": "shadow"},
        {"name": "asteroid", "owner": "reader", "group": "moving", "state": "off", "file": "cuts.py:Asteroid"},
    ],
    "filter_groups": {"transients": {"workers": 1}, "moving": None},
}

MAIN, USERS, FILTERS = (f"group_vars/all/{name}.yml: " for name in ("main", "users", "filters"))
USER_KEYS = "name, contact, site, programmes, limits, expires, networks"
USER_NAME = "write 2 to 63 small letters and digits, joined by single - or _, a letter first"
NETWORKS = (
    "a list of addresses and networks with at most 16 addresses together, such as [192.0.2.7, 198.51.100.8/30]; "
    "a firewall can admit larger networks"
)
FILTER_NAME = "write 2 to 63 small letters and digits, joined by single _, a letter first"
GROUP_NAME = "write 1 to 63 small letters and digits, joined by single _, a letter first"
STATES = 'write shadow, active or "off", in quotes since YAML reads the bare word off as false'
FILTER_KEYS = "write one of name, owner, group, state, cap, programmes, file, modules, data, description"


def topics_night(**changes: Any) -> Callable[[Data], object]:
    return lambda data: data["topics_night"].update(changes)


def user(**changes: Any) -> Callable[[Data], object]:
    """The first user, with changes; nothing else refers to them."""
    return lambda data: (data["users"][0].update(changes), data["filters"].pop())


def another_user(**entry: Any) -> Callable[[Data], object]:
    return lambda data: data["users"].append({"site": "public", **entry})


def a_filter(**changes: Any) -> Callable[[Data], object]:
    return lambda data: data["filters"][0].update(changes)


def group(name: str, settings: Any = None) -> Callable[[Data], object]:
    return lambda data: data["filter_groups"].update({name: settings})


def variable(name: str, value: Any) -> Callable[[Data], object]:
    return lambda data: data.update({name: value})


def without(name: str, key: str) -> Callable[[Data], object]:
    def remove(data: Data) -> None:
        entry = data[name] if isinstance(data[name], dict) else data[name][0]
        del entry[key]

    return remove


# What is spoilt, and the one line that says so.
WRONG: dict[str, tuple[Callable[[Data], object], str]] = {
    "a filter on the board that is not there": (
        lambda data: data.update(board={"filters": ["none"]}),
        f"{MAIN}board.filters: 'none' is not a filter: write the names of filters",
    ),
    "a filter on the board that reads more than everybody may": (
        lambda data: (data["programmes"][2]["sites"].append("public"), data.update(board={"filters": ["young"]})),
        f"{MAIN}board.filters: young also reads programme 2, which is not for everybody: leave it out, or write "
        "filters.young.programmes: [1]",
    ),
    "a board with a misspelt list": (
        lambda data: data.update(board={"filter": ["young"]}),
        f"{MAIN}board.filter: means nothing here: write one of filters",
    ),
    "no retention": (
        without("topics_night", "retention_days"),
        f"{MAIN}topics_night.retention_days: is missing: write a number of days above 0",
    ),
    "endless retention": (
        topics_night(retention_days=float("inf")),
        f"{MAIN}topics_night.retention_days: inf cannot be used: write a number of days above 0",
    ),
    "no partition": (
        topics_night(partitions=0),
        f"{MAIN}topics_night.partitions: 0 cannot be used: write a number from 1 to 1000",
    ),
    "a misspelt setting of topics": (
        topics_night(retention_hours=7),
        f"{MAIN}topics_night.retention_hours: means nothing here: "
        "write one of partitions, replication_factor, min_insync_replicas, retention_days",
    ),
    "a minimum that allows no restart": (
        topics_night(min_insync_replicas=3),
        f"{MAIN}topics_night.min_insync_replicas: 3 replicas must have a record, and there are 3, so that no broker "
        "could ever be restarted: write less than replication_factor",
    ),
    "topics that are a word": (
        variable("topics_night", "many"),
        f"{MAIN}topics_night: 'many' cannot be used: "
        "write {partitions: …, replication_factor: …, min_insync_replicas: …, retention_days: …}",
    ),
    "an unknown programme": (
        lambda data: data["programmes"].update({4: {"sites": ["origin"]}}),
        f"{MAIN}programmes.4: is not a programme: write one of 1, 2, 3",
    ),
    "a programme that is public and not at origin": (
        lambda data: data["programmes"].update({3: {"sites": ["public"]}}),
        f"{MAIN}programmes.3.sites: does not name origin, where every alert begins: write [origin, …]",
    ),
    "a programme at no site": (
        lambda data: data["programmes"].update({3: {"sites": ["moon", "sun"]}}),
        f"{MAIN}programmes.3.sites: ['moon', 'sun'] cannot be used: write [origin] or [origin, public]",
    ),
    "a programme without sites": (
        lambda data: data["programmes"].update({3: None}),
        f"{MAIN}programmes.3.sites: is missing: write [origin] or [origin, public]",
    ),
    "a user's misspelt key": (
        user(program=[1]),
        f"{USERS}users.reader.program: means nothing here: write one of {USER_KEYS}",
    ),
    "a user without a name": (
        lambda data: data["users"].append({"site": "public"}),
        f"{USERS}users[3].name: is missing: {USER_NAME}",
    ),
    "a user of no site": (
        user(site="moon"),
        f"{USERS}users.reader.site: 'moon' cannot be used: write origin or public",
    ),
    "a user's programmes that are no list": (
        user(programmes="all"),
        f"{USERS}users.reader.programmes: 'all' cannot be used: write a list of programmes' numbers, such as [1]",
    ),
    "a user who reads what the policy does not allow": (
        user(programmes=[1, 2]),
        f"{USERS}users.reader.programmes: programme 2 is not allowed at public: write only [1], or change programmes.2",
    ),
    "a user who reads a programme that is not there": (
        another_user(name="carol", site="origin", programmes=[3]),
        f"{USERS}users.carol.programmes: programme 3 is not allowed at origin: "
        "write only [1, 2], or change programmes.3",
    ),
    "a user with a program's name": (
        another_user(name="zads.mirror"),
        f"{USERS}users.zads.mirror.name: 'zads.mirror' cannot be used: {USER_NAME}",
    ),
    "a user with a bad name": (
        another_user(name="O'Neil"),
        f"{USERS}users.O'Neil.name: \"O'Neil\" cannot be used: {USER_NAME}",
    ),
    "a user with a name of one letter": (
        another_user(name="x"),
        f"{USERS}users.x.name: 'x' cannot be used: {USER_NAME}",
    ),
    "a user whose name is a number": (another_user(name=17), f"{USERS}users[3].name: 17 cannot be used: {USER_NAME}"),
    "a user with an operator's name": (
        another_user(name="admin-public"),
        f"{USERS}users.admin-public.name: is a name of the operators, whose files are admin-SITE: write another name",
    ),
    "users who share groups": (
        another_user(name="alice-2"),
        f"{USERS}users.alice-2.name: is also a consumer group of alice, who has all that begin with alice-: "
        "write another name for one of them",
    ),
    "a user twice": (
        another_user(name="partner"),
        f"{USERS}users.partner: is there twice: give one of them another name",
    ),
    "a user that is a word": (
        lambda data: data["users"].append("carol"),
        f"{USERS}users[3]: 'carol' cannot be used: write {{{USER_KEYS.replace(',', ': …,')}: …}}",
    ),
    "a user's limit that is none": (
        user(limits={"read": 0}),
        f"{USERS}users.reader.limits: {{'read': 0}} cannot be used: "
        "write {read: BYTES_A_SECOND, requests: PERCENT}, or one of them, or leave it out",
    ),
    "a misspelt limit of everybody": (
        variable("users_limits", {"reads": 5}),
        f"{USERS}users_limits.reads: means nothing here: write one of read, requests",
    ),
    "a last day that is a number": (
        user(expires=20310630),
        f"{USERS}users.reader.expires: 20310630 cannot be used: "
        "write the last day (UTC) of the account, such as 2031-06-30",
    ),
    "a last day that no calendar has": (
        user(expires="2031-02-30"),
        f"{USERS}users.reader.expires: '2031-02-30' cannot be used: "
        "write the last day (UTC) of the account, such as 2031-06-30",
    ),
    "a network that no broker can compare": (
        user(networks=["192.0.2.0/24"]),
        f"{USERS}users.reader.networks: has more addresses than brokers can compare: write {NETWORKS}",
    ),
    "networks that are many together": (
        user(networks=["192.0.2.0/28", "2001:db8::7"]),
        f"{USERS}users.reader.networks: has more addresses than brokers can compare: write {NETWORKS}",
    ),
    "an address that is a number": (
        user(networks=[7]),
        f"{USERS}users.reader.networks: [7] cannot be used: write {NETWORKS}",
    ),
    "a contact of two lines": (
        user(contact="a\nb"),
        f"{USERS}users.reader.contact: 'a\\nb' cannot be used: write how to reach them, such as an e-mail address",
    ),
    "users that are no list": (
        lambda data: data.update(users={"reader": {}}, filters=[]),
        f"{USERS}users: {{'reader': {{}}}} cannot be used: write a list of entries, each with a name",
    ),
    "a filter with a hyphen": (
        a_filter(name="my-filter"),
        f"{FILTERS}filters.my-filter.name: 'my-filter' cannot be used: {FILTER_NAME}",
    ),
    "a filter of one letter": (a_filter(name="x"), f"{FILTERS}filters.x.name: 'x' cannot be used: {FILTER_NAME}"),
    "a filter twice": (
        a_filter(name="fast"),
        f"{FILTERS}filters.fast: is there twice: give one of them another name",
    ),
    "a filter's misspelt key": (a_filter(caps=3), f"{FILTERS}filters.young.caps: means nothing here: {FILTER_KEYS}"),
    "a filter's cap of none": (
        a_filter(cap=0),
        f"{FILTERS}filters.young.cap: 0 cannot be used: write the most alerts of an exposure, 1 or more",
    ),
    "a filter of nobody": (
        a_filter(owner="nobody"),
        f"{FILTERS}filters.young.owner: 'nobody' is not a user of the public site: write the name of one",
    ),
    "a filter of a user of origin": (
        a_filter(owner="partner"),
        f"{FILTERS}filters.young.owner: 'partner' is not a user of the public site: write the name of one",
    ),
    "a filter without an owner": (
        without("filters", "owner"),
        f"{FILTERS}filters.young.owner: is missing: write the name of a user of the public site",
    ),
    "a filter in no group": (
        a_filter(group="none"),
        f"{FILTERS}filters.young.group: 'none' is not in filter_groups: write transients or moving, or add it there",
    ),
    "a filter's unknown state": (
        a_filter(state="live"),
        f"{FILTERS}filters.young.state: 'live' cannot be used: {STATES}",
    ),
    "off without quotes": (
        a_filter(state=yaml.safe_load("off")),
        f"{FILTERS}filters.young.state: False cannot be used: {STATES}",
    ),
    "a filter that reads what the policy does not allow": (
        a_filter(programmes=[1, 2]),
        f"{FILTERS}filters.young.programmes: programme 2 is not allowed at public: "
        "write only [1], or change programmes.2",
    ),
    "a filter's modules that are no list": (
        a_filter(modules="near.py"),
        f"{FILTERS}filters.young.modules: 'near.py' cannot be used: "
        "write a list of the modules that it imports, such as [NEAR.py]",
    ),
    "a group with a hyphen": (group("my-group"), f"{FILTERS}filter_groups.my-group: cannot be a name: {GROUP_NAME}"),
    "a group's misspelt key": (
        group("moving", {"worker": 2}),
        f"{FILTERS}filter_groups.moving.worker: means nothing here: write one of workers",
    ),
    "a group of fewer than no workers": (
        group("moving", {"workers": -1}),
        f"{FILTERS}filter_groups.moving.workers: -1 cannot be used: write a number of workers, such as 1",
    ),
    "groups that are a list": (
        lambda data: data.update(filter_groups=["moving"], filters=[]),
        f"{FILTERS}filter_groups: ['moving'] cannot be used: write a line NAME: {{workers: NUMBER}} for each",
    ),
}


def problems(data: Data) -> list[str]:
    try:
        Policy.read(data)
    except PolicyError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(("spoil", "line"), WRONG.values(), ids=WRONG)
def test_a_problem_is_one_line_with_what_to_write_instead(spoil: Callable[[Data], object], line: str) -> None:
    data = copy.deepcopy(DATA)
    assert problems(data) == []
    spoil(data)
    assert problems(data) == [line]


def test_one_replica_is_refused_whatever_the_minimum_is() -> None:
    data = copy.deepcopy(DATA)
    data["topics_night"] |= {"replication_factor": 1, "min_insync_replicas": 1}
    assert problems(data) == [
        f"{MAIN}topics_night.replication_factor: 1 cannot be used: write a number of replicas, 2 or more"
    ]


def test_no_programme_at_all_is_refused() -> None:
    assert f"{MAIN}programmes: is empty, and no topic would be made: write 1: {{sites: [origin, public]}}" in problems(
        {**DATA, "programmes": {}}
    )


def test_all_problems_are_reported_at_once() -> None:
    spoilt = [spoil for name, (spoil, _) in WRONG.items() if name in TOGETHER]
    data = copy.deepcopy(DATA)
    for spoil in spoilt:
        spoil(data)
    assert sorted(problems(data)) == sorted(line for name, (_, line) in WRONG.items() if name in TOGETHER)


TOGETHER = {
    "no retention", "an unknown programme", "a user with a bad name", "users who share groups", "a group with a hyphen",
    "a filter with a hyphen", "a user who reads a programme that is not there",
}  # fmt: skip


def test_the_numbers_of_programmes_may_be_text_as_in_json() -> None:
    data = {**copy.deepcopy(DATA), "programmes": {str(key): value for key, value in DATA["programmes"].items()}}
    assert Policy.read(data).allowed("origin") == {1, 2}


@pytest.mark.parametrize("env", sorted(path.parent.name for path in (ROOT / "inventories").glob("*/hosts.yml")))
def test_the_policy_of_every_inventory_can_be_granted(env: str) -> None:
    variables: Data = {}
    for path in sorted((ROOT / "inventories" / env / "group_vars/all").glob("*.yml")):
        variables |= yaml.safe_load(path.read_text())
    policy = Policy.read(variables)
    assert all(access.wanted_acls(policy, site, access.known_nights(policy, site, [])) for site in SITES)
