"""A file system grows to the size of its device while it is used, and nothing else is touched."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

MB = 1 << 20


@pytest.fixture(scope="module")
def module(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("modules/grown_filesystem.py")


class Host:
    """A host with one file system: what its tools say, and what was run."""

    def __init__(self, source: str, kind: str, size: int, device: int) -> None:
        self.source, self.kind, self.size, self.device = source, kind, size, device
        self.ran: list[str] = []

    def __call__(self, *command: str) -> str:
        self.ran.append(" ".join(command))
        if command[0] in ("resize2fs", "xfs_growfs"):
            self.size = self.device
        listed = {"source": self.source, "fstype": self.kind, "target": "/data"}
        return {
            "findmnt": json.dumps({"filesystems": [listed]}),
            "dumpe2fs": f"Inode count:   5\nBlock count:    {self.size // 4096}\nBlock size:     4096\n",
            "xfs_info": f"meta-data=/dev/b\ndata     =      bsize=4096   blocks={self.size // 4096}, imaxpct=25\n",
            "blockdev": f"{self.device}\n",
        }.get(command[0], "")


@pytest.mark.parametrize(("kind", "grows"), [("ext4", "resize2fs /dev/b"), ("xfs", "xfs_growfs /data")])
def test_it_grows_once_and_check_mode_only_says_so(module: ModuleType, kind: str, grows: str) -> None:
    host = Host("/dev/b", kind, 100 * MB, 300 * MB)
    checked = module.settle(host, "/data/kafka", check=True)
    assert (checked["changed"], host.size) == (True, 100 * MB)
    assert checked["said"] == f"/data ({kind} on /dev/b) would grow from {100 * MB} to {300 * MB} bytes"
    assert module.settle(host, "/data/kafka", check=False)["after"] == 300 * MB
    assert grows in host.ran
    again = module.settle(host, "/data/kafka", check=False)
    assert (again["changed"], again["said"]) == (False, "/data/kafka has the whole of /dev/b")
    assert host.ran.count(grows) == 1


def test_a_rest_that_is_smaller_than_a_group_of_blocks_is_none(module: ModuleType) -> None:
    host = Host("/dev/b", "xfs", 300 * MB - module.REST, 300 * MB)
    assert module.settle(host, "/data", check=False)["changed"] is False


def test_a_device_that_is_smaller_than_its_file_system_is_left_alone(module: ModuleType) -> None:
    host = Host("/dev/b", "ext4", 300 * MB, 100 * MB)
    assert module.settle(host, "/data", check=False)["changed"] is False
    assert not [one for one in host.ran if one.startswith("resize2fs")]


@pytest.mark.parametrize("source", ["/dev/vda[/var/lib/docker/volumes/x/_data]", "overlay", "tmpfs", "server:/export"])
def test_what_is_no_device_of_this_host_is_left_alone(module: ModuleType, source: str) -> None:
    host = Host(source, "ext4", 100 * MB, 300 * MB)
    with pytest.raises(module.Unfit, match="no device of this host"):
        module.settle(host, "/data", check=False)
    assert len(host.ran) == 1, "nothing else was run"


def test_another_kind_of_file_system_is_left_alone(module: ModuleType) -> None:
    with pytest.raises(module.Unfit, match="only ext4 and xfs"):
        module.settle(Host("/dev/b", "btrfs", 1, 2), "/data", check=False)


@pytest.mark.parametrize("text", ["", "Block count: x\n"])
def test_tools_that_say_nothing_are_no_reason_to_grow(module: ModuleType, text: str) -> None:
    with pytest.raises(module.Unfit):
        module.size_of_ext4(lambda *_: text, "/dev/b", "/data")
    with pytest.raises(module.Unfit):
        module.size_of_xfs(lambda *_: text, "/dev/b", "/data")


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_sizes_of_a_real_ext4_are_read_before_and_after_it_grows(module: ModuleType, tmp_path: Path) -> None:
    image = str(tmp_path / "image")
    Path(image).touch()
    os.truncate(image, 64 * MB)
    try:
        run("mkfs.ext4", "-q", image)
    except FileNotFoundError:
        pytest.skip("this computer has no tools for ext4")
    assert module.size_of_ext4(run, image, "") == 64 * MB
    os.truncate(image, 256 * MB)
    run("e2fsck", "-f", "-y", image)  # only a mounted one needs no check
    module.grow(run, "ext4", image, "")
    assert module.size_of_ext4(run, image, "") == 256 * MB


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A mounted ext4 of 64 MB on a device of 256 MB."""
    image, target = tmp_path / "image", tmp_path / "mount"
    target.mkdir()
    image.touch()
    os.truncate(image, 64 * MB)
    try:
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
        os.truncate(image, 256 * MB)
        subprocess.run(["mount", "-o", "loop", str(image), str(target)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this computer lets nobody mount: {error}")
    yield target
    subprocess.run(["umount", str(target)], check=True)


def test_a_real_file_system_grows_while_a_file_is_open(module: ModuleType, mount: Path) -> None:
    before = os.statvfs(mount).f_blocks
    with (mount / "log").open("w+") as log:
        log.write("written before")
        log.flush()
        try:
            found = module.settle(run, str(mount / "log"), check=False)
        except subprocess.CalledProcessError as error:
            if "Permission denied" in error.stderr:
                pytest.skip("this computer lets nobody resize")
            raise
        assert found["changed"] is True
        assert found["after"] == 256 * MB
        log.seek(0)
        assert log.read() == "written before"
    assert os.statvfs(mount).f_blocks > 3 * before
    assert module.settle(run, str(mount), check=False)["changed"] is False
