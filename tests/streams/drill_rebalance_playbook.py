"""`make rebalance` run by Ansible on three brokers, with directories in place of their hosts.

It takes minutes, so `make drill` runs it and `make test` does not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.broker import ROOT
from several_brokers import RACKS, Site, arriving, watched

HOSTS = {f"p{number}": {"node_id": number, "kafka_rack": rack} for number, rack in RACKS.items()}
LOCAL = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}


class Control:
    """A control machine: its inventory, its state, and the directories that stand for the hosts."""

    def __init__(self, directory: Path, conf: dict[str, str]) -> None:
        self.directory = directory
        for host in HOSTS:
            (directory / host).mkdir()
        (directory / "clients").mkdir()
        properties = "".join(f"{name}={value}\n" for name, value in conf.items())
        (directory / "clients" / "admin-public.properties").write_text(properties)
        sites = {"public_kafka": {"hosts": HOSTS, "vars": {"site": "public"}}, "origin_kafka": {"hosts": {}}}
        inventory = {"all": {"vars": LOCAL, "children": {"kafka": {"children": sites}}}}
        (directory / "inventory.json").write_text(json.dumps(inventory))

    def rebalance(self, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run the playbook with further variables."""
        marker = str(self.directory / "marker")
        known = {
            "zads_env": "test", "zads_root": str(ROOT), "zads_state": str(self.directory), "site_name": "public",
            "zads_operation": {"token": "1", "owner": "me@here", "operation": "rebalance", "marker": marker},
            "site_lock_file": f"{self.directory}/{{{{ item | default(0) }}}}/lock", "kafka_copy_wait": 120, **variables,
        }  # fmt: skip
        return subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.directory / "inventory.json"),
             "-e", json.dumps(known), *options, str(ROOT / "ansible/playbooks/rebalance.yml")],
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_CACHE_PLUGIN": "memory"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    def locks(self) -> list[Path]:
        return sorted(self.directory.glob("p*/lock"))


@pytest.fixture
def control(site: Site, tmp_path: Path) -> Control:
    return Control(tmp_path, site.conf)


def spread(site: Site, topic: str) -> Counter[int]:
    """How many replicas of a topic each broker has."""
    return Counter(broker for replicas in site.placement(topic).values() for broker in replicas)


def test_the_playbook_spreads_replicas_and_empties_a_host_while_records_arrive(
    control: Control, site: Site, topic: str
) -> None:
    before = site.placement(topic)
    shown = control.rebalance("--check", "--tags", "plan")
    assert shown.returncode == 0, shown.stdout
    assert "public: replicas to copy: " in shown.stdout
    assert site.placement(topic) == before
    with arriving(site, topic) as acknowledged, watched(site, topic) as seen:
        done = control.rebalance()
        assert done.returncode == 0, done.stdout
        assert spread(site, topic) == {1: 4, 2: 4, 3: 4}
        emptied = control.rebalance(leaving="p3")
        assert emptied.returncode == 0, emptied.stdout
        assert spread(site, topic) == {1: 6, 2: 6}
    assert min(seen) >= 2, "a partition lost a replica in sync"
    written = [record.value() or b"" for record in site.first.read_all(topic)]
    assert sorted(int(one) for one in written if len(one) < 20) == sorted(acknowledged)
    assert site.bounded(topic) == set()
    assert control.locks() == []


def test_the_playbook_refuses_what_it_cannot_do(control: Control, site: Site, topic: str) -> None:
    before = site.placement(topic)
    for variables, reason in (
        ({"site_name": "publik"}, "name a site of this inventory"),
        ({"leaving": "p3,q4"}, "q4: no broker of public"),
        ({"leaving": "p2,p3"}, "brokers would be left; add a broker first"),
    ):
        refused = control.rebalance(**variables)
        assert refused.returncode != 0, refused.stdout
        assert reason in refused.stdout
    ended = control.rebalance(rebalance_cancel=True)
    assert ended.returncode == 0, ended.stdout
    assert site.placement(topic) == before
    assert control.locks() == []
