"""A bad inventory is refused before any host is touched, by variable and file."""

import copy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def problems(plugin):
    return plugin("modules/preflight_inventory.py").problems


@pytest.fixture
def inventory(tmp_path):
    """What the module gets for the inventory that comes with the project."""
    variables = {}
    for path in (ROOT / "inventories/local/group_vars/all").glob("*.yml"):
        variables |= yaml.safe_load(path.read_text())
    names = {site: [f"{site}-{number}" for number in (1, 2, 3)] for site in ("origin", "public")}
    return copy.deepcopy(
        {
            "env": "local",
            "hosts": [[name, site, number] for site in names for number, name in enumerate(names[site], 1)],
            "groups": {f"{site}_{kind}": names[site] for site in names for kind in ("zookeeper", "kafka")},
            "night_topics": variables["topics_night"],
            "secrets": str(tmp_path),
            "filter_files": [str(path) for path in (ROOT / "src/zads/filters/builtin").glob("*.py")],
            **{key: variables[key] for key in ("programmes", "users", "filters", "filter_groups", "secrets_source")},
        }
    )


def test_the_inventory_that_comes_with_the_project_is_accepted(problems, inventory):
    assert problems(inventory) == []


BAD = {
    "a filter's file that is nowhere": (
        lambda i: i["filters"][0].update(file="mine.py:Mine"),
        "bright_young_transient needs mine.py, which is neither in inventories/local/filters nor built in",
    ),
    "a catalogue that is nowhere": (lambda i: i["filters"][0].update(data=["stars.csv"]), "needs stars.csv"),
    "a module that is nowhere": (
        lambda i: i["filters"][0].update(modules=["near.py"]),
        "needs near.py, which is neither",
    ),
    "a module of Python's name": (
        lambda i: i["filters"][0].update(modules=["random.py"]),
        "the module 'random.py': it must be NAME.py, and none of Python's own",
    ),
    "a module with a path": (lambda i: i["filters"][0].update(modules=["../a.py"]), "the module '../a.py': it must be"),
    "an even ensemble": (
        lambda i: i["groups"].update(origin_zookeeper=["origin-1", "origin-2"]),
        "inventories/local/hosts.yml: origin_zookeeper has 2 hosts",
    ),
    "no broker": (lambda i: i["groups"].pop("public_kafka"), "public_kafka has no host"),
    "a number twice": (lambda i: i["hosts"][1].__setitem__(2, 1), "node_id 1 is given twice in origin_kafka"),
    "no number": (lambda i: i["hosts"][0].__setitem__(2, 0), "node_id of origin-1"),
    "the other site's host": (lambda i: i["hosts"][0].__setitem__(1, "public"), "origin-1 is in origin_kafka"),
    "another answer to new schemas": (
        lambda i: i.update(new_schemas="maybe"),
        "inventories/local/group_vars/all/main.yml: producer_new_schemas is 'maybe', neither refuse nor accept",
    ),
    "two producers": (lambda i: i["groups"].update(producers=["a", "b"]), "producers has more than one host"),
    "more replicas than brokers": (
        lambda i: i["night_topics"].update(replication_factor=4),
        "inventories/local/group_vars/all/main.yml: topics_night.replication_factor is 4",
    ),
    "a minimum that allows no restart": (
        lambda i: i["night_topics"].update(min_insync_replicas=3),
        "min_insync_replicas is 3",
    ),
    "an unknown programme": (lambda i: i["programmes"].update({4: {"sites": ["origin"]}}), "programmes: 4"),
    "a programme that is not at origin": (
        lambda i: i["programmes"].update({2: {"sites": ["public"]}}),
        "programmes.2.sites must name origin",
    ),
    "a user who reads what their site has not": (
        lambda i: i["users"][0].update(programmes=[1, 2]),
        "group_vars/all/users.yml: users: reader reads programme 2 at public, where the data policy has it not",
    ),
    "a user of no site": (lambda i: i["users"][0].update(site="moon"), "reader has site 'moon'"),
    "a user with an operator's name": (lambda i: i["users"][0].update(name="admin-public"), "a name of the operators"),
    "users who share groups": (
        lambda i: i["users"].append({"name": "reader-2", "site": "public"}),
        "reader and reader-2 would share",
    ),
    "a user with a program's name": (lambda i: i["users"][0].update(name="zads.mirror"), "is no name"),
    "a group's name that the policy refuses": (
        lambda i: (i["filter_groups"].update({"a-b": {}}), i["filters"][0].update(group="a-b")),
        "inventories/local/group_vars/all: filters[0].group (bright_young_transient)",
    ),
    "off without quotes": (lambda i: i["filters"][0].update(state=yaml.safe_load("off")), 'write "off" in quotes'),
    "a user with a bad name": (lambda i: i["users"][0].update(name="O'Neil"), "is no name"),
    "a user twice": (lambda i: i["users"][1].update(name="reader"), "reader is named twice"),
    "a filter in no group": (lambda i: i["filters"][0].update(group="none"), "which filter_groups does not name"),
    "a filter of nobody": (lambda i: i["filters"][0].update(owner="nobody"), "whom users does not name"),
    "a filter's unknown state": (lambda i: i["filters"][0].update(state="live"), "has state 'live'"),
    "given secrets that are not there": (lambda i: i.update(secrets_source="given"), "passwords.yml is missing"),
    "secrets from nowhere": (lambda i: i.update(secrets_source="vault"), "secrets_source is 'vault'"),
}


@pytest.mark.parametrize(("spoil", "says"), BAD.values(), ids=BAD)
def test_a_bad_inventory_is_refused_by_name(problems, inventory, spoil, says):
    spoil(inventory)
    found = problems(inventory)
    assert any(says in problem for problem in found), found


def test_several_mirrors_are_accepted(problems, inventory):
    inventory["groups"]["mirrors"] = ["a", "b"]
    assert problems(inventory) == []


def test_all_problems_are_told_at_once(problems, inventory):
    inventory["groups"]["origin_zookeeper"] = ["origin-1"]
    inventory["users"][0]["site"] = "moon"
    assert len(problems(inventory)) == 2
