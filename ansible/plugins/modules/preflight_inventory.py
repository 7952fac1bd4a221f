#!/usr/bin/python
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports
"""Refuse an inventory that cannot work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_inventory
short_description: Refuse an inventory that cannot work
description:
  - Runs on the control machine and changes nothing. Reports all problems at once. The line of each names the file, the
    variable, the problem and what to write instead.
  - C(zads.site.policy) has the rules for data about topics and access. This module has the rules for hosts and groups,
    for the files of filters, and for secrets.
options:
  env: {description: Name of the inventory, type: str, required: true}
  hosts: {description: Name site and node_id of each host, type: list, elements: list, required: true}
  groups: {description: Ansible's groups, type: dict, required: true}
  policy: {description: The inventory's data that zads.site.policy reads, type: dict, required: true}
  filter_files: {description: Paths of files that filters may be in, type: list, elements: str, required: true}
  load: {description: The variable C(survey_load); empty if the inventory states none, type: dict, default: {}}
  refuse_load: {description: "false: a load that cannot be held is a warning", type: bool, default: true}
  new_schemas: {description: The producer's answer to new schemas, type: str, default: refuse}
  alarms:
    description: The variables C(alarms_to), C(alarms_mail) and C(alarms_secrets), the last without its secrets
    type: dict
    default: {}
  secrets_source: {description: generated or given, type: str, default: generated}
  secrets: {description: Where secrets are kept, type: path, required: true}
"""

EXAMPLES = r"""
- name: Refuse an inventory that cannot work
  preflight_inventory:
    env: local
    hosts: [[origin-1, origin, 1]]
    groups: "{{ groups }}"
    policy: "{{ site_policy }}"
    filter_files: "{{ query('ansible.builtin.fileglob', 'inventories/local/filters/*') }}"
    secrets: /srv/secrets
"""

RETURN = r"""
problems: {description: What to change and where, returned: failure, type: list, elements: str}
tight: {description: Data that are less than a plan for the load has, returned: success, type: list, elements: str}
"""

import re
import sys
from collections import Counter
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from zads.alarms.routing import routing
from zads.filters import modules
from zads.plan import load, needs, verdict
from zads.site.entry import named
from zads.site.policy import SITES, Filter, Policy, PolicyError

MAIN = "group_vars/all/main.yml"
FILTERS = "group_vars/all/filters.yml"
MODULE = re.compile(r"[A-Za-z_]\w*\.py")
ENSEMBLE = (3, 4, 5, 6)  # an even one only on the way to another: members join and leave one at a time


def problems(data: dict) -> list[str]:
    """Everything that is wrong, each as `FILE: VARIABLE: what, and what to write instead`."""
    found = [
        *(f"hosts.yml: {problem}" for problem in _hosts(data)),
        *_policy(data["policy"]),
        *_alarms(data.get("alarms") or {}),
        *(f"{MAIN}: {problem}" for problem in [*_replicas(data), *_choices(data)]),
        *(f"{FILTERS}: {problem}" for problem in _filters(data)),
    ]
    if not found:
        found = _load(data).refused
    return [*(f"inventories/{data['env']}/{problem}" for problem in found), *_secrets(data)]


def tight(data: dict) -> list[str]:
    """What of the inventory's data is less than a plan for its load has."""
    return [f"inventories/{data['env']}/{line}" for line in [*_even(data), *_load(data).tight]]


def _even(data: dict):
    for site in SITES:
        if not (size := len(data["groups"].get(f"{site}_zookeeper", []))) % 2:
            yield (
                f"hosts.yml: {site}_zookeeper: has {size} hosts, and no more of them may fail than of {size - 1}: "
                f"go on to {size + 1} or {size - 1}"
            )


def _load(data: dict) -> verdict.Verdict:
    """Compare sound data about topics and filters with a plan for the load, if the inventory states one."""
    if not data.get("load"):
        return verdict.Verdict()
    policy = Policy.read(data["policy"])
    try:
        demand = load.of_policy(data["load"], policy)
    except PolicyError as error:
        return verdict.Verdict(list(map(str, error.problems)))
    brokers = {site: len(data["groups"][f"{site}_kafka"]) for site in SITES}
    plan = needs.plan_of(demand, brokers, policy.topics_night.partitions)
    compared = [verdict.of_demand(demand), verdict.of_policy(plan, policy)]
    refused = [f"group_vars/all: {line}" for one in compared for line in one.refused]
    tight = [f"group_vars/all: {line}" for one in compared for line in one.tight]
    return verdict.Verdict(refused, tight) if data.get("refuse_load", True) else verdict.Verdict([], refused + tight)


