"""Machines and disks are lost and replaced while a night streams: no alert is lost or doubled, and nobody can tell.

Each takes minutes on two cores, so `make drill` runs them and `make test` does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
import yaml

from local_system import ROOT, STATE, System, await_that, client, playbook, read_topic, run
from observing import observed_night
from zads import kafka, names
from zads.site import look

pytestmark = pytest.mark.timeout(3600)
HOSTS = ROOT / "inventories" / "local" / "hosts.yml"
NEW = 4  # the number of the broker that joins and leaves
MEMBER = "echo srvr | openssl s_client -quiet -connect {0}:2182 -CAfile /etc/zookeeper/tls/ca.pem -cert "
MEMBER += "/etc/zookeeper/tls/keystore.pem -key /etc/zookeeper/tls/keystore.pem 2>/dev/null | grep Mode"


@contextmanager
def fourth_broker(system: System) -> Iterator[None]:
    """The public site has a fourth host, with a broker. Afterwards the inventory is as it was, and the host is gone.

    The other hosts keep the addresses that the lab has given them.
    """
    before = HOSTS.read_text()
    inventory = yaml.safe_load(before)["all"]
    for host, variables in inventory["hosts"].items():
        variables["lab_address"] = system.inventory.address(host)
    subnet = system.inventory.common("lab_subnet").rpartition(".")[0]
    inventory["hosts"]["public-4"] = {"node_id": NEW, "kafka_rack": "d", "lab_address": f"{subnet}.40"}
    inventory["children"]["public_kafka"]["hosts"]["public-4"] = {}
    HOSTS.write_text(yaml.safe_dump({"all": inventory}, sort_keys=False))
    try:
        run("scripts/with-engine", ".venv/bin/zads", "lab", "up", "local")
        yield
    finally:
        HOSTS.write_text(before)
        for container in system.lab.containers():
            if container.name.endswith("-public-4"):
                container.remove(force=True, v=True)
        run("scripts/with-engine", ".venv/bin/zads", "lab", "up", "local")


@contextmanager
def addresses(system: System, host: str) -> Iterator[Callable[[str], None]]:
    """Gives a stopped host another address, on its network and in the inventory. Afterwards it has its own again."""
    lab, own = STATE / "lab" / "hosts.yml", system.inventory.address(host)
    before, container = lab.read_text(), system.lab.container(host)
    network = docker.from_env().networks.get(system.lab.network_name)

    def move(address: str) -> None:
        network.disconnect(container, force=True)
        network.connect(container, ipv4_address=address, aliases=[host])
        known = yaml.safe_load(lab.read_text())
        known["all"]["hosts"][host]["ansible_host"] = address
        lab.write_text(yaml.safe_dump(known, sort_keys=False))

    try:
        yield move
    finally:
        if lab.read_text() != before:
            move(own)
            lab.write_text(before)


@contextmanager
def extra_names(host: str) -> Iterator[Callable[[str], None]]:
    """Writes more names of a host into the inventory. Afterwards the inventory is as it was."""
    before = HOSTS.read_text()

    def write(*names: str) -> None:
        inventory = yaml.safe_load(before)
        inventory["all"]["hosts"][host]["certificates_extra_names"] = list(names)
        HOSTS.write_text(yaml.safe_dump(inventory, sort_keys=False))

    try:
        yield write
    finally:
        HOSTS.write_text(before)


def replicas() -> Counter[int]:
    """How many replicas each broker of the public site has."""
    cluster, _ = look.describe(kafka.admin(client("admin-public")))
    return Counter(broker for one in cluster.partitions for broker in one.replicas)


def active(system: System, host: str) -> str:
    return system.on(host, "systemctl is-active kafka", check=False).strip()


def in_sync(number: int) -> bool:
    cluster, _ = look.describe(kafka.admin(client("admin-public")))
    return all(number in one.isr for one in cluster.holds(number)) and bool(cluster.holds(number))


def test_a_lost_disk_is_replaced_while_a_night_streams(system: System, tmp_path: Path) -> None:
    """The broker does not start with an empty disk by itself; the operator's command starts it when that is safe."""
    topic = names.night_topic("20181129", 1)
    before = len(read_topic("admin-public", topic))
    with observed_night("20300301", tmp_path, visits=60) as observers:
        system.on("public-2", "systemctl kill --signal=KILL kafka; rm -rf /var/lib/kafka/data")
        await_that(
            "the broker refuses to start",
            lambda: (
                "has no data, and this broker has had data there"
                in system.on("public-2", "journalctl -u kafka --since -60s --output cat")
            ),
        )
        assert active(system, "public-2") != "active"
        refused = run("make", "deploy", "TAGS=kafka", check=False)
        assert refused.returncode != 0
        assert "make replace ENV=local HOST=public-2" in refused.stdout
        run("make", "replace", "HOST=public-2", "YES=1")
        assert in_sync(2)
    assert observers["public"].least == 2, "the loss was not seen"
    assert len(read_topic("admin-public", topic)) == before
    run("make", "verify")


