"""A broker does not start by itself with a disk that has lost its data."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import jinja2
import pytest

TEMPLATE = Path(__file__).resolve().parents[2] / "roles/kafka/templates/disks.sh.j2"


class Host:
    """The disks of a broker, and where it notes them."""

    def __init__(self, root: Path, module: ModuleType) -> None:
        self.disks = [str(root / "disk-1"), str(root / "disk-2")]
        self.noted = root / "noted"
        self.noted.mkdir()
        for disk in self.disks:
            Path(disk).mkdir()
        self.module = module

    def runs(self, disk: str) -> None:
        """What a broker that runs writes."""
        (Path(disk) / "data" / "night-0").mkdir(parents=True)
        (Path(disk) / "data" / "meta.properties").write_text("broker.id=1\n")

    def guard(self, when: str) -> subprocess.CompletedProcess[str]:
        text = jinja2.Template(TEMPLATE.read_text()).render(kafka_data=self.disks, _kafka_disks_noted=self.noted)
        return subprocess.run(["sh", "-c", text, "disks.sh", when], capture_output=True, text=True, check=False)

    def lost(self) -> list[str]:
        found: list[str] = self.module.lost(self.disks, str(self.noted))
        return found


@pytest.fixture
def host(tmp_path: Path, plugin: Callable[[str], ModuleType]) -> Host:
    return Host(tmp_path, plugin("modules/broker_disks.py"))


def wipe(disk: str) -> None:
    subprocess.run(["rm", "-r", f"{disk}/data"], check=True)


def test_a_new_broker_starts_with_empty_disks(host: Host) -> None:
    assert host.guard("start").returncode == 0
    assert host.guard("start").returncode == 0, "a start that failed before it wrote anything"
    assert (host.module.empty(host.disks), host.lost()) == (True, [])


@pytest.mark.parametrize("noted_at", ["note", "start", "stop"])
def test_a_disk_that_was_used_must_have_its_data(host: Host, noted_at: str) -> None:
    for disk in host.disks:
        host.runs(disk)
    assert host.guard(noted_at).returncode == 0
    assert host.lost() == []
    wipe(host.disks[1])
    refused = host.guard("start")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"{host.disks[1]} has no data, and this broker has had data there")
    assert host.guard("stop").returncode == 0, "its end is not its failure"
    assert (host.module.empty(host.disks), host.lost()) == (False, [host.disks[1]])


def test_a_disk_that_is_added_may_be_empty(host: Host) -> None:
    host.runs(host.disks[0])
    assert host.guard("note").returncode == 0
    assert host.guard("start").returncode == 0
    assert (host.module.empty(host.disks), host.lost()) == (False, [])


def test_the_start_goes_on_when_the_note_is_taken_away(host: Host) -> None:
    """The path of the note is that of roles/kafka/tasks/empty.yml."""
    host.runs(host.disks[0])
    host.guard("note")
    wipe(host.disks[0])
    (host.noted / host.disks[0].replace("/", "-")).unlink()
    assert host.guard("start").returncode == 0


def test_files_that_are_no_replica_do_not_count(host: Host) -> None:
    data = Path(host.disks[0]) / "data"
    data.mkdir()
    for name in ("recovery-point-offset-checkpoint", "meta.properties", "cleaner-offset-checkpoint"):
        (data / name).touch()
    assert host.module.empty(host.disks) is True
