"""Versions go up and back while a night streams: of Kafka and ZooKeeper at a site, and of the programs' images.

The module begins with a system from nothing that has the older version and its protocol, and ends with the version and
the protocol of the inventory. It takes most of an hour on two cores, so `make drill` runs it and `make test` does not.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType

from local_system import ROOT, System, await_that, client, playbook, run
from observing import observed_night
from zads import kafka

pytestmark = pytest.mark.timeout(3600)
OLD, NEW = "3.8.1", "3.9.1"
VISITS = 200  # at one every five seconds: longer than a site takes to go up, back and up again
SITES = ("origin", "public")
PROCESS = "tr '\\0' ' ' </proc/$(systemctl show --property=MainPID --value {0})/cmdline"
SETTINGS = ROOT / "inventories/local/group_vars"


@pytest.fixture(scope="module")
def older(system: System, alerts: Path | None) -> Iterator[System]:
    """A system from nothing whose sites were first deployed with the older version. Then the inventory is as it was."""
    run("make", "down")
    before = {site: (SETTINGS / f"{site}.yml").read_text() for site in SITES}
    try:
        for site, text in before.items():
            (SETTINGS / f"{site}.yml").write_text(f"{text}kafka_version: {OLD}\n")
        run("make", "demo", *([f"ALERTS={alerts}"] if alerts else []), timeout=1500)
    finally:
        for site, text in before.items():
            (SETTINGS / f"{site}.yml").write_text(text)
    yield system
    # Whatever failed above, other drills find the system of the inventory.
    run("make", "unlock", "REASON=the drill of upgrades has ended", check=False)
    run("make", "upgrade", f"KAFKA={NEW}", "YES=1", timeout=1500, check=False)
    run("make", "protocol", "YES=1", timeout=1500, check=False)
    run("make", "deploy", timeout=1200)


def versions(system: System, site: str, daemon: str = "kafka") -> list[str]:
    """The version of Kafka with which each daemon of a site runs."""
    found = []
    for host in system.inventory.group(f"{site}_{daemon}"):
        match = re.search(r"/opt/kafka_([\d.]+)-", system.on(host, PROCESS.format(daemon), check=False))
        found.append(match[1] if match else "none")
    return found


def all_versions(system: System, site: str) -> set[str]:
    return {*versions(system, site), *versions(system, site, "zookeeper")}


def protocols(site: str) -> set[str]:
    """The protocols that the brokers of a site say they speak."""
    admin = kafka.admin(client(f"admin-{site}"))
    asked = [ConfigResource(ResourceType.BROKER, str(number)) for number in (1, 2, 3)]
    answers = [answer.result(30) for answer in admin.describe_configs(asked).values()]
    return {".".join(one["inter.broker.protocol.version"].value.split("-")[0].split(".")[:2]) for one in answers}


def upgrade(version: str, *options: str, check: bool = True) -> str:
    return run("make", "upgrade", f"KAFKA={version}", "YES=1", *options, timeout=1500, check=check).stdout


def changed(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: count["changed"] for name, count in counts.items() if count["changed"]}


def started(system: System, site: str) -> list[str]:
    """Site's daemons, in the order in which they were started."""
    shown = "systemctl show --property=ActiveEnterTimestamp --timestamp=unix --value {0}"
    times = [
        (system.on(host, shown.format(daemon)).strip(), daemon)
        for daemon in ("kafka", "zookeeper")
        for host in system.inventory.group(f"{site}_{daemon}")
    ]
    return [daemon for _, daemon in sorted(times)]


def test_a_deployment_changes_no_version(older: System) -> None:
    """The inventory says the newer version now."""
    assert (all_versions(older, "public"), protocols("public")) == ({OLD}, {"3.8"})
    assert changed(playbook("deploy")) == {}
    assert all_versions(older, "public") == all_versions(older, "origin") == {OLD}
    found = run("make", "verify", check=False)
    assert found.returncode != 0
    for site in SITES:
        assert f"FAIL {site} has Kafka {OLD}, the inventory says {NEW}" in found.stdout
    assert f"public-1: kafka {OLD}, protocol 3.8" in run("make", "versions").stdout