def test_a_lost_machine_is_replaced_while_a_night_streams(system: System, tmp_path: Path) -> None:
    """The machine of a broker and of an ensemble's member: the new one has nothing but its operating system."""
    topic = names.night_topic("20181129", 1)
    before = len(read_topic("admin-public", topic))
    with observed_night("20300302", tmp_path) as observers:
        system.lab.container("public-1").remove(force=True, v=True)
        run("scripts/with-engine", ".venv/bin/zads", "lab", "up", "local")
        run("make", "replace", "HOST=public-1", "YES=1", timeout=1500)
        assert in_sync(1)
        assert "Mode: " in system.on("public-1", MEMBER.format(system.inventory.address("public-1")))
    assert observers["public"].least == 2, "the loss was not seen"
    assert len(read_topic("admin-public", topic)) == before
    run("make", "verify")


def test_a_second_lost_disk_is_not_touched(system: System) -> None:
    """Kafka has one whole copy left: nothing is replaced before the other broker is back."""
    system.on("public-3", "systemctl stop kafka")
    try:
        found = run("make", "replace", "HOST=public-2", "YES=1", "ARGS=-e kafka_gate_wait=4", check=False)
        assert found.returncode != 0
        assert "broker 2 may not be replaced" in found.stdout
        assert "already away: broker 3" in found.stdout
        assert active(system, "public-2") == "active"
    finally:
        system.on("public-3", "systemctl start kafka")
    await_that("the broker is back in sync", lambda: in_sync(3), 240)


def test_a_site_cannot_be_left_with_fewer_brokers_than_replicas(system: System) -> None:
    found = run("make", "remove", "HOST=public-3", "YES=1", check=False)
    assert found.returncode != 0
    assert "public-3 cannot leave" in found.stdout
    assert active(system, "public-3") == "active"


@pytest.mark.parametrize("dead", [False, True], ids=["alive", "dead"])
def test_a_broker_joins_and_leaves_while_a_night_streams(system: System, tmp_path: Path, dead: bool) -> None:
    """Its share of the replicas comes to it and goes again, also if its machine has died in the meantime."""
    topic = names.night_topic("20181129", 1)
    before = len(read_topic("admin-public", topic))
    with observed_night("20300306" if dead else "20300305", tmp_path, visits=150) as observers:
        with fourth_broker(system):
            run("make", "deploy", timeout=1200)
            joined = replicas()
            shown = run("make", "rebalance", "SITE=public", "ARGS=--check")
            assert "replicas to copy" in shown.stdout
            assert replicas() == joined, "the plan alone has moved something"
            run("make", "rebalance", "SITE=public", "YES=1")
            counts = replicas()
            assert max(counts.values()) - min(counts.values()) <= 1, counts
            if dead:
                system.lab.container("public-4").kill()
            run("make", "remove", "HOST=public-4", "YES=1", timeout=1200)
            assert sorted(replicas()) == [1, 2, 3]
            assert dead or active(system, "public-4") != "active"
        run("make", "deploy", timeout=1200)
    assert observers["public"].least >= 2
    assert len(read_topic("admin-public", topic)) == before
    run("make", "verify")


def test_a_host_gets_another_address_and_its_own_again_while_a_night_streams(system: System, tmp_path: Path) -> None:
    """By the runbook rename-a-host, both ways."""
    host, own = "public-2", system.inventory.address("public-2")
    other = f"{own.rpartition('.')[0]}.42"
    with (
        observed_night("20300307", tmp_path, 200, 10, real=True) as observers,
        extra_names(host) as named, addresses(system, host) as move,
    ):  # fmt: skip
        for address, former in ((other, own), (own, other)):
            named(address, former)
            run("make", "deploy", timeout=1200)
            system.on(host, "systemctl stop kafka zookeeper")
            move(address)
            run("make", "deploy", timeout=1200)
            await_that("the broker is back in sync", lambda: in_sync(2), 240)
            serves = MEMBER.format(address)
            assert "Mode: " in system.on(host, serves), "the ensemble's member serves at its new address"
            run("make", "verify")
    run("make", "deploy", timeout=1200)
    assert observers["public"].least == 2, "the change was not seen"
    run("make", "verify")
    counts = playbook("deploy")
    assert {name: count["changed"] for name, count in counts.items() if count["changed"]} == {}
