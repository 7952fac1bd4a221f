"""Only its owner can read a secret of the deployment. Every line of each secret is searched for everywhere.

A secret that is found is named by its file and line, and never printed.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_system import ROOT, STATE, System, run
from searching import base64_forms, needles, search

HOSTS = ["origin-1", "origin-2", "origin-3", "public-1", "public-2", "public-3", "apps-1"]
AS_NOBODY = "setpriv --reuid nobody --regid nogroup --clear-groups"
#: Secrets of each kind on hosts. A line is added to each, so that the next deployment writes it.
TOUCHED = {
    "origin-1": ["/etc/kafka/tls/keystore.pem", "/etc/zookeeper/tls/keystore.pem"],
    "public-3": ["/etc/kafka/tls/keystore.pem"],
    "apps-1": ["/etc/zads/producer/kafka.properties", "/etc/zads/mirrormaker/passwords.properties"],
}


@pytest.fixture(scope="module")
def wanted(system: System) -> dict[bytes, str]:
    """Every line of every private file that the deployment made."""
    found = needles(STATE / "secrets")
    files = {name.partition(":")[0] for name in found.values()}
    private = {str(path.relative_to(STATE / "secrets")) for path in (STATE / "secrets").rglob("*.key")}
    assert private <= files
    assert "passwords.yml" in files
    return found


def container(system: System, host: str) -> str:
    return str(system.lab.container(host).name)


@pytest.fixture(scope="module")
def loud_deployment(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a deployment that writes secrets, with Ansible at its most verbose."""
    for host, paths in TOUCHED.items():
        for path in paths:
            system.on(host, f"echo >> {path}")
    output = tmp_path_factory.mktemp("deploy") / "output"
    done = run("scripts/ansible", "local", "deploy", "--diff", "-vvv", check=False)
    output.write_text(done.stdout)
    assert done.returncode == 0, f"the deployment failed; its output, which may hold secrets, is in {output}"
    named, expected = done.stdout.count("+(another secret)"), sum(len(paths) for paths in TOUCHED.values())
    assert named == expected, "each difference is shown without its lines"
    return output


@pytest.fixture
def planted(system: System) -> Iterator[tuple[str, bytes]]:
    """A host where a made-up secret is in a file, an environment and the journal, in base64."""
    secret = b"made-up-" + base64.b32encode(b"a test's own secret").rstrip(b"=")
    shown = base64.b64encode(b"x" + secret + b"y").decode()
    place = container(system, "public-1")
    system.on("public-1", f"echo {shown} > /tmp/planted && chmod 644 /tmp/planted; logger -t planted {shown}")
    sleeping = subprocess.Popen(["docker", "exec", "-e", f"PLANTED={shown}", place, "sleep", "60"])
    yield "public-1", secret
    sleeping.kill()
    system.on("public-1", "pkill -x sleep; rm /tmp/planted")


JOURNAL = "journalctl --quiet --output export --all | grep -aoFf $NEEDLES"
PROCESSES = "grep -aoHFsf $NEEDLES /proc/[0-9]*/cmdline /proc/[0-9]*/environ; true"
READABLE = f"{AS_NOBODY} grep -raoFs -D skip -f $NEEDLES /etc /home /opt /root /run /srv /tmp /var; true"
LOGS = "grep -raoFsf $NEEDLES --exclude-dir journal /var/log; true"


def test_the_search_finds_a_secret_in_each_place(system: System, planted: tuple[str, bytes]) -> None:
    host, secret = planted
    wanted = dict.fromkeys(base64_forms(secret), "planted:1")
    for command in (JOURNAL, PROCESSES, READABLE):
        assert search(container(system, host), command, wanted), command


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "command", [JOURNAL, LOGS, PROCESSES, READABLE], ids=["journal", "logs", "processes", "files that all may read"]
)
def test_no_secret_is_on_a_host_but_in_its_own_files(
    system: System, loud_deployment: Path, wanted: dict[bytes, str], host: str, command: str
) -> None:
    assert search(container(system, host), command, wanted) == set()


def test_no_secret_is_in_a_deployments_output(loud_deployment: Path, wanted: dict[bytes, str]) -> None:
    assert search(None, f"grep -aoFf $NEEDLES {loud_deployment}", wanted) == set()


def test_no_secret_is_in_the_settings_or_the_console_of_a_container(
    system: System, loud_deployment: Path, wanted: dict[bytes, str]
) -> None:
    names = " ".join(container(system, host) for host in HOSTS)
    assert search(None, f"docker inspect {names} | grep -aoFf $NEEDLES", wanted) == set()
    assert search(None, f"for name in {names}; do docker logs $name 2>&1; done | grep -aoFf $NEEDLES", wanted) == set()
    inner = "docker inspect $(docker ps --all --quiet) | grep -aoFf $NEEDLES"
    assert search(container(system, "apps-1"), inner, wanted) == set()


def test_no_secret_is_in_an_image_or_its_history(system: System, wanted: dict[bytes, str]) -> None:
    """The hosts' images are those of this machine: both are named by their contents."""
    listed = "docker image ls --no-trunc --quiet --filter reference='zads/*'"
    here = set(run("sh", "-c", listed).stdout.split())
    assert set(system.on("apps-1", "docker image ls --no-trunc --quiet").split()) <= here
    images = " ".join(sorted(here))
    assert search(None, f"docker save {images} | grep -aoFf $NEEDLES", wanted) == set()
    history = f"for image in {images}; do docker history --no-trunc $image; done | grep -aoFf $NEEDLES"
    assert search(None, history, wanted) == set()


def test_what_the_control_machine_keeps_beside_its_secrets_holds_none(
    loud_deployment: Path, wanted: dict[bytes, str]
) -> None:
    """The cache of facts, reports, the lab's inventory and the images' records."""
    beside = "--exclude-dir secrets --exclude-dir clients --exclude *.zst"  # images: see above
    assert json.loads(next((STATE / "facts").iterdir()).read_text()), "the cache of facts is there"
    assert search(None, f"grep -raoFf $NEEDLES {beside} {ROOT}/.zads/", wanted) == set()


def test_secrets_on_the_control_machine_are_their_owners_alone() -> None:
    for part in ("secrets", "clients"):
        for path in [STATE / part, *(STATE / part).rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, path
