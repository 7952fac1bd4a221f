"""The producer's spool, wherever it is."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any, Protocol

from zads.errors import ZadsError
from zads.inventory import Inventory


class Spool(Protocol):
    """Where a demo drops visits."""

    def put(self, name: str, content: bytes) -> None:
        """Put an archive into the spool, whole or not at all."""

    def pending(self) -> int:
        """How many of the archives that were put there still wait."""


class RemoteSpool:
    """A spool on a host of the inventory, reached as Ansible reaches it: through the engine or by SSH.

    Raises ZadsError if the inventory has no producer; its methods, if the spool cannot be reached.
    """

    def __init__(self, inventory: Inventory) -> None:
        hosts = inventory.group("producers")
        if not hosts:
            raise ZadsError(f"inventory {inventory.env} has no host in the group producers")
        self._inventory, self._host = inventory, hosts[0]
        spool = inventory.hosts[self._host].get("producer_spool", "/var/lib/zads/producer/spool")
        self._incoming, self._done = f"{spool}/incoming", f"{spool}/done"
        self._dropped: set[str] = set()

    def put(self, name: str, content: bytes) -> None:
        """Write under a hidden name, then rename: the producer never sees half an archive."""
        target, hidden = f"{self._incoming}/{name}", f"{self._incoming}/.{name}"
        self._run(f"cat > '{hidden}' && mv '{hidden}' '{target}'", content)
        self._dropped.add(name)

    def pending(self) -> int:
        """How many of our archives still wait. Others' exposures are not counted: they may be deferred for days."""
        waiting = self._run(f"ls '{self._incoming}'").decode(errors="replace").split("\n")
        return len(self._dropped.intersection(waiting))

    def receipt(self, name: str) -> dict[str, Any]:
        """The producer's receipt of an archive that it has settled; empty if there is none in done/."""
        stem = name.removesuffix(".tar")
        text = self._run(f"cat '{self._done}/{stem}.json' 2>/dev/null || true")
        return dict(json.loads(text)) if text else {}

    def _run(self, script: str, content: bytes = b"") -> bytes:
        command = on_host(self._inventory, self._host, script)
        result = subprocess.run(command, input=content, capture_output=True, check=False)
        if result.returncode:
            raise ZadsError(
                f"the spool {self._incoming} cannot be reached: {result.stderr.decode(errors='replace').strip()}",
                hint="is the system deployed, and the producer's host up?",
            )
        return result.stdout


def on_host(inventory: Inventory, host: str, script: str) -> list[str]:
    """A command that runs a shell script on a host as root, reached as Ansible reaches it; it passes stdin on."""
    variables = inventory.hosts[host]
    if variables.get("ansible_connection") == "community.docker.docker":
        return ["docker", "exec", "-i", str(variables.get("ansible_docker_host", host)), "sh", "-c", script]
    user = f"{variables['ansible_user']}@" if "ansible_user" in variables else ""
    options = ["-o", "BatchMode=yes", *shlex.split(str(variables.get("ansible_ssh_common_args", "")))]
    if port := variables.get("ansible_port"):
        options += ["-p", str(port)]
    if key := variables.get("ansible_ssh_private_key_file"):
        options += ["-i", str(key)]
    # SSH hands the remote shell one line. Without quotes that shell would do the redirections, without sudo's rights.
    return ["ssh", *options, f"{user}{inventory.address(host)}", f"sudo -n sh -c {shlex.quote(script)}"]
