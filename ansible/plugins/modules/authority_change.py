#!/usr/bin/python
"""Takes the next step of a change of authorities, on the control machine."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: authority_change
short_description: Take the next step of a change of authorities
description:
  - Runs on the control machine and changes only its files. A deployment then gives them to the hosts.
  - An authority is changed in three steps. First everybody trusts a second one as well. Then this one issues all
    certificates. In the end the first one is no longer trusted. Between two steps any time may pass.
  - Refuses a step if a host or a kit does not have the files of the step before, or if a program does not run with its
    files. In check mode it says what it would do, and what stands against it.
options:
  directory: {description: Where the secrets are kept, type: path, required: true}
  clients: {description: Where the users' kits are kept, type: path, required: true}
  sites:
    description: Whose authorities, V(origin), V(public) or V(mirrors); none for all.
    type: list
    elements: str
    default: []
  back: {description: Take the last step back, type: bool, default: false}
  hosts:
    description: Every host of the deployment.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Its inventory name, type: str, required: true}
      site: {description: Its site; empty for a host without one, type: str, default: ""}
      authorities:
        description: SHA-256 of each certificate in a file, by the file's path.
        type: dict
        default: {}
  groups: {description: Ansible's groups, type: dict, required: true}
  ill: {description: What is wrong on each host; no step is taken then, type: dict, default: {}}
"""

EXAMPLES = r"""
- name: Take the next step
  authority_change:
    directory: "{{ zads_state }}/secrets"
    clients: "{{ zads_state }}/clients"
    sites: [public]
    hosts: [{name: public-1, site: public, authorities: {/etc/kafka/tls/ca.pem: [5f1b]}}]
    groups: "{{ groups }}"
"""

RETURN = r"""
said: {description: What happens to each authority, returned: always, type: list, elements: str}
problems: {description: Why no step is taken, returned: always, type: list, elements: str}
names: {description: The authorities that take a step, returned: always, type: list, elements: str}
step: {description: "The step at which they are afterwards; 0 at rest", returned: success, type: int}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.certificate_text import fingerprints

from zads.site import rotation
from zads.site.authority import Authority


def plan(params: dict) -> rotation.Plan:
    """The next step. Raises ValueError for a file that cannot be used."""
    directory, clients = Path(params["directory"]), Path(params["clients"])
    authorities, known = rotation.kept(directory, params["sites"])
    members = [
        (one["name"], [group for group, names in params["groups"].items() if one["name"] in names], one["authorities"])
        for one in params["hosts"]
    ]
    kits = {path.parent.name: fingerprints(path.read_text()) for path in sorted(clients.glob("*/ca.pem"))}
    result = rotation.plan(
        authorities, rotation.files(members), rotation.kits(clients, kits), known, back=params["back"]
    )
    result.problems += [f"{name}: {one}" for name, problems in params["ill"].items() for one in problems]
    return result


def carry_out(directory: Path, names: list[str], *, back: bool) -> int:
    """Take the step with each authority. Returns where they are then. Raises ValueError if one cannot take it.

    1. Prepare all: a run that is interrupted later shows by this which authorities change together.
    2. Take the step with one after the other.
    """
    authorities = [Authority.load(directory / name) for name in names]
    if not back:
        for one in authorities:
            one.prepare()
    return [one.go_back() if back else one.advance() for one in authorities][-1].step


def main() -> None:
    host = {
        "name": {"type": "str", "required": True},
        "site": {"type": "str", "default": ""},
        "authorities": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "clients": {"type": "path", "required": True},
            "sites": {"type": "list", "elements": "str", "default": []},
            "back": {"type": "bool", "default": False},
            "hosts": {"type": "list", "elements": "dict", "required": True, "options": host},
            "groups": {"type": "dict", "required": True},
            "ill": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        wanted = plan(params)
        about = {"said": wanted.lines, "problems": wanted.problems, "names": wanted.names}
        if wanted.problems:
            lines = "\n".join(wanted.problems)
            module.fail_json(msg=f"No step is taken, since:\n{lines}", **about)
        step = wanted.step - 1 if params["back"] else (wanted.step + 1) % 3
        if not module.check_mode:
            step = carry_out(Path(params["directory"]), wanted.names, back=params["back"])
    except (ValueError, OSError) as error:
        module.fail_json(msg=str(error), said=[], problems=[str(error)], names=[])
    module.exit_json(changed=True, step=step, **about)


if __name__ == "__main__":
    main()
