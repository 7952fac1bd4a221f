"""One host of a lab as a container that boots systemd: its image and options, and its rights.

The engine's privileged mode is not used. A container gets the capabilities of a machine one by one, so that a lab also
runs where the engine itself is confined.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from docker.models.containers import Container

#: What a machine may do and a container may not by default.
CAPABILITIES = (
    "AUDIT_CONTROL AUDIT_READ BLOCK_SUSPEND DAC_READ_SEARCH IPC_LOCK IPC_OWNER LEASE LINUX_IMMUTABLE MAC_ADMIN "
    "MAC_OVERRIDE NET_ADMIN NET_BROADCAST SYSLOG SYS_ADMIN SYS_BOOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO "
    "SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"
).split()
SECURITY_OPTIONS = ["seccomp=unconfined", "apparmor=unconfined"]
DEVICE_RULE = "a *:* rwm"
CGROUP_NAMESPACE = "private"
#: File systems in memory that systemd needs: path -> mount options.
TMPFS = {"/run": "exec", "/run/lock": ""}
#: An engine in the host cannot stack its layers on the host's own, so this directory is on the computer's file system.
ENGINE_DIRECTORY = "/var/lib/docker"
#: The signal at which systemd halts.
STOP_SIGNAL = "SIGRTMIN+3"


@dataclass(frozen=True)
class Host:
    """One host of an inventory: its container's name, and what the container is made from.

    ``memory`` is a size as the engine spells it, ``tmpfs`` maps further paths in memory to such sizes. ``overrides``
    are variables of Ansible that replace the inventory's.
    """

    name: str
    container: str
    address: str
    image: str
    memory: str
    ssh: bool
    runs_containers: bool
    tmpfs: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> str:
        """A digest of everything whose change needs a new container."""
        facts: list[Any] = [self.name, self.address, self.image, self.memory, self.runs_containers, CAPABILITIES]
        if self.tmpfs:
            facts.append(self.tmpfs)
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def arguments() -> list[str]:
    """Options of ``docker create`` that make a container of a host's image a machine that can run containers."""
    words = [word for capability in CAPABILITIES for word in ("--cap-add", capability)]
    words += [word for option in SECURITY_OPTIONS for word in ("--security-opt", option)]
    words += ["--device-cgroup-rule", DEVICE_RULE, "--cgroupns", CGROUP_NAMESPACE]
    words += [word for path, options in TMPFS.items() for word in ("--tmpfs", f"{path}:{options}".rstrip(":"))]
    return [*words, "--volume", ENGINE_DIRECTORY]


def run(container: Container, command: list[str]) -> tuple[int, str]:
    """Run a command in a host as root; returns its exit status and output."""
    status, output = container.exec_run(command)
    return status or 0, b"".join([output] if isinstance(output, bytes) else output).decode(errors="replace")


def logs(container: Container, lines: int = 60) -> str:
    """The end of a host's journal, or of its console when systemd is not up."""
    container.reload()
    if container.status == "running":
        status, journal = run(container, ["journalctl", "--no-pager", "-n", str(lines)])
        if status == 0:
            return journal
    return str(container.logs(tail=lines).decode(errors="replace"))


def label_filters(labels: dict[str, str]) -> dict[str, str | list[str] | bool]:
    """The engine's filters for objects that carry all of these labels."""
    return {"label": [f"{name}={value}" for name, value in labels.items()]}
