"""An inventory may choose Apache's archive of Kafka, and images from a registry, instead of what is built here."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_system import ROOT, System, await_that, run

HOST = "apps-1"
REGISTRY = "127.0.0.1:5000"
STORE = {"filesystem": {"rootdirectory": "/var/lib/docker-registry"}}
SETTINGS = json.dumps({"version": 0.1, "storage": STORE, "http": {"addr": REGISTRY}})
NOTHING = "0" * 64
TESTED = "zads/producer:tested"


def deliver(role: str, *, check: bool = True, **variables: Any) -> str:
    """Run a role on the host with these variables. Returns its output."""
    given = json.dumps({"tested_role": role, **variables})
    return run("scripts/ansible", "local", "../../tests/system/deliver", "-e", given, check=check).stdout


@pytest.fixture
def apaches(tmp_path: Path) -> Path:
    """An archive laid out like Apache's release, with files that ours leaves out."""
    built = json.loads((ROOT / ".zads/cache/kafka/current.json").read_text())
    target = tmp_path / f"kafka_2.13-{built['version']}.tgz"
    with tarfile.open(built["archive"]) as ours, tarfile.open(target, "w:gz", compresslevel=1) as archive:
        for member in ours:
            archive.addfile(member, ours.extractfile(member) if member.isfile() else None)
        for name in ("LICENSE", "bin/windows/kafka-topics.bat", "config/server.properties", "site-docs/docs.tgz"):
            extra = tarfile.TarInfo(f"kafka_2.13-{built['version']}/{name}")
            extra.size = 1
            archive.addfile(extra, io.BytesIO(b"\n"))
    return target


@pytest.fixture
def without_kafka(system: System) -> Iterator[None]:
    """Removes Kafka afterwards from the host, which has no broker."""
    yield
    system.on(HOST, "rm -rf /opt/kafka /opt/kafka_*")


def test_apaches_archive_is_taken_only_with_the_right_digest(
    system: System, without_kafka: None, apaches: Path
) -> None:
    digest = hashlib.sha256(apaches.read_bytes()).hexdigest()
    named = {"kafka_version": "3.9.1", "kafka_archive": str(apaches)}
    refused = deliver("kafka_distribution", check=False, **named, kafka_archive_sha256=NOTHING)
    assert f"{apaches} is {digest}, not {NOTHING}" in refused
    assert system.on(HOST, "ls /opt | grep kafka", check=False) == ""
    deliver("kafka_distribution", **named, kafka_archive_sha256=digest)
    assert system.on(HOST, "/opt/kafka/bin/kafka-topics.sh --version").startswith("3.9.1")
    assert "changed=0" in deliver("kafka_distribution", **named, kafka_archive_sha256=digest)


@pytest.fixture
def registry(system: System) -> Iterator[str]:
    """The digest of the producer's image in a registry on the host."""
    record = json.loads((ROOT / ".zads/cache/images/producer.json").read_text())
    pushed = f"{REGISTRY}/zads/producer:pushed"
    install = "apt-get install -qq -y --no-install-recommends docker-registry"
    system.on(HOST, f"apt-get update -qq && DEBIAN_FRONTEND=noninteractive {install}")
    # Debian's settings ask for a password.
    system.on(HOST, f"echo '{SETTINGS}' >/etc/docker/registry/config.yml && systemctl restart docker-registry")
    push = f"docker tag {record['tag']} {pushed} && docker push --quiet {pushed} 2>/dev/null"
    await_that("the registry takes the image", lambda: system.on(HOST, push, check=False).strip() == pushed, 120)
    digest = system.on(HOST, f"docker image inspect --format '{{{{index .RepoDigests 0}}}}' {pushed}").strip()
    system.on(HOST, f"docker image rm {pushed}")
    system.on(HOST, f"docker image rm {digest}", check=False)  # some engines remove it with its last tag
    yield digest.partition("@")[2]
    system.on(HOST, f"docker image rm --force {TESTED}; apt-get purge -qq -y docker-registry")


def test_an_image_comes_from_a_registry_by_its_digest_alone(system: System, registry: str) -> None:
    record = json.loads((ROOT / ".zads/cache/images/producer.json").read_text()) | {"tag": TESTED}
    named = {
        "container_image_name": "producer",
        "container_image_registry": f"{REGISTRY}/zads",
        "_container_image_record": record,
    }
    assert "has no digest of producer" in deliver("container_image", check=False, **named)
    wrong = {"producer": f"sha256:{NOTHING}"}
    deliver("container_image", check=False, **named, container_image_registry_digests=wrong)
    assert system.on(HOST, f"docker image ls --quiet {TESTED}") == ""
    right = {"producer": registry}
    deliver("container_image", **named, container_image_registry_digests=right)
    assert system.on(HOST, f"docker image ls --quiet {TESTED}") != ""
    assert "changed=0" in deliver("container_image", **named, container_image_registry_digests=right)