def test_what_kafka_forbids_is_refused_before_anything_stops(older: System) -> None:
    for version, reason in (
        ("4.0.0", "has no ZooKeeper"),
        ("2.8.2", "is too old"),
        ("3.7.2", "no way back"),
        ("3.9.0", "there is no archive of Kafka 3.9.0"),
    ):
        assert reason in upgrade(version, "SITE=public", check=False)
    assert all_versions(older, "public") == {OLD}


def test_a_site_goes_up_back_and_up_again_while_a_night_streams(older: System, tmp_path: Path) -> None:
    with observed_night("20300601", tmp_path, visits=VISITS, real=True) as observers:
        upgrade(NEW, "SITE=public")
        assert (all_versions(older, "public"), protocols("public")) == ({NEW}, {"3.8"})
        assert started(older, "public") == ["zookeeper"] * 3 + ["kafka"] * 3
        upgrade(OLD, "SITE=public")
        assert (all_versions(older, "public"), protocols("public")) == ({OLD}, {"3.8"})
        assert started(older, "public") == ["kafka"] * 3 + ["zookeeper"] * 3
        upgrade(NEW, "SITE=public")
    assert observers["public"].least == 2, "the restarts were not seen"
    assert (all_versions(older, "public"), all_versions(older, "origin")) == ({NEW}, {OLD})
    assert "nothing changes: every daemon has Kafka" in upgrade(NEW, "SITE=public")


def test_an_upgrade_whose_control_machine_died_is_continued(older: System, tmp_path: Path) -> None:
    """One host comes first; then the run is killed between two brokers; a deployment in between changes nothing."""
    with observed_night("20300602", tmp_path, visits=VISITS, real=True):
        upgrade(NEW, "SITE=origin", "LIMIT=origin-2")
        assert versions(older, "origin") == [OLD, NEW, OLD]
        command = ["make", "upgrade", "SITE=origin", f"KAFKA={NEW}", "YES=1"]
        with (tmp_path / "killed.log").open("w") as log:
            dying = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        await_that("a second broker has its turn", lambda: versions(older, "origin").count(NEW) == 2, 600)
        os.killpg(dying.pid, signal.SIGKILL)
        dying.wait()
        between = versions(older, "origin")
        assert sorted(between) == [OLD, NEW, NEW]
        assert "has held it for" in run("make", "deploy", check=False).stdout
        run("make", "unlock", "REASON=the control machine died")
        assert changed(playbook("deploy")) == {}
        assert versions(older, "origin") == between
        assert "origin is between versions of Kafka" in run("make", "verify", check=False).stdout
        assert "first finish make upgrade" in run("make", "protocol", "SITE=origin", "YES=1", check=False).stdout
        upgrade(NEW, "SITE=origin")
        assert all_versions(older, "origin") == {NEW}
    assert changed(playbook("deploy")) == {}


def test_the_protocol_is_raised_and_then_there_is_no_way_back(older: System, tmp_path: Path) -> None:
    with observed_night("20300603", tmp_path, visits=VISITS, real=True):
        shown = run("make", "protocol", "ARGS=--check").stdout
        assert "the protocol 3.8 becomes 3.9" in shown
        assert protocols("public") == protocols("origin") == {"3.8"}
        run("make", "protocol", "YES=1", timeout=1500)
        assert protocols("public") == protocols("origin") == {"3.9"}
    assert "There is no way back below it" in upgrade(OLD, "SITE=public", check=False)
    assert all_versions(older, "public") == {NEW}
    assert older.on("public-1", "ls -d /opt/kafka_*").count("/opt") == 1, "the earlier version is still there"
    assert changed(playbook("deploy")) == {}
    run("make", "verify")


