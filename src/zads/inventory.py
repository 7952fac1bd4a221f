"""An Ansible inventory for Python: the hosts of a deployment, their groups and variables.

Ansible itself reads the files (``ansible-inventory``), so that variables have the same values here as in a playbook.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from zads import names
from zads.errors import ZadsError
from zads.site.policy import Policy


@dataclass(frozen=True)
class Inventory:
    """One environment: ``groups`` (name -> its hosts' names), ``hosts`` (name -> its variables)."""

    env: str
    root: Path
    groups: dict[str, list[str]]
    hosts: dict[str, dict[str, Any]]

    @classmethod
    def load(cls, env: str, root: Path, *, realised: bool = True) -> Inventory:
        """Read ``inventories/ENV`` below the repository ``root``, and the addresses that its lab or Vagrant wrote.

        With ``realised`` false these addresses are left out. Raises ZadsError if there is no such inventory, or, with
        Ansible's own message, if Ansible refuses it.
        """
        directory = root / "inventories" / env
        if not (directory / "hosts.yml").exists():
            known = sorted(path.parent.name for path in directory.parent.glob("*/hosts.yml"))
            raise ZadsError(f"there is no inventory {directory}", hint=f"name one of {', '.join(known)}")
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
        """The directory of this environment's state: ``.zads/ENV``."""
        return state(self.root, self.env)

    def kit(self, user: str) -> Path:
        """The directory of the programs and files that a user gets."""
        return self.state / "clients" / user

    def client(self, user: str) -> Path:
        """The file with which a user's clients connect; the operators of a site are the user ``admin-SITE``."""
        return self.state / "clients" / f"{user}.properties"

    def group(self, name: str) -> list[str]:
        """Names of the hosts in a group, in the inventory's order; empty if there is no such group."""
        return self.groups.get(name, [])

    def address(self, host: str) -> str:
        """The name or address by which the control machine reaches a host."""
        return str(self.hosts[host].get("ansible_host", host))

    def setting(self, host: str, variable: str, role: str) -> Any:
        """A variable of a host; if it has none, the default of a role, which must not be a template."""
        if variable in self.hosts[host]:
            return self.hosts[host][variable]
        return yaml.safe_load((self.root / "roles" / role / "defaults/main.yml").read_text())[variable]

    def policy(self, **changes: Any) -> Policy:
        """The data policy as a deployment gives it to programs, with ``changes`` of variables. Raises PolicyError."""
        variables = next(iter(self.hosts.values()), {})
        return Policy.read({**variables, "programs": names.accounts(self.groups), **changes})

    def common(self, variable: str, default: Any = None) -> Any:
        """A variable that all hosts share, such as ``filters``; ``default`` if no host has it."""
        for variables in self.hosts.values():
            if variable in variables:
                return variables[variable]
        return default


def state(root: Path, env: str) -> Path:
    """The directory of an environment's state below the repository ``root``: secrets, client files, reports, caches."""
    return root / ".zads" / env


def repository() -> Path:
    """The checkout: the working directory, or the nearest above it, that has ``inventories`` and a pyproject.toml.

    Raises ZadsError if there is none: commands that deploy only work inside a checkout.
    """
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / "inventories").is_dir() and (directory / "pyproject.toml").is_file():
            return directory
    raise ZadsError(f"{here} is not inside a checkout of ZADS", hint="change into it and run the command again")
