"""Operations that restart daemons while a night streams: nothing is lost or doubled, and only one is down at a time.

Six daemons a site restart one after the other: that takes many minutes on two cores, so `make drill` runs it and
`make test` does not. With ``ZADS_ALERTS`` the nights of rotations are real packets.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_system import ROOT, STATE, System, await_that, client, playbook, read_topic, run, streaming
from observing import SITES, observed_night
from zads import kafka, reach
from zads.site.authority import Authority

pytestmark = pytest.mark.timeout(3600)
PORTS = {"kafka": 9093, "zookeeper": 2182}
LOOK = 0.5  # seconds between two looks at every port: a restart takes several seconds
VISITS, SPEED = 60, 8  # a visit every five seconds, so that the night covers most of an operation
WHOLE, FEW = 120, 10  # visits that last longer than a change of a site's secrets, and alerts of each
CERTIFICATES = (
    "for file in /etc/{kafka,zookeeper}/tls/keystore.pem; do openssl x509 -noout -fingerprint -in $file; done"
)
PASSWORDS = STATE / "secrets" / "passwords.yml"


def listens(address: str, port: int) -> bool:
    """Whether a daemon accepts connections at a port."""
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


@dataclass
class Watch:
    """The daemons that were seen down, and how many of each kind were down at once."""

    went_down: set[tuple[str, str]] = field(default_factory=set)
    most_at_once: dict[tuple[str, str], int] = field(default_factory=dict)

    def look(self, system: System) -> None:
        for site in SITES:
            for daemon, port in PORTS.items():
                members = system.inventory.group(f"{site}_{daemon}")
                down = [host for host in members if not listens(system.inventory.address(host), port)]
                self.went_down.update((host, daemon) for host in down)
                self.most_at_once[site, daemon] = max(self.most_at_once.get((site, daemon), 0), len(down))


@contextmanager
def watching(system: System) -> Iterator[Watch]:
    """Look at every port during the body. Then no two daemons of a kind may have been down at once at a site."""
    watch, stop = Watch(), threading.Event()

    def look_on() -> None:
        while not stop.wait(LOOK):
            watch.look(system)

    thread = threading.Thread(target=look_on)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join()
    for (site, daemon), number in watch.most_at_once.items():
        assert number <= 1, f"{number} {daemon} of {site} were down at once"


@contextmanager
def watched_night(system: System, night: str, directory: Path) -> Iterator[Watch]:
    """Stream a night and look at every port during the body; then account for every alert."""
    with streaming(night, directory, visits=VISITS, alerts=20, seconds=900, speed=SPEED), watching(system) as watch:
        yield watch


@contextmanager
def whole_night(system: System, night: str, directory: Path) -> Iterator[Watch]:
    """A night that lasts longer than its operation, of real packets if there are some, with an independent observer."""
    with observed_night(night, directory, WHOLE, FEW, real=True), watching(system) as watch:
        yield watch


def daemons(system: System, *hosts: str) -> set[tuple[str, str]]:
    """The daemons of some hosts, as pairs of host and daemon."""
    groups = {daemon: system.inventory.group(daemon) for daemon in PORTS}
    return {(host, daemon) for host in hosts for daemon, members in groups.items() if host in members}


def certificates(system: System, *hosts: str) -> set[str]:
    """The certificates of the daemons of some hosts."""
    found = {line for host in hosts for line in system.on(host, f"bash -c '{CERTIFICATES}'").splitlines()}
    assert len(found) == 2 * len(hosts)
    return found


def changes_nothing() -> None:
    """A deployment has nothing to do. Clients that this process has kept would go on with the secrets of before."""
    for site in SITES:
        kafka.forget(client(f"admin-{site}"))
    counts = playbook("deploy")
    assert {name: count["changed"] for name, count in counts.items() if count["changed"]} == {}


def rotate(what: str, *more: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Change secrets as an operator does, who agrees with the plan."""
    return run("make", "rotate", f"WHAT={what}", "YES=1", *more, check=check, timeout=1800)


def interrupted(command: tuple[str, ...], when: Callable[[], Any]) -> str:
    """Begin an operation, and press Ctrl-C when a condition comes true. Returns what it said."""
    running = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        await_that("the operation has begun its change", when, 300)
    finally:
        os.killpg(running.pid, signal.SIGINT)
        said, _ = running.communicate(timeout=300)
    assert running.returncode != 0
    return said


def reads(kit: Path) -> bool:
    """Whether a subscriber who has this kit is let in by a broker of the public site."""
    conf = kafka.read_properties(kit / "librdkafka.properties")
    return reach.login(conf, conf["bootstrap.servers"].split(",")[0]).state == reach.OK


def kept_kit(directory: Path, name: str) -> Path:
    """A copy of the reader's kit, as a subscriber has it."""
    return Path(shutil.copytree(STATE / "clients" / "reader", directory / name))


def test_renewing_a_sites_certificates_interrupts_nobody(system: System, tmp_path: Path) -> None:
    brokers = system.inventory.group("public_kafka")
    before, kit = certificates(system, *brokers), kept_kit(tmp_path, "kit")
    planned = rotate("certificates", "SITE=public", "ARGS=--check")
    assert "public/public-1/zookeeper" in planned.stdout
    assert "origin/" not in planned.stdout.partition("Say which certificates")[2]
    assert certificates(system, *brokers) == before, "the plan alone has changed something"
    with whole_night(system, "20300201", tmp_path) as watch:
        rotate("certificates", "SITE=public")
    assert watch.went_down == daemons(system, *brokers)
    assert not before & certificates(system, *brokers)
    assert reads(kit), "the authority is the same"
    run(".venv/bin/zads", "expiry", "--env", "local")
    changes_nothing()
    run("make", "verify")


