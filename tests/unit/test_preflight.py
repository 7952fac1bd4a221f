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
            "policy": variables,
            "new_schemas": "refuse",
            "secrets": str(tmp_path),
            "secrets_source": variables["secrets_source"],
            "filter_files": [str(path) for path in (ROOT / "src/zads/filters/builtin").glob("*.py")],
        }
    )


def test_the_inventory_that_comes_with_the_project_is_accepted(problems, inventory):
    assert problems(inventory) == []


HOSTS = "inventories/local/hosts.yml: "
MAIN, USERS, FILTERS = (f"inventories/local/group_vars/all/{name}.yml: " for name in ("main", "users", "filters"))


BRIGHT = f"{FILTERS}filters.bright_young_transient"
NOWHERE = "is neither built in nor in inventories/local/filters: put it there, or write the name of another file"


def a_filter(**changes):
    return lambda i: i["policy"]["filters"][0].update(changes)


# What is spoilt, and the one line that says so. tests/unit/test_policy.py has the data about topics and access.
BAD = {
    "an even ensemble": (
        lambda i: i["groups"].update(origin_zookeeper=["origin-1", "origin-2"]),
        f"{HOSTS}origin_zookeeper: has 2 hosts: write 3 or 5",
    ),
    "no ensemble": (
        lambda i: i["groups"].pop("public_zookeeper"),
        f"{HOSTS}public_zookeeper: has no host: write three or more",
    ),
    "a number twice": (
        lambda i: (
            i["hosts"].append(["origin-4", "origin", 1]),
            i["groups"].update(origin_kafka=["origin-1", "origin-2", "origin-3", "origin-4"]),
        ),
        f"{HOSTS}node_id: 1 is given to 2 hosts of origin_kafka: write another for each",
    ),
    "two producers": (
        lambda i: i["groups"].update(producers=["a", "b"]),
        f"{HOSTS}producers: has 2 hosts, and a night has one ledger: write one host",
    ),
    "another answer to new schemas": (
        lambda i: i.update(new_schemas="maybe"),
        f"{MAIN}producer_new_schemas: 'maybe' cannot be used: write refuse or accept",
    ),
    "secrets from nowhere": (
        lambda i: i.update(secrets_source="vault"),
        f"{MAIN}secrets_source: 'vault' cannot be used: write generated or given",
    ),
    "a replica for more brokers than one site has": (
        lambda i: i["groups"].update(public_kafka=["public-1", "public-2"]),
        f"{MAIN}topics_night.replication_factor: is 3, and public_kafka has 2 brokers: write 2 or less, or add brokers",
    ),
    "a misspelt key of a user": (
        lambda i: i["policy"]["users"].append({"name": "carol", "site": "public", "programs": [1]}),
        f"{USERS}users.carol.programs: means nothing here: write one of name, site, programmes",
    ),
    "a filter's file that is nowhere": (a_filter(file="mine.py:Mine"), f"{BRIGHT}.file: mine.py {NOWHERE}"),
    "a catalogue that is nowhere": (a_filter(data=["stars.csv"]), f"{BRIGHT}.data: stars.csv {NOWHERE}"),
    "a module that is nowhere": (a_filter(modules=["near.py"]), f"{BRIGHT}.modules: near.py {NOWHERE}"),
}


@pytest.mark.parametrize(("spoil", "line"), BAD.values(), ids=BAD)
def test_a_problem_is_one_line_with_file_variable_and_remedy(problems, inventory, spoil, line):
    spoil(inventory)
    assert problems(inventory) == [line]


@pytest.mark.parametrize("name", ["random.py", "../a.py", "a-b.py"])
def test_a_module_must_have_a_name_that_can_be_imported_and_is_not_pythons(problems, inventory, name):
    inventory["policy"]["filters"][0]["modules"] = [name]
    line = f"{BRIGHT}.modules: {name!r} cannot be used: write NAME.py, other than the name of a module of Python"
    assert line in problems(inventory)


def test_a_host_without_a_number_or_of_the_other_site_is_named_for_each_of_its_groups(problems, inventory):
    inventory["hosts"][0] = ["origin-1", "public", 0]
    assert sorted(set(problems(inventory))) == [
        f"{HOSTS}origin-1.node_id: 0 cannot be used: write a number from 1 to 255",
        f"{HOSTS}origin-1.site: is 'public', and origin-1 is in origin_kafka: write origin",
        f"{HOSTS}origin-1.site: is 'public', and origin-1 is in origin_zookeeper: write origin",
    ]


def test_a_site_without_brokers_is_refused(problems, inventory):
    del inventory["groups"]["public_kafka"]
    assert f"{HOSTS}public_kafka: has no host: write three or more" in problems(inventory)


def test_given_secrets_that_are_not_there_are_refused(problems, inventory):
    inventory["secrets_source"] = "given"
    assert problems(inventory) == [
        f"{inventory['secrets']}/passwords.yml: is missing, and secrets_source is given: put your secrets there"
    ]


def test_several_mirrors_are_accepted(problems, inventory):
    inventory["groups"]["mirrors"] = ["a", "b"]
    assert problems(inventory) == []


def test_all_problems_are_reported_at_once(problems, inventory):
    inventory["groups"]["origin_zookeeper"] = ["origin-1"]
    inventory["policy"]["users"][0]["site"] = "moon"
    inventory["policy"]["filters"][1]["state"] = False
    inventory["new_schemas"] = "maybe"
    assert len(problems(inventory)) == 4
