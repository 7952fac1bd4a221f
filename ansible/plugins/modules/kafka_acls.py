#!/usr/bin/python
"""Sets all access control entries of a site."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_acls
short_description: Make a cluster's access control entries exactly these
description:
  - Runs on the control machine. The given entries are the only ones, because the cluster belongs to this deployment.
    All others are removed, even if somebody else made them, including those that deny.
  - Missing entries are added before others are removed, so that nobody loses, even for a moment, a right that both the
    old and the new entries give.
options:
  client: {description: Properties file of the site's administrator, type: path, required: true}
  acls:
    description: Every entry; each allows.
    type: list
    elements: dict
    required: true
    suboptions:
      principal: {description: Who is allowed, type: str, required: true}
      resource: {description: Its type, type: str, required: true, choices: [topic, group, cluster, transactional_id]}
      name: {description: Name or prefix of the resource, type: str, required: true}
      pattern: {description: Whether the name is a prefix, type: str, choices: [literal, prefixed], default: literal}
      operation:
        description: The allowed operation.
        type: str
        required: true
        choices:
          - read
          - write
          - create
          - delete
          - alter
          - describe
          - cluster_action
          - describe_configs
          - alter_configs
          - idempotent_write
          - all
      host: {description: The address from which it is allowed, type: str, default: "*"}
"""

EXAMPLES = r"""
- name: One reader of one night
  kafka_acls:
    client: .zads/local/clients/admin-public.properties
    acls:
      - {principal: "User:reader", resource: topic, name: ztf_20181129_programid1, operation: read}
"""

RETURN = r"""
added: {description: Entries added, returned: success, type: list, elements: str}
removed: {description: Entries removed, returned: success, type: list, elements: str}
"""

from ansible.module_utils.kafka_site import RESOURCES, ansible_diff, run, site_module

from zads.site.access import Acl, acl_changes

OPERATIONS = (
    "read write create delete alter describe cluster_action describe_configs alter_configs idempotent_write all".split()
)


def main() -> None:
    acl = {
        "principal": {"type": "str", "required": True},
        "resource": {"type": "str", "required": True, "choices": list(RESOURCES)},
        "name": {"type": "str", "required": True},
        "pattern": {"type": "str", "choices": ["literal", "prefixed"], "default": "literal"},
        "operation": {"type": "str", "required": True, "choices": OPERATIONS},
        "host": {"type": "str", "default": "*"},
    }
    module = site_module(acls={"type": "list", "elements": "dict", "required": True, "options": acl})

    def work(site) -> dict:
        site.metadata()
        changes = acl_changes([Acl(**entry) for entry in module.params["acls"]], site.acls())
        if not module.check_mode:
            if changes.add:
                site.create_acls(changes.add)
            if changes.remove:
                site.delete_acls(changes.remove)
        return {
            "changed": bool(changes),
            "added": [str(entry) for entry in changes.add],
            "removed": [str(entry) for entry in changes.remove],
            "diff": ansible_diff(changes.remove, changes.add),
        }

    run(module, work)


if __name__ == "__main__":
    main()
