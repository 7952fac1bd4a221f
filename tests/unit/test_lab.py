"""A lab is its inventory, as containers."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from zads import names
from zads.commands import lab
from zads.errors import ZadsError
from zads.inventory import Inventory
from zads.lab import machine, reach
from zads.lab.lock import alone

ROOT = Path(__file__).resolve().parents[2]


def test_an_inventory_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ZadsError, match="local"):
        Inventory.load("nowhere", ROOT)


def test_the_data_policy_has_the_programs_of_the_inventory_and_takes_changes() -> None:
    inventory = Inventory.load("local", ROOT, realised=False)
    assert inventory.policy().programs == frozenset(names.accounts(inventory.groups)) != frozenset()
    changed = inventory.policy(topics_night={**inventory.common("topics_night"), "partitions": 1})
    assert changed.topics_night.partitions == 1 != inventory.policy().topics_night.partitions


def test_the_local_inventory_has_two_sites_of_three() -> None:
    inventory = Inventory.load("local", ROOT, realised=False)
    for group in ("origin_kafka", "public_kafka", "origin_zookeeper", "public_zookeeper"):
        assert len(inventory.group(group)) == 3
    assert inventory.common("secrets_source") == "generated"
    assert {inventory.hosts[name]["site"] for name in inventory.group("public_kafka")} == {"public"}


def test_filters_beside_an_inventory_are_no_part_of_it(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "inventories/local", tmp_path / "inventories/local")
    shutil.copytree(ROOT / "ansible", tmp_path / "ansible")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    filters = tmp_path / "inventories/local/filters"
    filters.mkdir(exist_ok=True)
    (filters / "stars.csv").write_text("name,ra,dec\nVega,279.2,38.8\n")
    (filters / "cut.py").write_text("from zads.filters import Filter\n")
    assert Inventory.load("local", tmp_path, realised=False).hosts.keys() == Inventory.load("local", ROOT).hosts.keys()


def test_a_host_needs_another_container_when_what_it_keeps_in_memory_changes() -> None:
    def spec(**more: dict[str, str]) -> str:
        return machine.Host(
            "a", "zads-a", "172.28.76.11", "host:1", "2g", ssh=False, runs_containers=False, **more
        ).spec

    assert len({spec(), spec(tmpfs={"/var/lib/kafka": "3g"}), spec(tmpfs={"/var/lib/kafka": "4g"})}) == 3


def test_a_second_command_on_the_labs_hosts_waits_for_the_first(tmp_path: Path) -> None:
    said: list[str] = []
    second_ran = threading.Event()

    def second() -> None:
        with alone(tmp_path, said.append):
            second_ran.set()

    thread = threading.Thread(target=second)
    with alone(tmp_path, said.append):
        thread.start()
        deadline = time.monotonic() + 10
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        assert said == ["waiting for another command that makes or removes hosts of this checkout"]
        assert not second_ran.is_set()
    thread.join(10)
    assert second_ran.is_set()


def test_docker_is_given_the_same_rights_by_vagrant_as_by_a_lab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab.Builder, "__init__", lambda self, root, say: None)
    monkeypatch.setattr(lab.Builder, "host", lambda self, suite: f"zads/host-{suite}:0")
    lab.image("trixie")
    answer = json.loads(capsys.readouterr().out)
    assert answer["image"] == "zads/host-trixie:0"
    words = answer["arguments"]
    options = list(zip(words[::2], words[1::2], strict=True))
    assert [value for option, value in options if option == "--cap-add"] == machine.CAPABILITIES
    assert options[len(machine.CAPABILITIES) :] == [
        ("--security-opt", "seccomp=unconfined"),
        ("--security-opt", "apparmor=unconfined"),
        ("--device-cgroup-rule", "a *:* rwm"),
        ("--cgroupns", "private"),
        ("--tmpfs", "/run:exec"),
        ("--tmpfs", "/run/lock"),
        ("--volume", "/var/lib/docker"),
    ]


def test_ansible_reaches_a_host_through_the_engine_unless_it_wants_ssh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "run", lambda container, command: (0, "ssh-ed25519 AAAA root@a\n"))
    monkeypatch.setattr(reach.Reach, "key", lambda self: tmp_path / "id_ed25519")
    common: dict[str, Any] = {"image": "host:1", "memory": "2g", "runs_containers": False}
    quiet = machine.Host("a", "zads-a", "172.28.76.11", ssh=False, overrides={"kafka_heap": "256m"}, **common)
    remote = machine.Host("b", "zads-b", "172.28.76.12", ssh=True, **common)
    reach.Reach(tmp_path).write([(quiet, None), (remote, None)])
    hosts = yaml.safe_load((tmp_path / "hosts.yml").read_text())["all"]["hosts"]
    assert hosts["a"] == {
        "ansible_host": "172.28.76.11", "kafka_heap": "256m",
        "ansible_connection": "community.docker.docker", "ansible_docker_host": "zads-a",
    }  # fmt: skip
    assert (hosts["b"]["ansible_connection"], hosts["b"]["ansible_user"]) == ("ssh", "siteops")
    assert (tmp_path / "known_hosts").read_text() == "172.28.76.12 ssh-ed25519 AAAA\n"
