#!/usr/bin/python
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports
"""Refuse an inventory that cannot work, naming the variable and the file to change."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_inventory
short_description: Refuse an inventory that cannot work
description: Runs on the control machine, reads what it is given, changes nothing. All problems are told at once.
options:
  env: {description: Name of the inventory, type: str, required: true}
  hosts: {description: Name site and node_id of each host, type: list, elements: list, required: true}
  groups: {description: Ansible's groups, type: dict, required: true}
  programmes: {description: Programmes and their sites, type: dict, required: true}
  users: {description: Users and what they read, type: list, elements: dict, required: true}
  filters: {description: Filters, type: list, elements: dict, required: true}
  filter_groups: {description: Groups of filters, type: dict, required: true}
  filter_files: {description: Paths of files that filters may be in, type: list, elements: str, required: true}
  night_topics: {description: Settings of every night's topics, type: dict, required: true}
  new_schemas: {description: The producer's answer to new schemas, type: str, default: refuse}
  secrets_source: {description: generated or given, type: str, default: generated}
  secrets: {description: Where secrets are kept, type: path, required: true}
"""

EXAMPLES = r"""
- name: Refuse an inventory that cannot work
  preflight_inventory: {env: local, hosts: [[origin-1, origin, 1]], groups: "{{ groups }}", secrets: /srv/secrets}
"""

RETURN = r"""
problems: {description: What to change and where, returned: failure, type: list, elements: str}
"""

import re
import sys
from collections import Counter
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from zads.access import Policy
from zads.errors import ZadsError
from zads.filters import modules

MODULE = re.compile(r"[A-Za-z_]\w*\.py")
NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
SITES = ("origin", "public")
PROGRAMMES = {"1", "2", "3"}
STATES = ("shadow", "active", "off")
ENSEMBLE = (3, 5)


def problems(data: dict) -> list[str]:
    """Everything that is wrong, each as `FILE: VARIABLE what is wrong`."""
    hosts_file = f"inventories/{data['env']}/hosts.yml"
    variables = f"inventories/{data['env']}/group_vars/all"
    found = [f"{variables}/{file}.yml: {problem}" for check, file in FILES.items() for problem in check(data)]
    return [
        *(f"{hosts_file}: {problem}" for problem in _hosts(data)),
        *(found or _policy(data, variables)),
        *_secrets(data),
    ]


def _policy(data: dict, variables: str):
    """What the deployment's own reading of the same data refuses, and the checks above have passed."""
    try:
        Policy.read({**data, "topics_night": data["night_topics"]})
    except ZadsError as error:
        yield f"{variables}: {error}"


def _hosts(data: dict):
    site_of = {name: site for name, site, _ in data["hosts"]}
    number_of = {name: number for name, _, number in data["hosts"]}
    for site in SITES:
        for kind in ("zookeeper", "kafka"):
            group = f"{site}_{kind}"
            members = data["groups"].get(group, [])
            if not members:
                yield f"{group} has no host"
            if kind == "zookeeper" and members and len(members) not in ENSEMBLE:
                yield f"{group} has {len(members)} hosts, an ensemble wants 3 or 5"
            for name in members:
                if not isinstance(number_of.get(name), int) or not 1 <= number_of[name] <= 255:
                    yield f"node_id of {name} must be a number from 1 to 255"
                if site_of.get(name) != site:
                    yield f"{name} is in {group}, but its variable site is {site_of.get(name)!r}"
            twice = [number for number, times in Counter(number_of.get(name) for name in members).items() if times > 1]
            if twice:
                yield f"node_id {', '.join(map(str, twice))} is given twice in {group}"
    if len(data["groups"].get("producers", [])) > 1:
        yield "producers has more than one host; a night has one ledger"


def _topics(data: dict):
    topics = data["night_topics"]
    factor, minimum = int(topics.get("replication_factor", 3)), int(topics.get("min_insync_replicas", 2))
    for site in SITES:
        brokers = len(data["groups"].get(f"{site}_kafka", []))
        if factor > brokers:
            yield f"topics_night.replication_factor is {factor}, but {site}_kafka has {brokers} brokers"
    if minimum >= factor:
        yield (
            f"topics_night.min_insync_replicas is {minimum}: it must be below replication_factor ({factor}), "
            "or no broker may ever be restarted"
        )
    if int(topics.get("partitions", 16)) < 1:
        yield "topics_night.partitions must be at least 1"


def _new_schemas(data: dict):
    if (answer := data.get("new_schemas", "refuse")) not in ("refuse", "accept"):
        yield f"producer_new_schemas is {answer!r}, neither refuse nor accept"


