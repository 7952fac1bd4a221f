"""An inventory as containers that boot systemd: its hosts with their names and addresses, on their own network."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import docker.errors
from docker.models.containers import Container
from docker.models.networks import Network
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from zads.build.engine import LABEL
from zads.build.images import SUITE, Builder
from zads.errors import ZadsError
from zads.inventory import Inventory
from zads.lab import machine
from zads.lab.lock import alone
from zads.lab.machine import Host, label_filters
from zads.lab.reach import Reach

#: Seconds within which a host must have booted.
BOOT_SECONDS = 90
#: The first address given to a host, counted from the network's own.
FIRST_ADDRESS = 11


class Lab:
    """The containers of one inventory. ``say`` gets a line for each step that takes time."""

    def __init__(self, inventory: Inventory, say: Callable[[str], None] = print) -> None:
        self.inventory = inventory
        self.env = inventory.env
        self.say = say
        self._reach = Reach(inventory.state / "lab")
        self._engine = docker.from_env(timeout=120)
        self._labels = {f"{LABEL}.env": self.env, f"{LABEL}.checkout": str(inventory.root)}
        # Its cleaner is an image of a registry; here labels and `removal.down` do that work.
        testcontainers_config.ryuk_disabled = True

    @property
    def network_name(self) -> str:
        """The engine's name of the lab's network."""
        return f"zads-{self.env}"

    def up(self) -> list[Host]:
        """Start every host, and write how Ansible reaches them.

        Hosts that already run as they should are left alone; what an interruption left is repaired. Raises ZadsError
        that names the host and, if it does not boot, quotes its journal.
        """
        hosts = list(self.hosts())
        with alone(self.inventory.root, self.say):
            self._refuse_foreign()
            network = self._network()
            self._reach.key()
            with ThreadPoolExecutor(max_workers=4) as pool:
                containers = list(pool.map(lambda host: self._host_up(host, network), hosts))
            self._reach.write(list(zip(hosts, containers, strict=True)))
        return hosts

    def hosts(self) -> Iterator[Host]:
        """The inventory's hosts; an image that is missing is built."""
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
                image=builder.host(variables.get("lab_image", SUITE)),
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
        """Raises ZadsError if another checkout has a lab of this name."""
        filters = label_filters({f"{LABEL}.env": self.env})
        for container in self._engine.containers.list(all=True, filters=filters, ignore_removed=True):
            owner = container.labels.get(f"{LABEL}.checkout", "")
            if owner != str(self.inventory.root):
                there = f"take it down there: make down ENV={self.env}"
                gone = f"that checkout is gone, so: .venv/bin/zads lab down {self.env} --of {owner}"
                raise ZadsError(f"a lab {self.env} of {owner} exists", hint=there if Path(owner).exists() else gone)

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

    def _host_up(self, host: Host, network: Network) -> Container:
        container = self._existing(host)
        if container is None:
            self.say(f"{host.name} ({host.image}, {host.address})")
            container = self._create(host, network)
        elif container.status != "running":
            self.say(f"{host.name} starts again")
            container.start()
        self._await_boot(host, container)
        if host.ssh:
            self._reach.admit(container)
        return container

    def _existing(self, host: Host) -> Container | None:
        try:
            container = self._engine.containers.get(host.container)
        except docker.errors.NotFound:
            return None
        if container.status in ("created", "removing", "dead"):  # left by an interruption
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
        wanted = (
            DockerContainer(host.image)
            .with_name(host.container)
            .with_kwargs(
                hostname=host.name,
                network=network.name,
                networking_config={network.name: endpoint},
                labels={LABEL: "lab", f"{LABEL}.spec": host.spec, f"{LABEL}.host": host.name, **self._labels},
                cap_add=machine.CAPABILITIES,
                security_opt=machine.SECURITY_OPTIONS,
                device_cgroup_rules=[machine.DEVICE_RULE],
                cgroupns=machine.CGROUP_NAMESPACE,
                mem_limit=host.memory,
                stop_signal=machine.STOP_SIGNAL,
            )
        )
        sizes = {path: f"size={size}" for path, size in host.tmpfs.items()}
        for path, options in (machine.TMPFS | sizes).items():
            wanted = wanted.with_tmpfs_mount(path, options)
        if host.runs_containers:
            # A volume with labels, so that `removal.down` finds it.
            volume = f"{host.container}-docker"
            self._engine.volumes.create(volume, labels={LABEL: "lab", **self._labels})
            wanted = wanted.with_volume_mapping(volume, machine.ENGINE_DIRECTORY, "rw")
        return wanted.start().get_wrapped_container()

    def _await_boot(self, host: Host, container: Container) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        answer = ""
        while time.monotonic() < deadline:
            container.reload()
            if container.status != "running":
                break
            answer = machine.run(container, ["systemctl", "is-system-running"])[1].strip()
            if answer in ("running", "degraded"):
                return
            time.sleep(0.2)
        raise ZadsError(f"{host.name} does not boot ({container.status}; {answer}): {machine.logs(container)}")

    def containers(self) -> list[Container]:
        """This lab's containers, running or not, in the order of their names."""
        found = self._engine.containers.list(all=True, filters=label_filters(self._labels), ignore_removed=True)
        return sorted(found, key=lambda container: str(container.name))

    def container(self, host: str) -> Container:
        """The container of one host of the inventory. Raises ZadsError if the lab does not have it."""
        for container in self.containers():
            if container.labels.get(f"{LABEL}.host") == host:
                return container
        raise ZadsError(f"the lab {self.env} has no host {host}", hint=f"make lab ENV={self.env}")
