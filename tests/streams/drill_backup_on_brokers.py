"""The origin is lost and comes back from a backup; what is delivered again is on a site once, and all is compared.

The mirror is played by a copy of its own kind: records of programme 1 with their keys and headers.

It takes minutes, so `make drill` runs it and `make test` does not.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bench.broker import ROOT, Broker, await_true, running
from zads import kafka, names, quotas
from zads.backup import contents, making, restoring, shelf
from zads.backup.contents import Backup
from zads.commands.simulate import drop
from zads.errors import ZadsError
from zads.producer import Producer
from zads.site.access import Acl
from zads.site.cluster import Cluster
from zads.site.policy import Policy
from zads.sources.simulator import simulate
from zads.sources.spool import Spool

NIGHT = "20300501"
TOPICS = [names.night_topic(NIGHT, programme) for programme in names.PROGRAMMES]
PUBLIC = TOPICS[0]
EXPOSURES = list(simulate(NIGHT, 6, 20, seed=11))
POLICY = Policy.read(
    {
        "topics_night": {"partitions": 2, "replication_factor": 2, "min_insync_replicas": 1, "retention_days": 7},
        "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin"]}, 3: {"sites": ["origin"]}},
        "users": [],
        "filters": [],
        "filter_groups": {},
    }
)
GRANT = Acl("User:reader", "topic", PUBLIC, "literal", "read")
JAVA = "KAFKA_HEAP_OPTS=-Xmx64m LOG_DIR=/data"
#: The test starts a second ensemble with the copied data, beside the first.
RESTORED = """
dataDir=/data/restored
clientPort=2281
clientPortAddress=127.0.0.1
admin.enableServer=false
"""


def values(broker: Broker, topic: str) -> Counter[bytes]:
    return Counter(message.value() for message in broker.read_all(topic))


def mirrored(origin: Broker, public: Broker, start: int = 0) -> int:
    """Copy programme 1 from the origin's record number `start` on, as the mirror does. Returns the next number."""
    found = origin.read_all(PUBLIC)
    client = kafka.producer(public.conf)
    for message in found[start:]:
        client.produce(PUBLIC, message.value(), message.key(), headers=message.headers())
    assert client.flush(30) == 0
    return len(found)


def delivered(origin: Broker, spool: Path, exposures: list[Any]) -> None:
    """A pipeline delivers exposures to a producer that has just been installed."""
    shutil.rmtree(spool, ignore_errors=True)
    for name, packets in exposures:
        drop(Spool(spool).incoming, name, packets)
    Producer(origin.conf, Spool(spool)).run(once=True)


@dataclass
class Story:
    """A backup, made while the first two of the sites worked; the third is a new origin."""

    origin: Broker
    public: Broker
    new: Broker
    file: Path
    key: Path
    state: Path
    root: Path

    @property
    def backup(self) -> Backup:
        return contents.read(self.file, self.key)

    @property
    def sites(self) -> dict[Any, dict[str, str]]:
        """The sites after the loss."""
        return {"origin": self.new.conf, "public": self.public.conf}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    root = tmp_path_factory.mktemp("root")
    state = root / ".zads/test"
    (root / "inventories/test").mkdir(parents=True)
    (root / "inventories/test/hosts.yml").write_text("all: {}\n")
    (state / "secrets").mkdir(parents=True)
    (state / "secrets/passwords.yml").write_text("reader: secret\n")
    key = root / "key"
    subprocess.run(["age-keygen", "-o", str(key)], check=True, capture_output=True)
    recipient = subprocess.run(["age-keygen", "-y", str(key)], check=True, capture_output=True, text=True).stdout
    with ExitStack() as stack:
        origin, public, new = (stack.enter_context(running()) for _ in range(3))
        origin.create(*TOPICS, partitions=1, retention_ms="604800000")
        public.create(PUBLIC, partitions=1, retention_ms="604800000")
        public.create(names.MIRROR_PLACES_TOPIC, cleanup_policy="compact")
        Cluster(public.conf).create_acls([GRANT])
        quotas.alter(public.conf, {quotas.user("reader"): {"consumer_byte_rate": 1e6}})
        # Before the backup: two exposures on both sites, and a third that the mirror has not copied yet.
        delivered(origin, root / "spool", EXPOSURES[:2])
        copied = mirrored(origin, public)
        delivered(origin, root / "spool", EXPOSURES[2:3])
        made = making.make(
            "test", root, state, {"origin": origin.conf, "public": public.conf}, {"origin": b"e"},
            keys=[recipient.strip()], to=root / "backups", keep=1,
        )  # fmt: skip
        # After it: the mirror catches up, a fourth is on both sites, and a fifth on the origin alone.
        delivered(origin, root / "spool", EXPOSURES[3:4])
        mirrored(origin, public, copied)
        delivered(origin, root / "spool", EXPOSURES[4:5])
        yield Story(origin, public, new, made.path, key, state, root)


