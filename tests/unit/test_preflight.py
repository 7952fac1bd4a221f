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
        f"{USERS}users.carol.programs: means nothing here: "
        "write one of name, contact, site, programmes, limits, expires, networks",
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


# Who hears of alarms


def test_a_receiver_of_alarms_that_cannot_be_reached_is_named_with_its_file(problems, inventory):
    inventory["alarms"] = {
        "alarms_to": [{"name": "night", "mail": "nobody"}],
        "alarms_mail": None,
        "alarms_secrets": {},
    }
    assert problems(inventory) == [
        f"{MAIN}alarms_to.night.mail: 'nobody' is no address: write one, such as night@example.org",
        f"{MAIN}alarms_mail: is missing, and night gets mail: write {{relay: HOST:PORT, sender: ADDRESS}}",
    ]


# The load of the survey

LOAD = {"alerts_night": 60_000, "alerts_second": 20, "packet_kb": 66, "programmes": {1: 0.4, 2: 0.4, 3: 0.2}}


@pytest.fixture(scope="module")
def module(plugin):
    return plugin("modules/preflight_inventory.py")


def test_an_inventory_without_a_load_has_nothing_to_compare(module, inventory):
    for load in ({}, None):
        inventory["load"] = load
        assert (module.problems(inventory), module.tight(inventory)) == ([], [])


def test_a_load_that_the_inventory_holds_is_accepted(module, inventory):
    inventory["load"] = LOAD
    assert (module.problems(inventory), module.tight(inventory)) == ([], [])


def test_a_load_that_says_nothing_is_named_with_its_file(problems, inventory):
    inventory["load"] = LOAD | {"alerts_nite": 3, "packet_kb": 0}
    assert problems(inventory) == [
        f"{MAIN}survey_load.packet_kb: 0 cannot be used: write the mean size of a packet in KB, such as 66",
        f"{MAIN}survey_load.alerts_nite: means nothing here: write one of alerts_night, alerts_second, packet_kb, "
        "programmes, night_hours, catching_up, filter_part",
    ]


def test_an_ensemble_on_its_way_to_another_size_is_named(module, inventory):
    inventory["groups"]["public_zookeeper"] = [*inventory["groups"]["public_zookeeper"], "public-4"]
    inventory["hosts"].append(["public-4", "public", 4])
    assert module.problems(inventory) == []
    (line,) = module.tight(inventory)
    assert line == f"{HOSTS}public_zookeeper: has 4 hosts, and no more of them may fail than of 3: go on to 5 or 3"


def test_a_load_that_no_machine_holds_is_refused_and_a_tight_one_is_said(module, inventory):
    inventory["load"] = LOAD | {"alerts_night": 300_000_000, "alerts_second": 9000}
    assert [line.split(": ")[1] for line in module.problems(inventory)] == ["survey_load.alerts_night"]
    inventory["refuse_load"] = False
    assert module.problems(inventory) == []
    assert [line.split(": ")[1] for line in module.tight(inventory)] == [
        "survey_load.alerts_night", "filter_groups.moving.workers", "filter_groups.transients.workers"
    ]  # fmt: skip
    inventory["refuse_load"] = True
    inventory["load"] = LOAD | {"alerts_second": 2600}
    inventory["policy"]["topics_night"]["partitions"] = 1
    assert module.problems(inventory) == []
    assert [line.split(": ")[1] for line in module.tight(inventory)] == [
        "survey_load.alerts_second", "topics_night.partitions"
    ]  # fmt: skip


def test_a_load_is_not_planned_for_an_inventory_that_cannot_work(problems, inventory):
    inventory["load"] = LOAD
    del inventory["groups"]["public_kafka"]
    assert problems(inventory)[0] == f"{HOSTS}public_kafka: has no host: write three or more"


@pytest.fixture
def broker(inventory):
    """What the module preflight_load gets for a broker of the inventory."""
    inventory["load"] = LOAD
    return {
        "env": "local",
        "host": "origin-1",
        "member_of": ["kafka", "origin_kafka", "zookeeper"],
        "groups": inventory["groups"],
        "load": LOAD,
        "policy": inventory["policy"],
        "settings": {"kafka_data": ["/var/lib/kafka"], "kafka_heap": "4g", "kafka_open_files": 16384,
                     "zookeeper_heap": "512m", "producer_spool": "/var/lib/zads/producer/spool"},
        "facts": {"container": False, "memory_mb": 16384, "processors": 8, "network_mbit": 0,
                  "disks": {"/var/lib/kafka": {"device": 1, "bytes": 10**12}}},
    }  # fmt: skip


def test_a_machine_that_holds_the_load_is_accepted(plugin, broker):
    found = plugin("modules/preflight_load.py").compare(broker)
    assert (found.refused, found.tight) == ([], [])


def test_a_disk_that_is_smaller_than_the_retention_is_refused_with_what_to_do(plugin, broker):
    broker["facts"]["disks"]["/var/lib/kafka"]["bytes"] = 15 * 10**9
    assert plugin("modules/preflight_load.py").compare(broker).refused == [
        "kafka_data has room for 15 GB, and 7 days of alerts take 20.4 GB of each broker: add disks to kafka_data, add "
        "brokers, or lower topics_night.retention_days"
    ]


def test_what_the_machine_lacks_for_its_heaps_is_refused(plugin, broker):
    broker["facts"]["memory_mb"] = 5500
    assert plugin("modules/preflight_load.py").compare(broker).refused == [
        "it has 5.37 GiB of memory, and its daemons and programs need 6.08 GiB: give it more, or smaller heaps"
    ]


@pytest.mark.parametrize("env", ["local", "bench", "vagrant"])
def test_inventories_of_laptops_state_no_load(env):
    assert "survey_load" not in (ROOT / f"inventories/{env}/group_vars/all/main.yml").read_text()


def test_containers_are_not_compared():
    tasks = yaml.safe_load((ROOT / "roles/preflight/tasks/main.yml").read_text())
    conditions = next(task["when"] for task in tasks if "preflight_load" in task)
    assert "not ansible_facts.host_facts.container" in conditions
