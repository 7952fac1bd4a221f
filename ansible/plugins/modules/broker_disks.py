#!/usr/bin/python
"""Whether a broker's disks have data, and which of them have lost it."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: broker_disks
short_description: Whether a broker's disks have data
description:
  - Runs on the broker's host and changes nothing.
options:
  directories: {description: "The broker's directories, one for each disk", type: list, elements: path, required: true}
  noted: {description: Directory in which the broker notes the disks that it has used, type: path, required: true}
"""

EXAMPLES = r"""
- name: Look at the broker's disks
  broker_disks: {directories: [/var/lib/kafka], noted: /var/lib/kafka-disks}
"""

RETURN = r"""
empty: {description: Whether no disk has a replica, returned: always, type: bool}
lost: {description: Disks that have lost the broker's data, returned: always, type: list, elements: str}
running: {description: Whether the broker's unit runs, returned: always, type: bool}
"""

import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

REPLICA = re.compile(r".+-\d+")


def empty(directories: list[str]) -> bool:
    """Whether no directory has a replica."""
    return not any(
        REPLICA.fullmatch(path.name) for directory in directories for path in Path(directory, "data").glob("*-*")
    )


def lost(directories: list[str], noted: str) -> list[str]:
    """The directories that were used before, and have no data now. The note's name is that of disks.sh."""
    return [
        directory
        for directory in directories
        if Path(noted, directory.replace("/", "-")).exists() and not Path(directory, "data/meta.properties").exists()
    ]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directories": {"type": "list", "elements": "path", "required": True},
            "noted": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    directories = module.params["directories"]
    # A unit that fails at its start and is tried again does not run.
    active = module.run_command(["systemctl", "is-active", "kafka.service"])[1].strip()
    module.exit_json(
        changed=False,
        empty=empty(directories),
        lost=lost(directories, module.params["noted"]),
        running=active == "active",
    )


if __name__ == "__main__":
    main()
