"""An inventory as containers that boot systemd: its hosts with their groups, names and addresses.

``up`` is idempotent and repairs what an interruption left; ``down`` removes exactly what carries this checkout's
labels. The engine's privileged mode is not used: a host gets the capabilities that a machine has, one by one, so that a
lab also runs where the engine itself is confined.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import docker.errors
import yaml
from docker.models.containers import Container
from docker.models.networks import Network
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from zads.build.engine import LABEL
from zads.build.images import Builder
from zads.errors import ZadsError
from zads.inventory import Inventory

CAPABILITIES = (
    "AUDIT_CONTROL AUDIT_READ BLOCK_SUSPEND DAC_READ_SEARCH IPC_LOCK IPC_OWNER LEASE LINUX_IMMUTABLE MAC_ADMIN "
    "MAC_OVERRIDE NET_ADMIN NET_BROADCAST SYSLOG SYS_ADMIN SYS_BOOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO "
    "SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"
).split()
#: A host that has not booted by then never will.
BOOT_SECONDS = 90
#: The account that the lab makes on hosts that are reached by SSH; it may use sudo, as an operator's does.
OPERATOR = "siteops"
#: The first address given to a host, counted from the network's own.
FIRST_ADDRESS = 11


@dataclass(frozen=True)
class Host:
    """One machine of the lab: what it is made from."""

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
        """Changes whenever the container would have to be made anew."""
        facts: list[Any] = [self.name, self.address, self.image, self.memory, self.runs_containers, CAPABILITIES]
        if self.tmpfs:
            facts.append(self.tmpfs)
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


class Lab:
    """The containers of one inventory.

    ``say`` gets a line for each step that takes time. Errors: ZadsError that names the host and shows its journal.
    """

    def __init__(self, inventory: Inventory, say: Callable[[str], None] = print) -> None:
        self.inventory = inventory
        self.env = inventory.env
        self.directory = inventory.state / "lab"
        self.say = say
        self._engine = docker.from_env(timeout=120)
        self._labels = {f"{LABEL}.env": self.env, f"{LABEL}.checkout": str(inventory.root)}
        # Its cleaner is an image of a registry; labels and `down` do that work here.
        testcontainers_config.ryuk_disabled = True

    @property
    def network_name(self) -> str:
        """The engine's name of the lab's network."""
        return f"zads-{self.env}"

    # --- up --------------------------------------------------------------------------------------------------------

    def up(self) -> list[Host]:
        """Have every host run, and write how Ansible reaches them; changes nothing that is as it should be."""
        hosts = list(self.hosts())
        with alone(self.inventory.root, self.say):
            self._refuse_foreign()
            network = self._network()
            self._key()
            with ThreadPoolExecutor(max_workers=4) as pool:
                list(pool.map(lambda host: self._host_up(host, network), hosts))
            self._write_inventory(hosts)
        return hosts

    def hosts(self) -> Iterator[Host]:
        """What the inventory describes, with images built where they are missing."""
        inventory = self.inventory
        subnet = self._subnet()
        builder = Builder(inventory.root, self.say)
        container_hosts = set(inventory.group("container_hosts"))
        for number, name in enumerate(inventory.hosts):
            variables = inventory.hosts[name]
            yield Host(
                name=name,
                container=f"zads-{self.env}-{name.partition('.')[0]}",
                address=str(variables.get("lab_address", subnet[FIRST_ADDRESS + number])),
                image=builder.host(variables.get("lab_image", "bookworm")),
                memory=str(variables.get("lab_memory", "2g")),
                ssh=variables.get("lab_connection") == "ssh",
                runs_containers=name in container_hosts,
                tmpfs={path: str(size) for path, size in variables.get("lab_tmpfs", {}).items()},
                overrides=variables.get("lab_overrides", {}),
            )

    def _subnet(self) -> ipaddress.IPv4Network:
        text = self.inventory.common("lab_subnet")
        if not text:
            raise ZadsError(
                f"inventory {self.env} has no lab_subnet", hint="set it in group_vars/all/main.yml, e.g. 172.28.77.0/24"
            )
        try:
            return ipaddress.IPv4Network(text)
        except ValueError as error:
            raise ZadsError(f"lab_subnet of inventory {self.env}: {error}") from error

    def _refuse_foreign(self) -> None:
        """A lab of this name that belongs to another checkout is not ours to change."""
        filters: dict[str, str | list[str] | bool] = {"label": f"{LABEL}.env={self.env}"}
        for container in self._engine.containers.list(all=True, filters=filters, ignore_removed=True):
            owner = container.labels.get(f"{LABEL}.checkout")
            if owner != str(self.inventory.root):
                raise ZadsError(
                    f"a lab {self.env} of {owner} exists", hint=f"take it down there: make down ENV={self.env}"
                )

    def _network(self) -> Network:
        for network in self._engine.networks.list(names=[f"^{self.network_name}$"]):
            return network
        subnet = self._subnet()
        pool = docker.types.IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))
        try:
            return self._engine.networks.create(
                self.network_name,
                driver="bridge",
                ipam=docker.types.IPAMConfig(pool_configs=[pool]),
                labels={LABEL: "lab", **self._labels},
            )
        except docker.errors.APIError as error:
            raise ZadsError(
                f"network {self.network_name} ({subnet}): {error.explanation}", hint="choose another lab_subnet"
            ) from error

    def _host_up(self, host: Host, network: Network) -> None:
        container = self._existing(host)
        if container is None:
            self.say(f"{host.name} ({host.image}, {host.address})")
            container = self._create(host, network)
        elif container.status != "running":
            self.say(f"{host.name} starts again")
            container.start()
        self._await_boot(host, container)
        if host.ssh:
            self._admit(container)

    def _existing(self, host: Host) -> Container | None:
        try:
            container = self._engine.containers.get(host.container)
        except docker.errors.NotFound:
            return None
        if container.status in ("created", "removing", "dead"):  # an interruption's remains
            container.remove(force=True, v=True)
            return None
        if container.labels.get(f"{LABEL}.spec") != host.spec:
            raise ZadsError(
                f"{host.name} was made from another image or other settings",
                hint=f"take the lab down first: make down ENV={self.env}",
            )
        if container.status == "paused":
            container.unpause()
        return container

    def _create(self, host: Host, network: Network) -> Container:
        endpoint = self._engine.api.create_endpoint_config(ipv4_address=host.address, aliases=[host.name])
        machine = (
            DockerContainer(host.image)
            .with_name(host.container)
            .with_tmpfs_mount("/run", "exec")
            .with_tmpfs_mount("/run/lock")
            .with_kwargs(
                hostname=host.name,
                network=network.name,
                networking_config={network.name: endpoint},
                labels={LABEL: "lab", f"{LABEL}.spec": host.spec, f"{LABEL}.host": host.name, **self._labels},
                cap_add=CAPABILITIES,
                security_opt=["seccomp=unconfined", "apparmor=unconfined"],
                device_cgroup_rules=["a *:* rwm"],
                cgroupns="private",
                mem_limit=host.memory,
                stop_signal="SIGRTMIN+3",
            )
        )
        for path, size in host.tmpfs.items():
            machine = machine.with_tmpfs_mount(path, f"size={size}")
        if host.runs_containers:
            # An engine inside cannot keep its layers on layers; a file system of this computer carries them.
            volume = f"{host.container}-docker"
            self._engine.volumes.create(volume, labels={LABEL: "lab", **self._labels})
            machine = machine.with_volume_mapping(volume, "/var/lib/docker", "rw")
        return machine.start().get_wrapped_container()

    def _await_boot(self, host: Host, container: Container) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        answer = ""
        while time.monotonic() < deadline:
            container.reload()
            if container.status != "running":
                break
            answer = _run(container, ["systemctl", "is-system-running"])[1].strip()
            if answer in ("running", "degraded"):
                return
            time.sleep(0.2)
        raise ZadsError(f"{host.name} does not boot ({container.status}; {answer}): {logs(container)}")

    # --- how it is reached -------------------------------------------------------------------------------------------

    def _key(self) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = self.directory / "id_ed25519"
        if not key.exists():
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "zads lab", "-f", str(key)], check=True
            )
        return key

    def _admit(self, container: Container) -> None:
        """Make the operator's account: a key, no password, sudo without asking."""
        public = self._key().with_suffix(".pub").read_text().strip()
        script = f"""set -e
            id {OPERATOR} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {OPERATOR}
            install -d -m 700 -o {OPERATOR} -g {OPERATOR} /home/{OPERATOR}/.ssh
            cd /home/{OPERATOR}/.ssh
            echo '{public}' > authorized_keys
            chown {OPERATOR}: authorized_keys
            chmod 600 authorized_keys
            echo '{OPERATOR} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{OPERATOR}
            chmod 440 /etc/sudoers.d/{OPERATOR}"""
        status, output = _run(container, ["sh", "-c", script])
        if status:
            raise ZadsError(f"{container.name}: no account for the operator: {output}")

    def _write_inventory(self, hosts: list[Host]) -> None:
        """Write what Ansible needs beside the inventory: addresses, connections, and the lab's smaller memories."""
        known_hosts = self.directory / "known_hosts"
        lines = []
        entries: dict[str, dict[str, Any]] = {}
        for host in hosts:
            entry: dict[str, Any] = {"ansible_host": host.address, **host.overrides}
            if host.ssh:
                machine = self._engine.containers.get(host.container)
                public = _run(machine, ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])[1]
                lines.append(f"{host.address} {' '.join(public.split()[:2])}\n")
                entry |= {
                    "ansible_connection": "ssh",
                    "ansible_user": OPERATOR,
                    "ansible_ssh_private_key_file": str(self._key()),
                    "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes",
                }
            else:
                entry |= {"ansible_connection": "community.docker.docker", "ansible_docker_host": host.container}
            entries[host.name] = entry
        known_hosts.write_text("".join(lines))
        text = yaml.safe_dump({"all": {"hosts": entries}}, sort_keys=False)
        target = self.directory / "hosts.yml"
        if not target.exists() or target.read_text() != text:
            partial = target.with_suffix(".partial")
            partial.write_text(text)
            partial.rename(target)

    # --- what there is -----------------------------------------------------------------------------------------------

    def containers(self) -> list[Container]:
        """This lab's containers, running or not, in the order of their names."""
        found = self._engine.containers.list(all=True, filters={"label": _pairs(self._labels)}, ignore_removed=True)
        return sorted(found, key=lambda container: str(container.name))

    def container(self, host: str) -> Container:
        """The container of one host of the inventory. Errors: ZadsError when the lab is not up."""
        for container in self.containers():
            if container.labels.get(f"{LABEL}.host") == host:
                return container
        raise ZadsError(f"the lab {self.env} has no host {host}", hint=f"make lab ENV={self.env}")


