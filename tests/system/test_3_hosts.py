"""The state of deployed hosts; and a change by hand is found, named and repaired."""

from __future__ import annotations

import json
import re

import pytest
import testinfra
from testinfra.host import Host

from local_system import System, await_that, client, playbook, run
from zads.site import broker_requests

BROKERS = ["origin-1", "origin-2", "origin-3", "public-1", "public-2", "public-3"]


def host(name: str) -> Host:
    return testinfra.get_host(f"docker://zads-local-{name}")


@pytest.mark.parametrize("name", BROKERS)
def test_a_broker_and_a_member_run_and_start_at_boot(system: System, name: str) -> None:
    for unit in ("kafka", "zookeeper"):
        service = host(name).service(unit)
        assert service.is_running
        assert service.is_enabled


@pytest.mark.parametrize("name", BROKERS)
def test_programs_have_users_of_their_own_and_no_privileges(system: System, name: str) -> None:
    for unit in ("kafka", "zookeeper"):
        properties = host(name).service(unit).systemd_properties
        assert properties["User"] == unit
        assert properties["NoNewPrivileges"] == "yes"
        assert properties["ProtectSystem"] == "strict"


@pytest.mark.parametrize("name", BROKERS)
def test_private_keys_are_readable_by_their_program_alone(system: System, name: str) -> None:
    holders = host(name).check_output("grep -rl 'PRIVATE KEY' /etc/kafka /etc/zookeeper").split()
    assert len(holders) >= 2
    for path in holders:
        file = host(name).file(path)
        assert file.user in ("kafka", "zookeeper"), path
        assert file.mode & 0o077 == 0, path


@pytest.mark.parametrize("name", BROKERS)
def test_a_broker_knows_the_size_of_its_disks(system: System, name: str) -> None:
    """The gate compares it with the free space."""
    conf, address = client(f"admin-{name.partition('-')[0]}"), system.inventory.address(name)
    for directory in broker_requests.log_directories(conf, address, 9093, 20):
        assert directory.usable
        assert 0 < directory.free < directory.total


@pytest.mark.parametrize("name", BROKERS)
def test_no_listener_is_without_encryption(system: System, name: str) -> None:
    """Every TCP port that is open to the network speaks TLS, except SSH's."""
    listening = host(name).check_output("ss -Hltn | awk '{print $4}'").split("\n")
    open_ports = {int(address.rpartition(":")[2]) for address in listening if not address.startswith(("127.", "[::1]"))}
    assert open_ports >= {9093, 9094, 2182}
    for port in open_ports - {22}:
        answer = host(name).run(f"timeout 5 openssl s_client -connect 127.0.0.1:{port} </dev/null 2>&1").stdout
        assert re.search(r"^subject=.*CN", answer, re.M), f"{name}:{port} does not speak TLS"


GOOD = "ECDHE+AESGCM:ECDHE+CHACHA20"
#: All other suites of TLS 1.2 and earlier: with CBC, with SHA-1, or without forward secrecy.
WEAK = "ALL:COMPLEMENTOFALL:-ECDHE+AESGCM:-ECDHE+CHACHA20:@SECLEVEL=0"


@pytest.mark.parametrize("name", BROKERS)
def test_every_listener_takes_authenticated_encryption_only(system: System, name: str) -> None:
    """By real handshakes. A client without a certificate is refused after the suite is chosen."""
    listening = host(name).check_output("ss -Hltn | awk '{print $4}'").split("\n")
    ports = {address.rpartition(":")[2] for address in listening if not address.startswith(("127.", "[::1]"))}

    def chosen(port: str, *options: str) -> str:
        command = f"timeout 10 openssl s_client -connect 127.0.0.1:{port} {' '.join(options)} </dev/null 2>&1"
        (found,) = re.findall(r"^New, .*, Cipher is (.*)$", host(name).run(command).stdout, re.M)
        return str(found)

    for port in sorted(ports - {"22"}):
        assert chosen(port, "-tls1_3").startswith("TLS_"), port
        assert re.match("ECDHE.*(GCM|POLY1305)", chosen(port, "-tls1_2", "-cipher", f"{GOOD}")), port
        for version in ("-tls1_2", "-tls1_1", "-tls1"):
            assert chosen(port, version, "-cipher", WEAK) == "(NONE)", (port, version)


def test_nobody_logs_in_by_ssh_with_a_password(system: System) -> None:
    """This concerns only the lab's hosts: a real machine's owner decides on its SSH."""
    for name in system.inventory.hosts:
        settings = host(name).check_output("sshd -T").splitlines()
        for setting in ("passwordauthentication no", "kbdinteractiveauthentication no", "permitrootlogin no"):
            assert setting in settings, name


PROGRAMS = (
    "zads-producer",
    "zads-mirrormaker",
    "zads-night-keeper",
    "zads-auditor",
    "zads-board",
    "zads-site-exporter",
)
#: The highest exposure (of 10) that `systemd-analyze security` may find. Java executes memory that it writes, and needs
#: the network. The programs' units are clients of the container engine, and run as root for its socket.
EXPOSED = {"kafka": 1.5, "zookeeper": 1.5} | dict.fromkeys(PROGRAMS, 2.0)


@pytest.mark.parametrize(
    ("name", "unit"),
    [(name, unit) for name in ("origin-1", "public-3") for unit in ("kafka", "zookeeper")]
    + [("apps-1", unit) for unit in PROGRAMS],
)
def test_units_are_hardened(system: System, name: str, unit: str) -> None:
    """The hosts are of both Debian releases."""
    shown = host(name).run(f"systemd-analyze security --no-pager {unit}.service").stdout
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)
    assert score is not None, shown[-500:]
    assert float(score[1]) <= EXPOSED[unit], [line for line in shown.splitlines() if line.startswith("\u2717")]


