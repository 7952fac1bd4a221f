"""The tutorial on filters works as written, from an empty file to a live filter whose output its owner reads."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

import tutorial
from local_system import ROOT, System, await_that, client, playbook, read_error, read_topic, run
from zads import names
from zads.filters import status
from zads.packet import Packet

TOPIC = names.filter_topic("bright_novae")
FILTERS = ROOT / "inventories/local/filters"
LIST = ROOT / "inventories/local/group_vars/all/filters.yml"
#: For the longest command of the page, a deployment.
SECONDS = 900
#: The night that the page simulates.
TONIGHT = "20300402"


@pytest.fixture
def live(system: System) -> Iterator[dict[str, str]]:
    """The output of steps 1 to 4, by step. Afterwards the inventory and the system are as before."""
    before = LIST.read_bytes()
    made = not FILTERS.exists()
    printed: dict[str, str] = {}
    try:
        for section in (1, 2, 3, 4):
            printed[str(section)] = "".join(tutorial.run(block, ROOT, SECONDS) for block in tutorial.commands(section))
        yield printed
    finally:
        undone = LIST.read_bytes() == before
        LIST.write_bytes(before)
        if made:
            shutil.rmtree(FILTERS, ignore_errors=True)
        shutil.rmtree(ROOT / ".zads/tutorial", ignore_errors=True)
        if not undone:
            playbook("deploy")


def refusal(user: str, topic: str) -> KafkaError | None:
    """The error with which a user is refused a topic; None if they may read it."""
    return read_error(client(user), topic, f"{user}-tutorial")


def counted() -> dict[str, int]:
    return status.counts(client("admin-public"), [TONIGHT]).get("bright_novae", {})


def test_a_filter_is_written_deployed_read_by_its_owner_and_removed(system: System, live: dict[str, str]) -> None:
    assert "annotations={}" in live["4"], "kcat showed the first alert to the owner"
    assert "filter=bright_novae" in live["4"]

    night = [Packet.trusted(path.read_bytes()) for path in (ROOT / ".zads/tutorial/tonight").rglob("*.avro")]
    public = [packet for packet in night if packet.programid == 1]
    await_that("the filter to have seen the exposure", lambda: counted().get("seen", 0) == len(public), 120)
    offered = subprocess.run(
        [".venv/bin/zads", "filter", "run", str(FILTERS / "bright_novae.py"), "--night", ".zads/tutorial/tonight"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    wanted = sorted(line.split()[0] for line in offered.splitlines())
    read = read_topic("alice", TOPIC)
    assert sorted(dict(record.headers())[names.HEADER_CANDID].decode() for record in read) == wanted
    assert {record.value() for record in read} <= {packet.data for packet in public}, "the original bytes"
    assert counted()["passed"] == len(wanted) > 0

    error = refusal("reader", TOPIC)
    assert error is not None, "another user reads what alice owns"
    assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert refusal("alice", TOPIC) is None

    for block in tutorial.commands(5):
        tutorial.run(block, ROOT, SECONDS)
    assert b"bright_novae" not in LIST.read_bytes()
    held = system.on("apps-1", "cat /etc/zads/filters/*/filters/group.json; ls /etc/zads/filters/*/filters")
    assert "bright_novae" not in held
    error = refusal("alice", TOPIC)
    assert error is not None, "the right to read ended with the filter"
    assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    checked = run("make", "check", "ENV=local").stdout
    assert "check: every host is what inventories/local says" in checked
