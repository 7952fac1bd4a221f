#!/usr/bin/python
"""Sets all client quotas of a site."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_quotas
short_description: Make a cluster's client quotas exactly these
description:
  - Runs on the control machine. The given quotas are the only ones, because the cluster belongs to this deployment. All
    others are removed, even if somebody else made them, including those for clients' names and for addresses.
  - Quotas are set in the order given. They hold at once, also for clients that are connected.
options:
  client: {description: Properties file of the site's administrator, type: path, required: true}
  quotas:
    description: Every quota.
    type: list
    elements: dict
    required: true
    suboptions:
      user: {description: "Whose it is; left out: everybody's who has none of their own", type: str}
      values:
        description: "By Kafka's names: consumer_byte_rate, producer_byte_rate, request_percentage"
        type: dict
        required: true
"""

EXAMPLES = r"""
- name: One user may read more than everybody
  kafka_quotas:
    client: .zads/local/clients/admin-public.properties
    quotas:
      - {user: reader, values: {consumer_byte_rate: 50000000}}
      - {values: {consumer_byte_rate: 3000000}}
"""

RETURN = r"""
set: {description: "Users whose quotas were set, as Kafka writes them", returned: success, type: list, elements: str}
removed: {description: Users whose quotas were removed, returned: success, type: list, elements: str}
"""

from ansible.module_utils.kafka_site import ansible_diff, run, site_module

from zads import quotas
from zads.errors import ZadsError
from zads.quotas import Entity
from zads.site.limits import quota_changes


def read(entries: list[dict]) -> dict[Entity, dict[str, float]]:
    """The wanted quotas. Raises ZadsError if a user is named twice or a value is no number."""
    found: dict[Entity, dict[str, float]] = {}
    for entry in entries:
        entity = quotas.user(entry["user"])
        if entity in found:
            raise ZadsError(f"named twice: {quotas.in_words(entity)}")
        try:
            found[entity] = {str(key): float(value) for key, value in entry["values"].items()}
        except (TypeError, ValueError) as error:
            raise ZadsError(f"{quotas.in_words(entity)}: {error}") from error
    return found


def lines(entity: Entity, values: dict, keys) -> list[str]:
    """A line for each of these values that is there."""
    return [f"{quotas.in_words(entity)}: {key}={values[key]:.0f}" for key in keys if key in values]


def main() -> None:
    quota = {"user": {"type": "str"}, "values": {"type": "dict", "required": True}}
    module = site_module(quotas={"type": "list", "elements": "dict", "required": True, "options": quota})

    def work(site) -> dict:
        wanted = read(module.params["quotas"])
        site.metadata()
        present = quotas.describe(site.conf)
        changes = quota_changes(wanted, present)
        if changes and not module.check_mode:
            site.altered = True
            quotas.alter(site.conf, changes)
        return {
            "changed": bool(changes),
            "set": [quotas.in_words(entity) for entity in changes if entity in wanted],
            "removed": [quotas.in_words(entity) for entity in changes if entity not in wanted],
            "diff": ansible_diff(
                [line for entity, values in changes.items() for line in lines(entity, present.get(entity, {}), values)],
                [line for entity, values in changes.items() for line in lines(entity, wanted.get(entity, {}), values)],
            ),
        }

    run(module, work)


if __name__ == "__main__":
    main()