def test_both_debian_releases_and_both_ways_of_reaching_a_host_are_here(system: System) -> None:
    assert {host(name).system_info.codename for name in BROKERS} == {"bookworm", "trixie"}
    connections = {variables["ansible_connection"] for variables in system.inventory.hosts.values()}
    assert connections == {"ssh", "community.docker.docker"}


def test_programs_run_in_confined_containers(system: System) -> None:
    names = system.on("apps-1", "docker ps --format '{{.Names}}'").split()
    assert len(names) >= 4
    for described in json.loads(system.on("apps-1", f"docker inspect {' '.join(names)}")):
        settings = described["HostConfig"]
        assert settings["ReadonlyRootfs"] is True, described["Name"]
        assert settings["CapDrop"] == ["ALL"], described["Name"]
        assert settings["Memory"] > 0, described["Name"]
        assert settings["Privileged"] is False, described["Name"]
        assert described["Config"]["User"] not in ("", "root", "0"), described["Name"]


def test_every_container_reports_its_health_and_a_sandbox_is_known_by_its_worker(system: System) -> None:
    def containers() -> dict[str, bool]:
        lines = system.on("apps-1", "docker ps --format '{{.Names}} {{.Status}}'").splitlines()
        return {line.split()[0]: "(healthy)" in line for line in lines}

    def all_well() -> bool:
        # A worker whose sandbox does not answer ends.
        wanted = {name.replace("zads-sandbox-", "zads-filters-") for name in containers()}
        return {name for name, healthy in containers().items() if healthy} == wanted

    await_that("every container is healthy", all_well, 120)


def test_check_names_a_line_edited_by_hand_and_a_deploy_repairs_it_and_restarts_what_is_due(system: System) -> None:
    """One deployment repairs both: the edited line, and a process that is older than its configuration.

    An interrupted deployment leaves such a process behind.
    """
    started = system.on("public-2", "systemctl show -p MainPID --value kafka")
    system.on("public-2", "sed -i 's/ .*server.properties$/ &/; s/^[0-9a-f]\\{8\\}/00000000/' /run/kafka/started-with")
    system.on("origin-2", "sed -i 's/^min.insync.replicas=.*/min.insync.replicas=1/' /etc/kafka/server.properties")
    found = run("make", "check", "TAGS=kafka", check=False)
    assert found.returncode != 0
    assert re.search(r"^-\s*min.insync.replicas=1", found.stdout, re.M), found.stdout[-3000:]
    assert re.search(r"^\+\s*min.insync.replicas=2", found.stdout, re.M)
    named = re.search(r"^check: differs from the inventory: (.*); the differences", found.stdout, re.M)
    assert named is not None, found.stdout[-3000:]
    assert set(re.findall(r"(\S+) \(\d+\)", named[1])) == {"origin-2", "public-2"}
    counts = playbook("deploy", "--tags", "kafka")
    changed = {name for name, count in counts.items() if count["changed"] and name != "localhost"}
    assert changed == {"origin-2", "public-2"}
    assert "min.insync.replicas=2" in system.on("origin-2", "cat /etc/kafka/server.properties")
    assert system.on("public-2", "systemctl show -p MainPID --value kafka") != started


#: An inventory with ten mistakes, and what the first play calls each of them.
BAD_INVENTORY = {
    "topics_night": {"partitions": 16, "replication_factor": 5, "min_insync_replicas": 2},
    "users": [
        {"name": "reader", "site": "public", "programs": [1]},
        {"name": "al", "site": "public"},
        {"name": "al-ice", "site": "public"},
        {"name": "partner", "site": "origin", "programmes": [1, 2]},
    ],
    "filter_groups": {"transients": {}, "my-group": {}},
    "filters": [
        {"name": "my-filter", "owner": "al", "group": "transients", "state": "active"},
        {"name": "x", "owner": "al", "group": "transients", "state": "active"},
        {"name": "fast_riser", "owner": "partner", "group": "transients", "state": "active"},
        {"name": "asteroid", "owner": "al", "group": "transients", "state": False},
        {"name": "known_variable", "owner": "al", "group": "transients", "state": "active", "programmes": [2]},
    ],
}
MISTAKES = [
    "main.yml: topics_night.retention_days: is missing",
    "main.yml: topics_night.replication_factor: is 5, and origin_kafka has 3 brokers",
    "users.yml: users.reader.programs: means nothing here",
    "users.yml: users.al-ice.name: is also a consumer group of al",
    "filters.yml: filter_groups.my-group: cannot be a name",
    "filters.yml: filters.my-filter.name: ",
    "filters.yml: filters.x.name: ",
    "filters.yml: filters.fast_riser.owner: 'partner' is not a user of the public site",
    "filters.yml: filters.asteroid.state: False cannot be used",
    "filters.yml: filters.known_variable.programmes: programme 2 is not allowed at public",
]


def test_a_bad_inventory_is_refused_with_every_mistake_before_any_host_is_touched(system: System) -> None:
    result = run("scripts/ansible", "local", "deploy", "-e", json.dumps(BAD_INVENTORY), check=False)
    assert result.returncode != 0
    assert not re.search(r"^(origin|public|apps)-\d.*changed=[1-9]", result.stdout, re.M)
    assert [mistake for mistake in MISTAKES if f"group_vars/all/{mistake}" not in result.stdout] == [], result.stdout