def _programmes(data: dict):
    for number, programme in data["programmes"].items():
        if str(number) not in PROGRAMMES:
            yield f"programmes: {number} is none of {', '.join(sorted(PROGRAMMES))}"
        sites = (programme or {}).get("sites", [])
        if wrong := [site for site in sites if site not in SITES]:
            yield f"programmes.{number}.sites: {', '.join(wrong)} is none of {', '.join(SITES)}"
        if "origin" not in sites:
            yield f"programmes.{number}.sites must name origin, where every alert begins"
    if not data["programmes"]:
        yield "programmes is empty: no topic would be made"


def _users(data: dict):
    names = [str(user.get("name", "")) for user in data["users"]]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"users: {name} is named twice"
    for user in data["users"]:
        name, site = str(user.get("name", "")), user.get("site")
        if not NAME.fullmatch(name):
            yield f"users: {name!r} is no name (small letters, digits, - and _)"
        if site not in SITES:
            yield f"users: {name} has site {site!r}, none of {', '.join(SITES)}"
            continue
        for programme in user.get("programmes", []):
            of = data["programmes"].get(str(programme), data["programmes"].get(programme))
            if of is None:
                yield f"users: {name} reads programme {programme}, which programmes does not name"
            elif site not in of.get("sites", []):
                yield f"users: {name} reads programme {programme} at {site}, where the data policy has it not"


def _filters(data: dict):
    names = [str(one.get("name", "")) for one in data["filters"]]
    users = {user.get("name") for user in data["users"]}
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"filters: {name} is named twice"
    for one in data["filters"]:
        name = str(one.get("name", ""))
        if not NAME.fullmatch(name):
            yield f"filters: {name!r} is no name (small letters, digits, - and _)"
        if one.get("group") not in data["filter_groups"]:
            yield f"filters: {name} is in group {one.get('group')!r}, which filter_groups does not name"
        if one.get("owner") not in users:
            yield f"filters: {name} belongs to {one.get('owner')!r}, whom users does not name"
        if one.get("state") is False:
            yield f'filters: {name} has the state false, as YAML reads the bare word off: write "off" in quotes'
        elif one.get("state") not in STATES:
            yield f"filters: {name} has state {one.get('state')!r}, none of {', '.join(STATES)}"
        yield from _files(one, name, {Path(path).name: Path(path) for path in data["filter_files"]}, data["env"])
    for group in data["filter_groups"]:
        if not NAME.fullmatch(str(group)):
            yield f"filter_groups: {group!r} is no name (small letters, digits, - and _)"


def _files(one: dict, name: str, there: dict, env: str):
    """What is wrong with the files that a filter names, and the modules that it imports without naming them."""
    own, listed = str(one.get("file", f"{name}.py")).partition(":")[0], list(one.get("modules", []))
    for file in [own, *listed, *one.get("data", [])]:
        if file not in there:
            yield f"filters: {name} needs {file}, which is neither in inventories/{env}/filters nor built in"
    for file in listed:
        if not MODULE.fullmatch(file) or file[:-3] in sys.stdlib_module_names:
            yield f"filters: {name} has the module {file!r}: it must be NAME.py, and none of Python's own modules"
    if own in there and (unlisted := [file for file in modules.beside(there[own]) if file not in listed]):
        yield f"filters: {name} imports {', '.join(unlisted)}: say so by modules: [{', '.join(listed + unlisted)}]"


def _secrets(data: dict):
    if data["secrets_source"] not in ("generated", "given"):
        yield (
            f"inventories/{data['env']}/group_vars/all/main.yml: secrets_source is {data['secrets_source']!r}, "
            "neither generated nor given"
        )
    elif data["secrets_source"] == "given" and not Path(data["secrets"], "passwords.yml").exists():
        yield f"{data['secrets']}/passwords.yml is missing, and secrets_source is given: put your secrets there"


# Which file of group_vars/all holds what each check reads.
FILES = {_topics: "main", _new_schemas: "main", _programmes: "main", _users: "users", _filters: "filters"}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "env": {"type": "str", "required": True},
            "hosts": {"type": "list", "elements": "list", "required": True},
            "groups": {"type": "dict", "required": True},
            "programmes": {"type": "dict", "required": True},
            "users": {"type": "list", "elements": "dict", "required": True},
            "filters": {"type": "list", "elements": "dict", "required": True},
            "filter_groups": {"type": "dict", "required": True},
            "filter_files": {"type": "list", "elements": "str", "required": True},
            "night_topics": {"type": "dict", "required": True},
            "new_schemas": {"type": "str", "default": "refuse"},
            "secrets_source": {"type": "str", "default": "generated", "no_log": False},
            "secrets": {"type": "path", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    if found := problems(module.params):
        module.fail_json(msg="This inventory cannot work:\n" + "\n".join(found), problems=found)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
