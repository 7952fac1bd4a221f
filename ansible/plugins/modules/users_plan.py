#!/usr/bin/python
"""Says what an inventory changes for each person at a site."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: users_plan
short_description: Who is added, changed, expired or revoked at a site, and what each loses
description:
  - Runs on the control machine and changes nothing. Compares the accounts, grants and limits of people that a site has
    with those that the inventory's data ask for. Programs are left out.
options:
  client: {description: Properties file of the site's administrator, type: path, required: true}
  site: {description: Which site, type: str, required: true, choices: [origin, public]}
  policy: {description: The inventory's data that zads.site.policy reads, type: dict, required: true}
  brokers: {description: The inventory's names of the site's brokers, type: list, elements: str, required: true}
"""

EXAMPLES = r"""
- name: What changes for the users of the public site
  users_plan:
    client: .zads/local/clients/admin-public.properties
    site: public
    policy: "{{ site_policy }}"
    brokers: [public-1, public-2, public-3]
"""

RETURN = r"""
lines: {description: A line for each person for whom something changes, returned: success, type: list, elements: str}
"""

from ansible.module_utils.kafka_site import ANSWER, run, site_module

from zads import quotas
from zads.errors import ZadsError
from zads.site.access import known_nights, wanted_acls
from zads.site.policy import Policy
from zads.site.standing import Standing, limits_changes, user_changes, wanted_standing


def main() -> None:
    module = site_module(
        site={"type": "str", "required": True, "choices": ["origin", "public"]},
        policy={"type": "dict", "required": True},
        brokers={"type": "list", "elements": "str", "required": True},
    )
    name = module.params["site"]
    try:
        policy = Policy.read(module.params["policy"])
    except ZadsError as error:
        module.fail_json(msg=str(error))

    def work(site) -> dict:
        acls = wanted_acls(policy, name, known_nights(policy, name, site.metadata().topics))
        wanted = wanted_standing(policy, name, acls, module.params["brokers"])
        accounts = site.client.describe_user_scram_credentials(request_timeout=ANSWER).result()
        present = Standing(list(accounts), site.acls(), quotas.describe(site.conf))
        changes = user_changes(policy, name, wanted, present)
        lines = [*limits_changes(wanted.quotas, present.quotas), *map(str, changes)]
        return {"changed": False, "lines": lines}

    run(module, work)


if __name__ == "__main__":
    main()