def test_changing_a_sites_authorities_interrupts_nobody_who_takes_the_kit(system: System, tmp_path: Path) -> None:
    """Step 2 is interrupted, and a deployment continues it. Each night begins with the kits of the step before."""
    brokers, path = system.inventory.group("public_kafka"), STATE / "secrets" / "public" / "kafka-ca"
    old_kit, old_authority = kept_kit(tmp_path, "0"), path.with_suffix(".crt").read_text()

    def step() -> int:
        found = Authority.load(path)
        assert found is not None
        return found.step

    before = certificates(system, *brokers)
    with whole_night(system, "20300204", tmp_path) as watch:
        rotate("authority", "SITE=public")
    assert (step(), certificates(system, *brokers)) == (1, before)
    assert watch.went_down == daemons(system, *brokers)
    kit = kept_kit(tmp_path, "1")
    assert reads(old_kit)
    assert reads(kit)
    changes_nothing()

    trusted = "/etc/kafka/tls/ca.pem"
    system.on("public-2", f"cp -p {trusted} /root/ca.pem")
    try:
        container = str(system.lab.container("public-2").name)
        subprocess.run(["docker", "exec", "-i", container, "tee", trusted], input=old_authority.encode(), check=True)
        refused = rotate("authority", "SITE=public", check=False)
        assert refused.returncode != 0
        assert f"public-2: {trusted} does not trust both certificates of public/kafka-ca" in refused.stdout
        assert step() == 1
    finally:
        system.on("public-2", f"cp -p /root/ca.pem {trusted} && rm /root/ca.pem")

    with whole_night(system, "20300205", tmp_path) as watch:
        interrupted(("make", "rotate", "WHAT=authority", "SITE=public", "YES=1"), lambda: step() == 2)
        refused = rotate("authority", "SITE=public", check=False)
        assert refused.returncode != 0
        assert step() == 2, "no step begins before the last one has ended"
        run("make", "deploy", timeout=1800)
    assert watch.went_down == daemons(system, *brokers)
    assert not before & certificates(system, *brokers)
    assert reads(kit)
    assert not reads(old_kit)
    changes_nothing()

    with whole_night(system, "20300206", tmp_path) as watch:
        rotate("authority", "SITE=public")
    assert watch.went_down == daemons(system, *brokers)
    assert step() == 0
    assert reads(kit)
    assert reads(STATE / "clients" / "reader")
    for host in system.inventory.hosts:
        line = old_authority.splitlines()[5]
        assert system.on(host, f"grep -rlsF -- '{line}' /etc/kafka /etc/zookeeper /etc/zads", check=False) == ""
    changes_nothing()
    run("make", "verify")
    run(".venv/bin/zads", "expiry", "--env", "local")


def test_changing_the_programs_passwords_loses_nothing(system: System, tmp_path: Path) -> None:
    """The first run is interrupted when the passwords are made, and repeated."""
    before = yaml.safe_load(PASSWORDS.read_text())
    kept = PASSWORDS.with_name("passwords-before.yml")
    with whole_night(system, "20300207", tmp_path) as watch:
        interrupted(("make", "rotate", "WHAT=passwords", "YES=1"), kept.exists)
        begun = yaml.safe_load(PASSWORDS.read_text())
        rotate("passwords")
    after = yaml.safe_load(PASSWORDS.read_text())
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {name for name in after if name.startswith("zads.")}
    assert begun in (before, after), "the second run continues, and makes no other passwords"
    assert not kept.exists()
    assert watch.went_down == set(), "no broker restarts for a password"
    conf = kafka.read_properties(STATE / "clients" / "reader" / "librdkafka.properties")
    broker = conf["bootstrap.servers"].split(",")[0]
    for passwords, state in ((before, reach.FAIL), (after, reach.OK)):
        mirror = {**conf, "sasl.username": "zads.mirror", "sasl.password": passwords["zads.mirror"]}
        assert reach.login(mirror, broker).state == state
    changes_nothing()
    run("make", "verify")


def test_a_user_with_another_password_needs_the_new_kit(system: System, tmp_path: Path) -> None:
    old_kit, others = kept_kit(tmp_path, "kit"), yaml.safe_load(PASSWORDS.read_text())
    rotate("passwords", "USER=reader")
    assert not reads(old_kit)
    assert reads(STATE / "clients" / "reader")
    after = yaml.safe_load(PASSWORDS.read_text())
    assert {name for name in after if after[name] != others[name]} == {"reader"}
    changes_nothing()


def test_a_host_restarted_on_request_interrupts_nobody(system: System, tmp_path: Path) -> None:
    with watched_night(system, "20300202", tmp_path) as watch:
        run("make", "restart", "LIMIT=origin-2")
    assert watch.went_down == daemons(system, "origin-2")


def test_a_system_whose_secrets_are_gone_for_good_is_given_new_ones(system: System, tmp_path: Path) -> None:
    """As in the runbook for a lost control machine: what was published before can be read afterwards."""
    topic, authority = "ztf_20181129_programid1", STATE / "secrets" / "public" / "kafka-ca.crt"
    before, old = len(read_topic("admin-public", topic)), authority.read_bytes()
    shutil.rmtree(STATE / "secrets")
    for site in ("public", "origin"):
        run("make", "stop", f"SITE={site}")
    refused = run("make", "deploy", check=False)
    assert refused.returncode != 0
    assert not authority.exists()
    run("make", "deploy", "ARGS=-e preflight_replace_secrets=true")
    assert authority.read_bytes() != old
    assert len(read_topic("admin-public", topic)) == before
    run("make", "verify")
    changes_nothing()
    with streaming("20300203", tmp_path, visits=6, alerts=20, seconds=300):
        pass