def test_the_backup_says_what_the_sites_define(story: Story) -> None:
    found = restoring.site_definitions(story.backup, "public")
    assert found.grants == [GRANT]
    assert found.limits == {quotas.user("reader"): {"consumer_byte_rate": 1e6}}
    assert found.topics[PUBLIC].config == {"retention.ms": "604800000"}
    assert found.placed[PUBLIC] == [[1]]
    assert found.cluster == story.backup.manifest.clusters["public"]
    assert story.backup.members["origin/ensemble.tar.gz"] == b"e"
    assert story.backup.below("secrets") == {"passwords.yml": b"reader: secret\n"}


def test_a_site_that_works_is_left_alone(story: Story) -> None:
    ends = len(story.origin.read_all(names.LEDGER_TOPIC))
    done = restoring.put_sites(story.backup, {"origin": story.origin.conf, "public": story.public.conf}, POLICY)
    assert all("left alone" in line for line in done.lines)
    assert len(story.origin.read_all(names.LEDGER_TOPIC)) == ends
    assert names.MIRROR_PLACES_TOPIC in Cluster(story.public.conf).metadata().topics


def test_a_comparison_finds_one_changed_grant(story: Story) -> None:
    sites: dict[Any, dict[str, str]] = {"origin": story.origin.conf, "public": story.public.conf}
    assert restoring.compare(story.backup, sites) == ([], [])
    other = replace(GRANT, operation="write")
    Cluster(story.public.conf).create_acls([other])
    try:
        assert restoring.compare(story.backup, sites)[0] == [f"public: new: grant {other}"]
    finally:
        Cluster(story.public.conf).delete_acls([other])


def test_a_lost_origin_comes_back_and_what_is_delivered_again_is_published_once(story: Story) -> None:
    before = values(story.public, PUBLIC)
    for _ in range(2):  # the second time as after an interruption
        done = restoring.put_sites(story.backup, story.sites, POLICY)
    assert names.MIRROR_PLACES_TOPIC not in Cluster(story.public.conf).metadata().topics
    # What only the origin had at the time of the backup has to be delivered again; all of it is named.
    lost = {name: sum(data not in before for _, data in packets) for name, packets in EXPOSURES[:3]}
    assert done.lost == {name: number for name, number in lost.items() if number}
    until_it_starts = f"public: missing: topic {names.MIRROR_PLACES_TOPIC}"
    assert restoring.compare(story.backup, story.sites)[0] == [until_it_starts]
    # The mirror begins anew, and the pipeline delivers the night again with one exposure more.
    delivered(story.new, story.root / "spool", EXPOSURES)
    mirrored(story.new, story.public)
    packets = [data for _, files in EXPOSURES for _, data in files]
    published = sum((values(story.new, topic) for topic in TOPICS), values(story.public, PUBLIC))
    assert values(story.public, PUBLIC).keys() >= before.keys() | values(story.origin, PUBLIC).keys()
    assert set(values(story.public, PUBLIC).values()) == {1}, "an alert is on the public site twice"
    assert set(published) == set(packets), "an alert is on no site"
    for topic in TOPICS[1:]:
        assert set(values(story.new, topic).values()) == {1}


