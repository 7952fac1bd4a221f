"""Images are named by what they are made of, and a lab by its inventory."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from zads.errors import ZadsError
from zads.inventory import Inventory
from zads.lab import hosts, images

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path / "image"


def test_the_same_inputs_give_the_same_tag(tree: Path) -> None:
    assert images._inputs_hash([tree], "a") == images._inputs_hash([tree], "a")


def test_any_change_of_content_name_mode_or_argument_gives_another_tag(tree: Path) -> None:
    tags = {images._inputs_hash([tree], "a"), images._inputs_hash([tree], "b")}
    (tree / "Dockerfile").write_text("FROM nothing\n")
    tags.add(images._inputs_hash([tree], "a"))
    (tree / "Dockerfile").chmod(0o755)
    tags.add(images._inputs_hash([tree], "a"))
    (tree / "Dockerfile").rename(tree / "Containerfile")
    tags.add(images._inputs_hash([tree], "a"))
    assert len(tags) == 5


def test_what_python_leaves_behind_does_not_count(tree: Path) -> None:
    before = images._inputs_hash([tree])
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert images._inputs_hash([tree]) == before


@pytest.mark.parametrize("spoil", ["missing", "unexpected", "altered"])
def test_a_jar_that_is_not_the_pinned_one_is_refused(tmp_path: Path, spoil: str) -> None:
    (tmp_path / "a.jar").write_bytes(b"a")
    pins = tmp_path / "jars.sha256"
    pins.write_text(subprocess.run(["sha256sum", "a.jar"], cwd=tmp_path, capture_output=True, text=True).stdout)
    images._check_jars(tmp_path, pins)
    if spoil == "missing":
        (tmp_path / "a.jar").unlink()
    elif spoil == "unexpected":
        (tmp_path / "b.jar").write_bytes(b"b")
    else:
        (tmp_path / "a.jar").write_bytes(b"c")
    with pytest.raises(ZadsError, match=r"jar [ab]\.jar"):
        images._check_jars(tmp_path, pins)


def test_an_archive_depends_on_its_contents_alone(tmp_path: Path) -> None:
    top = tmp_path / "kafka"
    (top / "bin").mkdir(parents=True)
    (top / "bin" / "run").write_text("x")
    images._pack(top, tmp_path / "one.tgz")
    (top / "bin" / "run").touch()
    images._pack(top, tmp_path / "two.tgz")
    assert (tmp_path / "one.tgz").read_bytes() == (tmp_path / "two.tgz").read_bytes()


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


def test_an_inventory_that_adds_packages_has_a_worker_image_of_its_own(tmp_path):
    for env in ("local", "prod"):
        (tmp_path / "inventories" / env / "filters").mkdir(parents=True)
    own = tmp_path / "inventories/prod/filters/packages.txt"
    own.write_text("sortedcontainers==2.4.0 --hash=sha256:00\n")
    (tmp_path / "inventories/local/filters/near.py").touch()
    assert images.own_packages(tmp_path) == {"prod": own}
    assert (images._named("filter-worker", ""), images._named("filter-worker", "prod")) == (
        "filter-worker",
        "filter-worker-prod",
    )
