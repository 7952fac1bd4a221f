#!/usr/bin/python
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports
"""Refuse a host that cannot hold the load that the inventory states."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_load
short_description: Refuse a host that cannot hold the survey's load
description:
  - Runs on the control machine and changes nothing. Compares what a plan for C(survey_load) needs with a host's
    settings and facts (M(host_facts)). What cannot hold is an error, what is tight is a warning; each says what to do.
  - C(zads plan --env) shows the plan.
options:
  env: {description: Name of the inventory, type: str, required: true}
  host: {description: Name of the host, type: str, required: true}
  member_of: {description: The host's groups, type: list, elements: str, required: true}
  groups: {description: Ansible's groups, type: dict, required: true}
  load: {description: The variable C(survey_load), type: dict, required: true}
  policy: {description: The inventory's data that zads.site.policy reads, type: dict, required: true}
  settings: {description: The host's values of the roles' variables that a plan looks at, type: dict, required: true}
  facts: {description: The value RV(host_facts#ansible_facts.host_facts) of M(host_facts), type: dict, required: true}
  refuse: {description: "false: what cannot hold is a warning, too", type: bool, default: true}
"""

EXAMPLES = r"""
- name: Compare the host with the survey's load
  preflight_load:
    env: prod
    host: "{{ inventory_hostname }}"
    member_of: "{{ group_names }}"
    groups: "{{ groups }}"
    load: "{{ survey_load }}"
    policy: "{{ site_policy }}"
    settings: {kafka_heap: 6g, kafka_data: [/srv/kafka/disk-1]}
    facts: "{{ ansible_facts.host_facts }}"
"""

RETURN = r"""
refused: {description: What cannot hold, returned: always, type: list, elements: str}
tight: {description: What is tight, returned: always, type: list, elements: str}
"""

from ansible.module_utils.basic import AnsibleModule

from zads.plan import load, needs, verdict
from zads.site.policy import SITES, Policy, PolicyError


def compare(data: dict) -> verdict.Verdict:
    """What a host lacks. Raises PolicyError for data that cannot be used."""
    policy = Policy.read(data["policy"])
    brokers = {site: len(data["groups"][f"{site}_kafka"]) for site in SITES}
    plan = needs.plan_of(load.of_policy(data["load"], policy), brokers, policy.topics_night.partitions)
    settings = data["settings"]
    count = {name: len(members) for name, members in data["groups"].items()}
    host = verdict.Host(frozenset(data["member_of"]), settings, count)
    facts = verdict.facts_of(data["facts"])
    found = verdict.of_settings(plan, host)
    more = verdict.of_facts(plan, host, facts, settings.get("kafka_data", []), settings.get("producer_spool", ""))
    return verdict.Verdict(found.refused + more.refused, found.tight + more.tight)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "env": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "member_of": {"type": "list", "elements": "str", "required": True},
            "groups": {"type": "dict", "required": True},
            "load": {"type": "dict", "required": True},
            "policy": {"type": "dict", "required": True},
            "settings": {"type": "dict", "required": True},
            "facts": {"type": "dict", "required": True},
            "refuse": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    env, host, refuse = (module.params[name] for name in ("env", "host", "refuse"))
    try:
        found = compare(module.params)
    except PolicyError as error:
        module.fail_json(msg="\n".join(f"inventories/{env}/{problem}" for problem in error.problems))
    for line in found.tight if refuse else found.refused + found.tight:
        module.warn(f"{host}: {line}")
    if found.refused and refuse:
        module.fail_json(
            msg=f"{host} cannot hold the load that survey_load of inventories/{env} states:\n"
            + "\n".join(found.refused)
            + f"\nzads plan --env {env} has the reasons; preflight_load: warn deploys all the same",
            refused=found.refused,
            tight=found.tight,
        )
    module.exit_json(changed=False, refused=found.refused, tight=found.tight)


if __name__ == "__main__":
    main()
