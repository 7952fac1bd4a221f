"""A lab is its inventory, as containers."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest

from zads.errors import ZadsError
from zads.inventory import Inventory
from zads.lab import hosts

ROOT = Path(__file__).resolve().parents[2]


def test_an_inventory_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ZadsError, match="local"):
        Inventory.load("nowhere", ROOT)


def test_the_local_inventory_has_two_sites_of_three() -> None:
    inventory = Inventory.load("local", ROOT, realised=False)
    for group in ("origin_kafka", "public_kafka", "origin_zookeeper", "public_zookeeper"):
        assert len(inventory.group(group)) == 3
    assert inventory.common("survey") == "ztf"
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


def test_a_host_is_made_anew_when_what_it_keeps_in_memory_changes() -> None:
    def spec(**more: dict[str, str]) -> str:
        return hosts.Host("a", "zads-a", "172.28.76.11", "host:1", "2g", ssh=False, runs_containers=False, **more).spec

    assert len({spec(), spec(tmpfs={"/var/lib/kafka": "3g"}), spec(tmpfs={"/var/lib/kafka": "4g"})}) == 3


def test_a_second_command_on_the_labs_hosts_waits_for_the_first(tmp_path: Path) -> None:
    said: list[str] = []
    second_ran = threading.Event()

    def second() -> None:
        with hosts.alone(tmp_path, said.append):
            second_ran.set()

    thread = threading.Thread(target=second)
    with hosts.alone(tmp_path, said.append):
        thread.start()
        deadline = time.monotonic() + 10
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        assert said == ["waiting for another command that makes or removes hosts of this checkout"]
        assert not second_ran.is_set()
    thread.join(10)
    assert second_ran.is_set()
