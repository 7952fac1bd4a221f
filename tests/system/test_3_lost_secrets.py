"""A control machine that has lost secrets names what is missing, and changes no host."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_system import STATE, System, run

SECRETS = STATE / "secrets"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[None]:
    """Restores the secrets after the test."""
    shutil.copytree(SECRETS, tmp_path / "secrets")
    yield
    shutil.rmtree(SECRETS, ignore_errors=True)
    shutil.copytree(tmp_path / "secrets", SECRETS)


def files(system: System) -> dict[str, str]:
    """Checksums, by host, of all files that a deployment with other secrets would change."""
    command = "find /etc/kafka /etc/zookeeper /etc/zads -type f 2>/dev/null -exec sha256sum {} + | sort"
    return {host: system.on(host, command) for host in system.inventory.hosts}


@pytest.mark.parametrize(
    ("lost", "command", "named"),
    [
        (".", ("make", "deploy"), ("origin/kafka-ca.crt is missing: origin-1,", "passwords.yml is missing")),
        (".", ("make", "deploy", "LIMIT=apps-1"), ("public/zookeeper-ca.crt is missing, and public-1,",)),
        ("public", ("make", "check"), ("public/kafka-ca.crt is missing: public-1,",)),
        ("passwords.yml", ("make", "deploy", "TAGS=access"), ("passwords.yml is missing",)),
    ],
    ids=["all", "all, with a limit", "a site, in check mode", "passwords"],
)
def test_lost_secrets_are_named_and_no_new_ones_are_made(
    system: System, kept: None, lost: str, command: tuple[str, ...], named: tuple[str, ...]
) -> None:
    before = files(system)
    path = SECRETS / lost
    path.unlink() if path.is_file() else shutil.rmtree(path)
    result = run(*command, check=False)
    assert result.returncode != 0
    for text in named:
        assert text in result.stdout, result.stdout[-3000:]
    assert "lost-control-machine.md" in result.stdout
    assert "changed=0" in result.stdout
    assert not any(f"changed={count}" in result.stdout for count in range(1, 10))
    assert not path.exists(), "no secret was made in its place"
    assert files(system) == before
