"""The spool belongs to its group: members drop exposures and read receipts, and nobody else has access."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_system import System, await_that

SPOOL = "/var/lib/zads/producer/spool"
HOST = "apps-1"


class Pipeline:
    """A user of the producer's host who is a member of the spool's group and has no other rights."""

    def __init__(self, system: System) -> None:
        self.system = system

    def does(self, command: str, *, user: str = "pipeline") -> str:
        """Run a shell command as this user. Returns its output; the test fails if it fails."""
        return self.system.on(HOST, f"runuser -u {user} -- sh -c 'umask 0002; {command}' 2>&1")

    def may(self, command: str, *, user: str = "pipeline") -> bool:
        """Whether a command succeeds."""
        status = self.system.on(HOST, f"runuser -u {user} -- sh -c '{command}' >/dev/null 2>&1; echo $?")
        return status.strip() == "0"


@pytest.fixture(scope="module")
def pipeline(system: System) -> Iterator[Pipeline]:
    system.on(HOST, "useradd --system --groups zads-spool pipeline")
    yield Pipeline(system)
    system.on(HOST, f"userdel pipeline; rm -rf {SPOOL}/*/members-*")


@pytest.mark.parametrize("kind", ["archive", "directory"])
def test_a_member_drops_an_exposure_and_reads_its_receipt(pipeline: Pipeline, kind: str) -> None:
    """The file is no packet, so it is refused at once. A published exposure goes the same way."""
    name = f"members-{kind}"
    make = {
        "archive": f"tar -cf .{name} -C /etc hostname && mv .{name} {name}.tar",
        "directory": f"mkdir -p .{name}/part && cp /etc/hostname .{name}/part && mv .{name} {name}",
    }
    pipeline.does(f"cd {SPOOL}/incoming && {make[kind]}")

    def receipt() -> str:
        """The path of the receipt."""
        return pipeline.does(f"ls {SPOOL}/done/{name}.json {SPOOL}/refused/{name}.json 2>/dev/null; true").strip()

    path = await_that(f"{name} has a receipt", receipt, 60)
    assert pipeline.may(f"cat {path}")
    await_that(f"{name} has left incoming", lambda: pipeline.may(f"! ls -A {SPOOL}/incoming | grep {name}"), 20)


def test_a_member_writes_nowhere_else_in_the_spool(pipeline: Pipeline) -> None:
    for place in ("", "/done", "/refused"):
        assert not pipeline.may(f"touch {SPOOL}{place}/members-stray"), place
    assert pipeline.may(f"touch {SPOOL}/incoming/.members-own && rm {SPOOL}/incoming/.members-own")


def test_nobody_else_has_access_to_the_spool(pipeline: Pipeline) -> None:
    assert pipeline.may("ls /", user="nobody")
    for place in ("", "/incoming", "/done", "/refused"):
        assert not pipeline.may(f"ls {SPOOL}{place}", user="nobody"), place
        assert not pipeline.may(f"cd {SPOOL}{place}", user="nobody"), place


def test_everything_in_the_spool_belongs_to_its_group_and_to_nobody_else(system: System, pipeline: Pipeline) -> None:
    directories = system.on(HOST, f"stat -c '%U:%G %a %n' {SPOOL} {SPOOL}/incoming {SPOOL}/done {SPOOL}/refused")
    assert directories.splitlines() == [
        f"zads:zads-spool 2750 {SPOOL}",
        f"zads:zads-spool 2770 {SPOOL}/incoming",
        f"zads:zads-spool 2750 {SPOOL}/done",
        f"zads:zads-spool 2750 {SPOOL}/refused",
    ]
    written = f"find {SPOOL} -user zads -newermt '-1 minute' \\( -perm /o=rwx -o ! -group zads-spool \\)"
    assert system.on(HOST, written) == "", "what the producer has just written"
