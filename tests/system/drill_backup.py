"""A control machine, the origin, an ensemble and the public site are lost, one at a time, and come back from a backup.

A site is deployed from nothing twice, which takes minutes on two cores. So `make drill` runs these and `make test` does
not.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local_system import (
    NIGHT,
    STATE,
    System,
    at_rest,
    await_that,
    client,
    drop,
    make_night,
    playbook,
    read_topic,
    run,
)
from watching import query
from zads import names
from zads.backup import shelf
from zads.site.access import Acl
from zads.site.cluster import Cluster
from zads.sources import simulator

pytestmark = pytest.mark.timeout(3600)
ZADS = ".venv/bin/zads"
SECRETS = STATE / "secrets"
DONE = "/var/lib/zads/producer/spool/done"


@dataclass(frozen=True)
class Vault:
    """Where the operators keep backups and the key."""

    directory: Path

    @property
    def key(self) -> Path:
        return self.directory / "key"

    def backup(self) -> Path:
        """Make a backup, and return it."""
        run("make", "backup", f"TO={self.directory}", f"RECIPIENTS={self.key}.pub", "KEEP=2")
        return shelf.backups(self.directory, "local")[-1]

    def compared(self, file: Path) -> subprocess.CompletedProcess[str]:
        return run(ZADS, "backup", "compare", str(file), "--key", str(self.key), check=False)

    def restored(self, file: Path, *, key: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run("make", "restore", f"FROM={file}", f"KEY={key or self.key}", "YES=1", check=check, timeout=2400)


@pytest.fixture
def vault(system: System, tmp_path: Path) -> Iterator[Vault]:
    """Keys and no backup yet. Afterwards the secrets are what they were, also if the drill failed."""
    found = Vault(tmp_path / "vault")
    found.directory.mkdir()
    run("age-keygen", "-o", str(found.key))
    run("sh", "-ec", f"age-keygen -y {found.key} > {found.key}.pub")
    shutil.copytree(SECRETS, tmp_path / "kept")
    yield found
    if files(SECRETS) != files(tmp_path / "kept"):
        shutil.rmtree(SECRETS, ignore_errors=True)
        shutil.copytree(tmp_path / "kept", SECRETS)


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def lose(system: System, site: str) -> None:
    """Every machine of a site is gone with its data; in its place is one that has nothing."""
    for host in system.inventory.group(site):
        system.lab.container(host).remove(force=True, v=True)
    run("scripts/with-engine", ZADS, "lab", "up", "local")


def values(site: str, topic: str) -> Counter[bytes]:
    return Counter(message.value() or b"" for message in read_topic(f"admin-{site}", topic))


def settled(system: System, names_: list[str]) -> None:
    """Wait until exposures have been published and are on the public site."""
    await_that(
        "the receipts of all exposures",
        lambda: set(names_) <= set(system.on("apps-1", f"ls {DONE}").replace(".tar.json", "").split()),
        300,
    )
    at_rest(system)


def deliver(system: System, exposures: list[tuple[str, list[tuple[str, bytes]]]]) -> None:
    """Deliver exposures, and wait until they are on both sites. Receipts of an earlier delivery do not count."""
    system.on("apps-1", f"rm -rf {' '.join(f'{DONE}/{name}.tar*' for name, _ in exposures)}")
    for name, packets in exposures:
        drop(system, name, dict(packets))
    settled(system, [name for name, _ in exposures])


def unlike(directory: Path, name: str, change: Callable[[bytearray], object], file: Path) -> Path:
    """A copy of a backup with a change."""
    data = bytearray(file.read_bytes())
    change(data)
    copy = directory / name
    copy.write_bytes(data)
    return copy


def test_prometheus_knows_of_a_backup(system: System, vault: Vault) -> None:
    file = vault.backup()

    def told() -> list[float]:
        return [float(one["value"][1]) for one in query(system, "zads_backup_bytes")]

    await_that("the backup's size is told", lambda: told() == [file.stat().st_size], 60)
    (made,) = query(system, "zads_backup_last_seconds")
    assert abs(float(made["value"][1]) - file.stat().st_mtime) < 60


def test_a_damaged_backup_or_another_key_changes_nothing(system: System, vault: Vault) -> None:
    file = vault.backup()
    run("age-keygen", "-o", str(vault.directory / "other"))
    shortened = unlike(vault.directory, "shortened", lambda data: data.__delitem__(slice(-1000, None)), file)
    flipped = unlike(vault.directory, "flipped", lambda data: data.__setitem__(-1000, data[-1000] ^ 1), file)
    for refused in (
        vault.restored(file, key=vault.directory / "other", check=False),
        vault.restored(shortened, check=False),
        vault.restored(flipped, check=False),
    ):
        assert refused.returncode != 0
        assert "cannot be read with the key" in refused.stdout
        assert "PLAY [" not in refused.stdout, "a playbook has begun"


def test_a_comparison_finds_one_changed_grant(system: System, vault: Vault) -> None:
    file = vault.backup()
    assert vault.compared(file).returncode == 0
    grant = Acl("User:reader", "topic", names.REJECTED_TOPIC, "literal", "read")
    Cluster(client("admin-public")).create_acls([grant])
    try:
        found = vault.compared(file)
    finally:
        Cluster(client("admin-public")).delete_acls([grant])
    assert found.returncode != 0
    assert [line for line in found.stdout.splitlines() if line.startswith("DIFFERS")] == [
        f"DIFFERS public: new: grant {grant}"
    ]


def test_the_control_machine_is_lost(system: System, vault: Vault) -> None:
    """A new one has a checkout, the backup and the key. It changes no host, and users' kits are what they were."""
    run("make", "deploy")
    kits = files(STATE / "clients")
    before = files(SECRETS)
    file = vault.backup()
    for lost in ("secrets", "clients", "facts"):
        shutil.rmtree(STATE / lost, ignore_errors=True)
    assert run("make", "check", check=False).returncode != 0
    run(ZADS, "backup", "secrets", str(file), "--key", str(vault.key))
    assert files(SECRETS) == before
    first = playbook("deploy")
    changed = {host: count["changed"] for host, count in first.items() if count["changed"]}
    assert not changed.keys() & set(system.inventory.hosts) - {"origin-1", "public-1"}, changed  # these write the kits
    assert files(STATE / "clients") == kits
    assert not any(count["changed"] for count in playbook("deploy").values())
    assert vault.compared(file).returncode == 0


