#!/usr/bin/python
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports
"""Reports whether the mirror and the filters keep up."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_progress
short_description: The parts of the stream that are behind
description: Runs on the control machine and changes nothing. See zads.progress.
options:
  origin: {description: Properties file of origin's administrator, type: path, required: true}
  public: {description: Properties file of the public site's administrator, type: path, required: true}
  policy: {description: The inventory's data that zads.site.policy reads, type: dict, required: true}
"""

EXAMPLES = r"""
- name: Does the stream flow
  stream_progress:
    origin: .zads/local/clients/admin-origin.properties
    public: .zads/local/clients/admin-public.properties
    policy: "{{ site_policy }}"
"""

RETURN = r"""
problems: {description: The parts that are behind and what to do, returned: always, type: list, elements: str}
"""

from ansible.module_utils.basic import AnsibleModule

from zads import kafka, progress
from zads.errors import ZadsError
from zads.site.policy import SITES, Policy


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "origin": {"type": "path", "required": True},
            "public": {"type": "path", "required": True},
            "policy": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        sites = [{**kafka.read_properties(params[site]), "log_level": "0"} for site in SITES]
        problems = progress.problems(sites[0], sites[1], Policy.read(params["policy"]))
    except ZadsError as error:
        problems = [str(error)]
    module.exit_json(changed=False, problems=problems)


if __name__ == "__main__":
    main()
