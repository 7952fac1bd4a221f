"""How Ansible reaches a lab's hosts: an operator's key and account, and addresses beside the inventory."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from docker.models.containers import Container

from zads import wholefile
from zads.errors import ZadsError
from zads.lab.machine import Host, run

#: The account that the lab makes on hosts that are reached by SSH; it may use sudo, as an operator's does.
OPERATOR = "siteops"


class Reach:
    """The files of one lab, in ``directory``: the operator's key, known_hosts, and hosts.yml for Ansible."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def key(self) -> Path:
        """The operator's private key, generated if it is missing; the public one lies beside it."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = self._directory / "id_ed25519"
        if not key.exists():
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "zads lab", "-f", str(key)]
            subprocess.run(command, check=True)
        return key

    def admit(self, container: Container) -> None:
        """Make the operator's account in a host: a key, no password, sudo without asking.

        Raises ZadsError with the host's answer if it cannot be made.
        """
        public = self.key().with_suffix(".pub").read_text().strip()
        script = f"""set -e
            id {OPERATOR} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {OPERATOR}
            install -d -m 700 -o {OPERATOR} -g {OPERATOR} /home/{OPERATOR}/.ssh
            cd /home/{OPERATOR}/.ssh
            echo '{public}' > authorized_keys
            chown {OPERATOR}: authorized_keys
            chmod 600 authorized_keys
            echo '{OPERATOR} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{OPERATOR}
            chmod 440 /etc/sudoers.d/{OPERATOR}"""
        status, output = run(container, ["sh", "-c", script])
        if status:
            raise ZadsError(f"{container.name}: no account for the operator: {output}")

    def write(self, hosts: Sequence[tuple[Host, Container]]) -> None:
        """Write hosts.yml (addresses, connections, the inventory's ``lab_overrides``) and known_hosts.

        hosts.yml keeps its time of change if nothing in it changes.
        """
        known_hosts = self._directory / "known_hosts"
        lines = [self._host_key(host, container) for host, container in hosts if host.ssh]
        known_hosts.write_text("".join(lines))
        entries = {host.name: self._entry(host, known_hosts) for host, _ in hosts}
        text = yaml.safe_dump({"all": {"hosts": entries}}, sort_keys=False)
        target = self._directory / "hosts.yml"
        if not target.exists() or target.read_text() != text:
            wholefile.write(target, text)

    @staticmethod
    def _host_key(host: Host, container: Container) -> str:
        """A host's line in known_hosts."""
        public = run(container, ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])[1]
        return f"{host.address} {' '.join(public.split()[:2])}\n"

    def _entry(self, host: Host, known_hosts: Path) -> dict[str, Any]:
        """A host's variables for Ansible."""
        entry: dict[str, Any] = {"ansible_host": host.address, **host.overrides}
        if not host.ssh:
            return entry | {"ansible_connection": "community.docker.docker", "ansible_docker_host": host.container}
        return entry | {
            "ansible_connection": "ssh",
            "ansible_user": OPERATOR,
            "ansible_ssh_private_key_file": str(self.key()),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes",
        }
