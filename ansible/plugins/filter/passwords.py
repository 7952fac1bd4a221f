"""What a change of passwords means for each account."""

from __future__ import annotations

import json

DOCUMENTATION = """
name: password_lines
short_description: A line for each account whose password changes
options:
  _input: {description: Names of the accounts, type: list, elements: str, required: true}
  policy: {description: "The inventory's data that zads.site.policy reads, as JSON", type: str, required: true}
  env: {description: The environment, type: str, required: true}
"""

EXAMPLES = """
lines: "{{ ['alice', 'zads.mirror'] | password_lines(site_policy | to_json, 'prod') }}"
"""

RETURN = """
_value: {description: Where each account is and what follows, type: list, elements: str}
"""


def password_lines(changed, policy, env):
    """Where each account is, and what follows for it. Raises ZadsError if the policy cannot be used."""
    # Heavy, and Ansible loads this file in each of its workers.
    from zads import names
    from zads.site.access import accounts
    from zads.site.policy import SITES, Policy

    policy = Policy.read(json.loads(policy))
    sites = {site: set(accounts(policy, site)) for site in SITES}
    lines = []
    for name in changed:
        where = " and ".join(site for site in SITES if name in sites[site]) or "no site"
        after = "cannot connect without the new kit, .zads/{env}/clients/{name}"
        if names.is_program(name):
            after = "restarts with the new one"
        lines.append(f"{name} at {where}: {after.format(env=env, name=name)}")
    return lines


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"password_lines": password_lines}