def test_an_origin_that_has_published_is_not_restored_again(story: Story) -> None:
    await_true(lambda: bool(story.new.read_all(PUBLIC)), "alerts at the new origin")
    with pytest.raises(ZadsError, match="holds alerts already"):
        restoring.put_sites(story.backup, story.sites, POLICY)


def copied(data: Path) -> bytes:
    """What the module `ensemble_copy` takes of a member's data."""
    path = ROOT / "ansible/plugins/modules/ensemble_copy.py"
    spec = importlib.util.spec_from_file_location("ensemble_copy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: bytes = module.archive(data, 1 << 28)[0]
    return found


def test_the_copy_of_an_ensemble_starts_with_all_its_data(story: Story, tmp_path: Path) -> None:
    container = story.public.container.get_wrapped_container()

    def run(command: str, data: bytes = b"") -> bytes:
        """Run a command in the container. Its data are in memory, where the engine's own copies do not reach."""
        words = ["docker", "exec", "-i", container.name, "sh", "-ec", command]
        return subprocess.run(words, input=data, capture_output=True, check=True).stdout

    with tarfile.open(fileobj=io.BytesIO(run("tar -C /data/zookeeper -cf - version-2"))) as tar:
        tar.extractall(tmp_path, filter="data")
    run("mkdir /data/restored; tar -C /data/restored -xzf -", copied(tmp_path / "version-2"))
    run("cat > /data/restored.properties", RESTORED.encode())
    container.exec_run(
        ["sh", "-c", f"{JAVA} /opt/kafka/bin/zookeeper-server-start.sh /data/restored.properties"], detach=True
    )

    def told() -> str:
        command = f"{JAVA} /opt/kafka/bin/zookeeper-shell.sh 127.0.0.1:2281 get /brokers/topics/{PUBLIC}"
        return str(container.exec_run(["sh", "-c", command]).output.decode())

    await_true(lambda: '"partitions"' in told(), "the copied ensemble to know the night's topic", 90, told)


# the playbook, on directories in place of hosts

SNAPSHOT = b"ZKSN" + bytes(40) + b"\x00\x00\x00\x01/"
MEMBERS = {"origin": ("o1", "o2", "o3"), "public": ("p1",)}
DEAD = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}


