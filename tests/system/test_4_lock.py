"""One operation at a time works on a site, whichever control machine it comes from."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_system import ROOT, System, await_that, run, under_replicated

FILE = "/var/lib/zads-lock.json"
HOSTS = ["origin-1", "origin-2", "origin-3", "public-1", "public-2", "public-3"]


def locked(system: System) -> list[str]:
    """The hosts that hold a lock."""
    return [host for host in HOSTS if system.on(host, f"cat {FILE} 2>/dev/null || true").strip()]


def started(system: System, host: str) -> str:
    return system.on(host, "systemctl show --property=MainPID --value kafka").strip()


def test_a_second_operator_is_refused_and_the_lock_is_broken_on_purpose(system: System) -> None:
    """The lock as another control machine would have it, on one host only: nobody passes it."""
    before = started(system, "origin-1")
    lock = {"token": "t", "owner": "alice@elsewhere", "operation": "deploy", "reason": "new disks", "taken": 0}
    system.on("origin-2", f"echo '{json.dumps(lock)}' > {FILE}")
    try:
        refused = run("make", "restart", "LIMIT=origin-1", check=False)
        assert refused.returncode != 0
        assert "origin is locked: alice@elsewhere has held it for" in refused.stdout, refused.stdout[-3000:]
        assert "(deploy, reason: new disks)" in refused.stdout
        assert "it is stale" in refused.stdout
        assert started(system, "origin-1") == before
        assert locked(system) == ["origin-2"], "it gave back what it had taken"
        checked = run("scripts/ansible", "local", "deploy", "--check", "--tags", "none")
        assert "origin is locked: alice@elsewhere" in checked.stdout, checked.stdout[-3000:]
        assert "origin is locked: alice@elsewhere" in run("make", "verify").stdout
        assert run("make", "unlock", check=False).returncode != 0, "without a reason"
        run("make", "unlock", "REASON=the control machine is gone")
        assert locked(system) == []
    finally:
        system.on("origin-2", f"rm -f {FILE}")


def test_a_run_that_fails_gives_its_locks_back(system: System) -> None:
    failed = run("make", "night", "NIGHT=20301301", check=False)
    assert failed.returncode != 0
    assert "is not a night" in failed.stdout, failed.stdout[-3000:]
    assert locked(system) == []


@contextmanager
def waiting_restart(system: System, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A restart of a broker that waits at its gate, with the lock: another broker is away during the body.

    Afterwards the site is whole again: the next test may need every broker.
    """
    system.on("public-3", "systemctl stop kafka")
    try:
        with log.open("w") as output:
            waiting = subprocess.Popen(
                ["scripts/ansible", "local", "restart", "--limit", "public-1"],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        await_that("the operation waits", lambda: "already away: broker 3" in log.read_text(), 180)
        yield waiting
    finally:
        system.on("public-3", "systemctl start kafka")
        await_that("every replica of the public site is in sync", lambda: not under_replicated("public"), 180)


def test_an_operation_whose_lock_is_broken_stops_before_the_next_restart(system: System, tmp_path: Path) -> None:
    before, log = started(system, "public-1"), tmp_path / "log"
    with waiting_restart(system, log) as waiting:
        assert locked(system) == ["public-1", "public-2"]
        run("make", "unlock", "REASON=enough of it")
    assert waiting.wait(300) != 0
    assert "public is no longer locked by this run" in log.read_text(), log.read_text()[-3000:]
    assert "broke the lock: enough of it" in log.read_text()
    assert started(system, "public-1") == before


def test_an_interrupted_operation_gives_its_locks_back_and_stops_nothing(system: System, tmp_path: Path) -> None:
    before = started(system, "public-1")
    with waiting_restart(system, tmp_path / "log") as waiting:
        waiting.terminate()
        assert waiting.wait(120) != 0
    assert locked(system) == []
    assert started(system, "public-1") == before
