"""An Ansible inventory as Python sees it: the hosts of a deployment, their groups and variables.

Ansible itself reads the files (``ansible-inventory``), so that precedence and templates of variables mean here exactly
what they mean in a playbook.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zads.errors import ZadsError


@dataclass(frozen=True)
class Inventory:
    """One environment: ``groups`` (name -> host names), ``hosts`` (name -> its variables)."""

    env: str
    root: Path
    groups: dict[str, list[str]]
    hosts: dict[str, dict[str, Any]]

    @classmethod
    def load(cls, env: str, root: Path, *, realised: bool = True) -> Inventory:
        """Read ``inventories/ENV``, and unless ``realised`` is false the addresses that its lab has written.

        Errors: ZadsError when there is no such inventory, or Ansible refuses it (with Ansible's own message).
        """
        directory = root / "inventories" / env
        if not (directory / "hosts.yml").exists():
            there = sorted(path.parent.name for path in directory.parent.glob("*/hosts.yml"))
            raise ZadsError(f"there is no inventory {directory}", hint=f"name one of {', '.join(there)}")
        command = [str(root / ".venv/bin/ansible-inventory"), "-i", str(directory)]
        lab = state(root, env) / "lab" / "hosts.yml"
        if realised and lab.exists():
            command += ["-i", str(lab)]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(root / "ansible" / "ansible.cfg")}
        result = subprocess.run(
            [*command, "--list"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise ZadsError(f"Ansible refuses {directory}: {result.stderr.strip().splitlines()[-1]}")
        return cls._parse(env, root, json.loads(result.stdout))

    @classmethod
    def _parse(cls, env: str, root: Path, listed: dict[str, Any]) -> Inventory:
        variables: dict[str, dict[str, Any]] = listed.pop("_meta")["hostvars"]

        def members(group: str) -> list[str]:
            entry = listed.get(group, {})
            below = [host for child in entry.get("children", []) for host in members(child)]
            return list(dict.fromkeys([*entry.get("hosts", []), *below]))

        groups = {name: members(name) for name in listed}
        hosts = {name: variables.get(name, {}) for name in groups.get("all", [])}
        return cls(env, root, groups, hosts)

    @property
    def state(self) -> Path:
        """Where runs on this environment keep what they make: ``.zads/ENV``."""
        return state(self.root, self.env)

    def group(self, name: str) -> list[str]:
        """Names of the hosts in a group, in the inventory's order; empty when there is no such group."""
        return self.groups.get(name, [])

    def address(self, host: str) -> str:
        """Where the control machine reaches a host: a name or an address."""
        return str(self.hosts[host].get("ansible_host", host))

    def common(self, variable: str, default: Any = None) -> Any:
        """A variable that is set for all hosts alike (inventory data, such as ``filters``)."""
        for variables in self.hosts.values():
            if variable in variables:
                return variables[variable]
        return default


def state(root: Path, env: str) -> Path:
    """The directory of an environment's state, below the repository."""
    return root / ".zads" / env


def repository() -> Path:
    """The checkout: the nearest directory above the working one (or itself) that has ``inventories``.

    Errors: ZadsError when there is none: the deploying commands only work inside a checkout.
    """
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / "inventories").is_dir() and (directory / "pyproject.toml").is_file():
            return directory
    raise ZadsError(f"{here} is not inside a checkout of ZADS", hint="change into it and run the command again")