class Control:
    """A control machine with a checkout of its own, from which the playbook runs."""

    def __init__(self, story: Story, root: Path) -> None:
        self.root, self.state, self.to = root, root / ".zads/test", root / "backups"
        self.recipients = root / "recipients"
        self.recipients.write_text(
            subprocess.run(["age-keygen", "-y", str(story.key)], check=True, capture_output=True, text=True).stdout
        )
        for name in (".venv", "ansible", "roles", "pyproject.toml"):
            (root / name).symlink_to(ROOT / name)
        (self.state / "clients").mkdir(parents=True)
        shutil.copytree(story.state / "secrets", self.state / "secrets")
        for site, broker in (("origin", story.origin), ("public", story.public)):
            lines = "".join(f"{key}={value}\n" for key, value in broker.conf.items())
            (self.state / f"clients/admin-{site}.properties").write_text(lines)
        for host in (host for hosts in MEMBERS.values() for host in hosts):
            (root / host / "version-2").mkdir(parents=True)
            (root / host / "version-2/snapshot.0").write_bytes(SNAPSHOT + host.encode() + SNAPSHOT)
        self.inventory()

    def inventory(self, dead: tuple[str, ...] = ()) -> None:
        """Write the inventory; the machines of some hosts may be dead."""
        hosts = {
            host: {"node_id": number, "site": site, **(DEAD if host in dead else {})}
            for site, names_ in MEMBERS.items()
            for number, host in enumerate(names_, 1)
        }
        groups = {
            f"{site}_{kind}": {"hosts": dict.fromkeys(names_)}
            for site, names_ in MEMBERS.items()
            for kind in ("kafka", "zookeeper")
        }
        both = {"zookeeper": {"children": {f"{site}_zookeeper": {} for site in MEMBERS}}}
        variables = {
            "ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable,
            "zookeeper_data": f"{self.root}/{{{{ inventory_hostname }}}}",
        }  # fmt: skip
        whole = {"all": {"hosts": hosts, "vars": variables, "children": {**groups, **both}}}
        (self.root / "inventories/test").mkdir(parents=True, exist_ok=True)
        (self.root / "inventories/test/hosts.yml").write_text(json.dumps(whole))

    def run(self, **variables: object) -> subprocess.CompletedProcess[str]:
        operation = {"token": "t", "owner": "a@b", "operation": "backup", "marker": str(self.root / "marker")}
        known = {
            "zads_env": "test", "zads_root": str(self.root), "zads_state": str(self.state), "zads_operation": operation,
            "backup_to": str(self.to), "backup_recipients_file": str(self.recipients),
            "site_lock_file": f"{self.root}/{{{{ item | default('o1') }}}}/lock", **variables,
        }  # fmt: skip
        return subprocess.run(
            [str(self.root / ".venv/bin/ansible-playbook"), "-vvv", "-i", str(self.root / "inventories/test/hosts.yml"),
             "-e", json.dumps(known), str(self.root / "ansible/playbooks/backup.yml")],
            env={**os.environ, "ANSIBLE_CONFIG": f"{self.root}/ansible/ansible.cfg", "ANSIBLE_CACHE_PLUGIN": "memory"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip

    def made(self) -> list[Path]:
        return sorted(self.to.glob("zads-test-*.age")) if self.to.exists() else []


@pytest.fixture
def control(story: Story, tmp_path: Path) -> Control:
    return Control(story, tmp_path)


def test_the_playbook_writes_one_file_and_shows_nothing_secret(story: Story, control: Control) -> None:
    """One member of the origin's ensemble is dead: the other one has the same data."""
    control.inventory(dead=("o1",))
    done = control.run(backup_keep=3)
    assert done.returncode == 0, done.stdout[-4000:]
    (file,) = control.made()
    assert f"SHA-256 {shelf.digest(file)}" in done.stdout
    found = contents.read(file, story.key)
    with tarfile.open(fileobj=io.BytesIO(found.members["origin/ensemble.tar.gz"])) as tar:
        snapshot = tar.extractfile("version-2/snapshot.0")
        assert snapshot is not None
        assert snapshot.read() == SNAPSHOT + b"o2" + SNAPSHOT
    assert "public/ensemble.tar.gz" in found.members
    shown = done.stdout + done.stderr
    for member in ("origin/ensemble.tar.gz", "public/ensemble.tar.gz", "secrets/passwords.yml"):
        assert base64.b64encode(found.members[member]).decode()[:40] not in shown
    assert "reader: secret" not in shown
    last = shelf.last(control.state)
    assert last is not None
    assert last["file"] == str(file)
    assert not list(control.root.glob("*/lock")), "the locks were given back"


def test_the_playbook_refuses_to_work_beside_another_operation(control: Control) -> None:
    taken = {"token": "x", "owner": "bob@control", "operation": "deploy", "reason": "", "taken": time.time()}
    (control.root / "p1/lock").write_text(json.dumps(taken))
    done = control.run()
    assert done.returncode != 0
    assert "bob@control" in done.stdout
    assert control.made() == []


def test_the_playbook_says_why_there_is_no_backup(control: Control) -> None:
    control.recipients.write_text("nonsense\n")
    done = control.run()
    assert done.returncode != 0
    assert "neither a public key of age" in done.stdout
    assert control.made() == []
    control.inventory(dead=("p1",))
    done = control.run(site_lock_sites="origin")
    assert done.returncode != 0
    assert "no member of the ensemble of public has given its data: p1: " in done.stdout
    assert control.made() == []
