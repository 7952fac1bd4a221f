"""The playbooks of a site's lock, run by Ansible on three directories in place of three hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = {
    "all": {
        "vars": {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable},
        "children": {"origin_kafka": {"hosts": dict.fromkeys(("o1", "o2", "o3"))}},
    }
}


class Operator:
    """An operator at a control machine of its own, who runs playbooks on the same hosts as the others."""

    def __init__(self, hosts: Path, name: str) -> None:
        self.hosts, self.marker = hosts, hosts / f"marker-{name}"
        self.operation = {"token": name, "owner": f"{name}@control", "operation": "deploy", "marker": str(self.marker)}

    def run(
        self, playbook: str, *options: str, reason: str = "", dead: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a playbook; the machine of one host may be dead."""
        inventory = self.hosts / "inventory.json"
        hosts = {dead: {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}} if dead else {}
        inventory.write_text(json.dumps({"all": {**INVENTORY["all"], "hosts": hosts}}))
        variables = {
            "zads_env": "test", "zads_operation": self.operation, "site_lock_sites": "origin",
            "site_lock_file": f"{self.hosts}/{{{{ item | default(0) }}}}/lock",
        }  # fmt: skip
        return subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), "-e", json.dumps(variables),
             *options, str(ROOT / f"ansible/playbooks/{playbook}.yml")],
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_CACHE_PLUGIN": "memory",
                 "ZADS_REASON": reason},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    for name in ("o1", "o2", "o3"):
        (tmp_path / name).mkdir()
    return tmp_path


def locked(hosts: Path) -> dict[str, str]:
    """The owner of each host's lock."""
    return {path.parent.name: json.loads(path.read_text())["owner"] for path in sorted(hosts.glob("o*/lock"))}


def test_a_second_operator_is_refused_and_sees_whose_lock_it_is(hosts: Path) -> None:
    alice, bob = Operator(hosts, "alice"), Operator(hosts, "bob")
    taken = alice.run("take_lock", reason="more {{ memory }}")
    assert taken.returncode == 0, taken.stdout
    assert locked(hosts) == {"o1": "alice@control", "o2": "alice@control"}
    assert alice.marker.exists()
    refused = bob.run("take_lock")
    assert refused.returncode != 0
    assert "alice@control has held it for" in refused.stdout
    assert "(deploy, reason: more {{ memory }})" in refused.stdout
    checked = bob.run("take_lock", "--check")
    assert checked.returncode == 0, checked.stdout
    assert "origin is locked: alice@control" in checked.stdout
    assert bob.run("release_lock").returncode == 0
    assert locked(hosts) == {"o1": "alice@control", "o2": "alice@control"}, "nobody gives back another's lock"
    assert alice.run("release_lock").returncode == 0
    assert (locked(hosts), alice.marker.exists(), bob.marker.exists()) == ({}, False, False)


def test_who_meets_a_lock_on_the_second_host_gives_the_first_back(hosts: Path) -> None:
    alice, bob = Operator(hosts, "alice"), Operator(hosts, "bob")
    assert alice.run("take_lock").returncode == 0
    (hosts / "o1" / "lock").unlink()
    assert bob.run("take_lock").returncode != 0
    assert locked(hosts) == {"o2": "alice@control"}


def test_a_host_that_cannot_hold_the_lock_is_replaced_by_the_next(hosts: Path) -> None:
    alice = Operator(hosts, "alice")
    (hosts / "o1").rmdir()
    taken = alice.run("take_lock")
    assert taken.returncode == 0, taken.stdout
    assert locked(hosts) == {"o2": "alice@control", "o3": "alice@control"}
    (hosts / "o3" / "lock").unlink()
    (hosts / "o3" / ".lock.guard").unlink()
    (hosts / "o3").rmdir()
    assert alice.run("release_lock").returncode == 0
    refused = alice.run("take_lock")
    assert refused.returncode != 0
    assert "1 of its 3 brokers' hosts answer, 2 are needed" in refused.stdout
    assert locked(hosts) == {}


def test_a_dead_machine_does_not_hold_an_operation_up(hosts: Path) -> None:
    dead = "o1"
    alice, bob = Operator(hosts, "alice"), Operator(hosts, "bob")
    taken = alice.run("take_lock", dead=dead)
    assert taken.returncode == 0, taken.stdout
    assert list(locked(hosts)) == ["o2", "o3"]
    assert "origin is locked: alice@control" in bob.run("take_lock", "--check", dead=dead).stdout
    released = alice.run("release_lock", dead=dead)
    assert released.returncode == 0, released.stdout
    assert locked(hosts) == {}
    alice.run("take_lock", dead=dead)
    assert bob.run("unlock", reason="alice is gone", dead=dead).returncode == 0
    assert locked(hosts) == {}


def test_a_lock_is_broken_with_a_reason_only(hosts: Path) -> None:
    alice, bob = Operator(hosts, "alice"), Operator(hosts, "bob")
    alice.run("take_lock")
    assert bob.run("unlock").returncode != 0
    assert locked(hosts) != {}
    broken = bob.run("unlock", reason="alice is gone")
    assert broken.returncode == 0, broken.stdout
    assert "origin is locked: alice@control" in broken.stdout
    assert locked(hosts) == {}
    assert json.loads((hosts / "o1" / "lock.broken").read_text())["reason"] == "alice is gone"