def logs(container: Container, lines: int = 60) -> str:
    """The end of a host's journal, or of its console when systemd is not up."""
    container.reload()
    if container.status == "running":
        status, journal = _run(container, ["journalctl", "--no-pager", "-n", str(lines)])
        if status == 0:
            return journal
    return str(container.logs(tail=lines).decode(errors="replace"))


def _run(container: Container, command: list[str]) -> tuple[int, str]:
    status, output = container.exec_run(command)
    return status or 0, b"".join([output] if isinstance(output, bytes) else output).decode(errors="replace")


@contextmanager
def alone(root: Path, say: Callable[[str], None] = print) -> Iterator[None]:
    """One command at a time makes or removes a checkout's hosts; a second waits for the first, however that ends."""
    path = root / ".zads" / "lab.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another command that makes or removes hosts of this checkout")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def down(root: Path, env: str | None = None) -> int:
    """Remove the containers, networks and volumes that carry this checkout's labels; returns how many.

    ``env`` None means every environment's. What another checkout made, or anybody else, is not touched.
    """
    with alone(root):
        return _down(root, env)


def _down(root: Path, env: str | None) -> int:
    engine = docker.from_env(timeout=120)
    labels = {f"{LABEL}.checkout": str(root)} | ({f"{LABEL}.env": env} if env else {})
    filters: dict[str, str | list[str] | bool] = {"label": _pairs(labels)}
    count = 0
    containers = engine.containers.list(all=True, filters=filters, ignore_removed=True)
    with ThreadPoolExecutor(max_workers=8) as pool:
        count += sum(pool.map(_remove_container, containers))
    for network in engine.networks.list(filters=filters):
        network.remove()
        count += 1
    for volume in engine.volumes.list(filters=filters):
        volume.remove(force=True)
        count += 1
    for directory in (root / ".zads").glob(env or "*"):
        # Addresses, facts and Kafka's memory of passwords were true of these machines alone.
        for name in ("lab", "facts"):
            shutil.rmtree(directory / name, ignore_errors=True)
    return count


def _remove_container(container: Container) -> int:
    try:
        container.remove(force=True, v=True)
    except docker.errors.NotFound:
        return 0
    except docker.errors.APIError as error:
        if error.status_code != 409:  # its removal is under way already
            raise
    return 1


def _pairs(labels: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in labels.items()]