def test_a_java_of_ones_own_comes_by_a_deployment_and_goes_again(older: System) -> None:
    host, java = "public-1", "/opt/another-java"
    home = older.on(host, "dirname $(dirname $(readlink -f /usr/bin/java))").strip()
    older.on(host, f"cp -a {home} {java}")
    options = ("--limit", host, "--tags", "kafka,zookeeper")
    playbook("deploy", *options, "-e", f"java_directory={java}")
    for daemon in ("kafka", "zookeeper"):
        assert older.on(host, PROCESS.format(daemon)).startswith(f"{java}/bin/java ")
    playbook("deploy", *options)
    for daemon in ("kafka", "zookeeper"):
        assert java not in older.on(host, PROCESS.format(daemon))
    older.on(host, f"rm -r {java}")
    assert changed(playbook("deploy")) == {}


# Programs

#: Each program with its image and the container in which it runs.
PROGRAMS = {
    "producer": ("producer", "zads-producer"),
    "night-keeper": ("producer", "zads-night-keeper"),
    "mirrormaker": ("mirrormaker", "zads-mirrormaker"),
    "filter-worker": ("filter-worker", "zads-filters-"),
}


def earlier_image(system: System, image: str) -> str:
    """An image with another tag, as if an earlier deployment had brought it."""
    tag = json.loads((ROOT / f".zads/cache/images/{image}.json").read_text())["tag"]
    earlier = f"zads/{image}:earlier"
    note = f"/var/cache/zads/images/zads_{image}-earlier.id"
    system.on("apps-1", f"printf 'FROM {tag}\\nLABEL made=earlier\\n' | docker build --quiet --tag {earlier} - >{note}")
    return earlier


def images(system: System, container: str) -> set[str]:
    """The images from which the containers run whose names begin so."""
    listed = system.on("apps-1", f"docker ps --filter name=^/{container} --format '{{{{.Image}}}}'")
    return set(listed.split())


def test_each_program_goes_back_to_its_image_before_while_a_night_streams(older: System, tmp_path: Path) -> None:
    names = sorted({image for image, _ in PROGRAMS.values()})
    tags = {image: earlier_image(older, image) for image in names}
    playbook("deploy", "--tags", "programs", "-e", json.dumps({"container_image_tags": tags}))
    for image, container in PROGRAMS.values():
        assert images(older, container) == {tags[image]}
    playbook("deploy", "--tags", "programs")
    newer = {name: images(older, container) for name, (_, container) in PROGRAMS.items()}
    with observed_night("20300604", tmp_path, visits=VISITS, real=True):
        for name, (image, container) in PROGRAMS.items():
            said = run("make", "rollback", f"PROGRAM={name}", "YES=1").stdout
            assert images(older, container) == {tags[image]}
            assert f"rolled back from {next(iter(newer[name]))}" in said
    run("make", "verify")
    forward = run("make", "deploy").stdout
    for name, (image, container) in PROGRAMS.items():
        assert images(older, container) == newer[name]
        assert re.search(rf"was rolled back from \S+ to {tags[image]}: it goes to {next(iter(newer[name]))}", forward)
    assert changed(playbook("deploy")) == {}


def test_a_program_without_an_earlier_image_stays(older: System) -> None:
    found = run("make", "rollback", "PROGRAM=nobody", "YES=1", check=False)
    assert found.returncode != 0
    assert "no host has an earlier image of nobody" in found.stdout
    older.on("apps-1", "docker image rm --force zads/mirrormaker:earlier")
    gone = run("make", "rollback", "PROGRAM=mirrormaker", "YES=1", check=False)
    assert gone.returncode != 0
    assert "the engine has no zads/mirrormaker:earlier any more" in gone.stdout
    assert not images(older, "zads-mirrormaker") & {"zads/mirrormaker:earlier"}