def _policy(variables: dict):
    try:
        Policy.read(variables)
    except PolicyError as error:
        yield from map(str, error.problems)


def _alarms(variables: dict):
    try:
        routing(variables, "")
    except PolicyError as error:
        yield from map(str, error.problems)


def _hosts(data: dict):
    for site in SITES:
        yield from _members(data, site, "kafka")
        yield from _members(data, site, "zookeeper")
    if len(producers := data["groups"].get("producers", [])) > 1:
        yield f"producers: has {len(producers)} hosts, and a night has one ledger: write one host"


def _members(data: dict, site: str, kind: str):
    """The problems of a site's brokers or ensemble."""
    site_of = {name: site for name, site, _ in data["hosts"]}
    number_of = {name: number for name, _, number in data["hosts"]}
    group = f"{site}_{kind}"
    members = data["groups"].get(group, [])
    if not members:
        yield f"{group}: has no host: write three or more"
    elif kind == "zookeeper" and len(members) not in ENSEMBLE:
        yield f"{group}: has {len(members)} hosts: write 3 or 5"
    for name in members:
        number = number_of.get(name)
        if not isinstance(number, int) or not 1 <= number <= 255:
            yield f"{name}.node_id: {number!r} cannot be used: write a number from 1 to 255"
        if site_of.get(name) != site:
            yield f"{name}.site: is {site_of.get(name)!r}, and {name} is in {group}: write {site}"
    for number, times in Counter(number_of.get(name) for name in members).items():
        if times > 1:
            yield f"node_id: {number} is given to {times} hosts of {group}: write another for each"


def _replicas(data: dict):
    factor = (data["policy"].get("topics_night") or {}).get("replication_factor")
    for site in SITES:
        brokers = len(data["groups"].get(f"{site}_kafka", []))
        if isinstance(factor, int) and factor > brokers:
            yield (
                f"topics_night.replication_factor: is {factor}, and {site}_kafka has {brokers} brokers: "
                f"write {brokers} or less, or add brokers"
            )


def _choices(data: dict):
    if data["new_schemas"] not in ("refuse", "accept"):
        yield f"producer_new_schemas: {data['new_schemas']!r} cannot be used: write refuse or accept"
    if data["secrets_source"] not in ("generated", "given"):
        yield f"secrets_source: {data['secrets_source']!r} cannot be used: write generated or given"


def _filters(data: dict):
    """The problems of the files that filters name, and of modules that filters import without naming them."""
    there = {Path(path).name: Path(path) for path in data["filter_files"]}
    for _, one in named(Filter, "filters", data["policy"].get("filters"), []):
        if one is not None:
            yield from _files(one, there, data["env"])


def _files(one: Filter, there: dict, env: str):
    place = f"filters.{one.name}"
    own, listed = one.code, list(one.modules)
    for key, files in (("file", [own]), ("modules", listed), ("data", one.data)):
        for file in files:
            if file not in there:
                yield (
                    f"{place}.{key}: {file} is neither built in nor in inventories/{env}/filters: "
                    "put it there, or write the name of another file"
                )
    for file in listed:
        if not MODULE.fullmatch(file) or file[:-3] in sys.stdlib_module_names:
            yield f"{place}.modules: {file!r} cannot be used: write NAME.py, other than the name of a module of Python"
    if own in there and (unlisted := [file for file in modules.beside(there[own]) if file not in listed]):
        yield f"{place}.modules: {', '.join(unlisted)} is imported: write [{', '.join(listed + unlisted)}]"


def _secrets(data: dict):
    if data["secrets_source"] == "given" and not Path(data["secrets"], "passwords.yml").exists():
        yield f"{data['secrets']}/passwords.yml: is missing, and secrets_source is given: put your secrets there"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "env": {"type": "str", "required": True},
            "hosts": {"type": "list", "elements": "list", "required": True},
            "groups": {"type": "dict", "required": True},
            "policy": {"type": "dict", "required": True},
            "filter_files": {"type": "list", "elements": "str", "required": True},
            "load": {"type": "dict", "default": {}},
            "refuse_load": {"type": "bool", "default": True},
            "new_schemas": {"type": "str", "default": "refuse"},
            "alarms": {"type": "dict", "default": {}},
            "secrets_source": {"type": "str", "default": "generated", "no_log": False},
            "secrets": {"type": "path", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    if found := problems(module.params):
        module.fail_json(msg="This inventory cannot work:\n" + "\n".join(found), problems=found)
    lines = tight(module.params)
    for line in lines:
        module.warn(line)
    module.exit_json(changed=False, tight=lines)


if __name__ == "__main__":
    main()