def test_the_origin_is_lost(system: System, vault: Vault) -> None:
    """What the pipeline delivers again is on each site that may have it once."""
    night = "20300310"
    exposures = list(simulator.simulate(night, 5, 20, seed=5))
    make_night(night)
    deliver(system, exposures[:3])
    file = vault.backup()
    deliver(system, exposures[3:4])  # the backup does not know of it
    public = names.night_topic(night, 1)
    before = values("public", public)
    assert set(before.values()) == {1}
    lose(system, "origin")
    done = vault.restored(file)
    assert "public: the mirror's places in the lost origin are forgotten" in done.stdout
    assert "deliver these exposures again" in done.stdout
    deliver(system, exposures)
    after = values("public", public)
    assert set(after.values()) == {1}, "an alert is on the public site twice"
    assert after.keys() > before.keys()
    origin = [values("origin", names.night_topic(night, programme)) for programme in (2, 3)]
    assert all(set(one.values()) <= {1} for one in origin)
    assert set().union(after, *origin) == {data for _, packets in exposures for _, data in packets}, "alerts are lost"
    assert vault.compared(file).returncode == 0, vault.compared(file).stdout
    run("make", "verify")
    assert not any(count["changed"] for count in playbook("deploy").values())


def test_an_ensemble_is_lost(system: System, vault: Vault) -> None:
    """Its members have lost their data, and the brokers have theirs: every record is there afterwards."""
    topics = [names.night_topic(NIGHT, programme) for programme in names.PROGRAMMES]
    before = [values("origin", topic) for topic in topics]
    file = vault.backup()
    members = system.inventory.group("origin_zookeeper")
    refused = run("make", "restore", f"FROM={file}", f"KEY={vault.key}", "ENSEMBLE=origin", "YES=1", check=False)
    assert "this member has data" in refused.stdout
    for host in members:
        system.on(host, "systemctl is-active kafka zookeeper")  # nothing was stopped
    for host in members:
        system.on(host, "systemctl stop zookeeper; rm -rf /var/lib/zookeeper/version-2")
    run("make", "restore", f"FROM={file}", f"KEY={vault.key}", "ENSEMBLE=origin", "YES=1")
    run("make", "deploy")
    assert [values("origin", topic) for topic in topics] == before
    assert vault.compared(file).returncode == 0, vault.compared(file).stdout
    run("make", "verify")


def test_the_public_site_is_lost(system: System, vault: Vault) -> None:
    """It gets the same bytes from the origin again, and the filters pass the same alerts, once."""
    night, later = "20300311", "20300312"
    make_night(night)
    deliver(system, list(simulator.simulate(night, 3, 40, seed=6)))
    file = vault.backup()
    make_night(later)  # the backup does not know of it
    deliver(system, list(simulator.simulate(later, 2, 40, seed=7)))
    topics = [names.night_topic(one, 1) for one in (night, later)]
    filtered = [names.filter_topic(one["name"]) for one in system.inventory.common("filters")]

    def passed() -> dict[str, Counter[bytes]]:
        """What each filter has passed of these nights."""
        return {
            topic: Counter(
                message.value() or b""
                for message in read_topic("admin-public", topic)
                if names.night_of_visit(dict(message.headers() or ())[names.HEADER_VISIT].decode()) in (night, later)
            )
            for topic in filtered
        }

    nights, outputs = [values("public", topic) for topic in topics], passed()
    assert any(outputs.values())
    lose(system, "public")
    vault.restored(file)
    at_rest(system)
    assert [values("public", topic) for topic in topics] == nights
    assert passed() == outputs
    assert all(set(one.values()) <= {1} for one in passed().values())
    assert vault.compared(file).returncode == 0, vault.compared(file).stdout
    run("make", "verify")
    assert not any(count["changed"] for count in playbook("deploy").values())
