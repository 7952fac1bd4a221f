"""Hostile filters do not change the outputs of honest filters that are deployed beside them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attacking import DIRECTORY
from local_system import ROOT, System, await_that, client, drop, make_night, playbook, read_topic
from zads import names
from zads.filters import status
from zads.filters.counts import Counts
from zads.filters.owner import Spec
from zads.filters.sandbox import Sandbox
from zads.packet import Packet
from zads.sources import simulator

NIGHT = "20300303"
HONEST = "asteroid"  # a filter of alice's
OWNER = "reader"  # of the hostile filters
ATTACKS = (
    "frame_garbage", "opens_import", "reads_secrets", "replaces_quantities", "says_undecodable", "signals",
    "spins_idle",
)  # fmt: skip


@pytest.fixture
def attacked(system: System, tmp_path: Path) -> Iterator[None]:
    """Deploys hostile filters of another owner in the group `moving`, and removes them afterwards."""
    known: list[dict[str, Any]] = system.inventory.common("filters")
    hostile = [
        {"name": name, "owner": OWNER, "group": "moving", "state": "active", "cap": 20, "modules": ["tools.py"]}
        for name in ATTACKS
    ]
    for path in DIRECTORY.glob("*.py"):
        shutil.copy(path, tmp_path)
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"filters": known + hostile, "filters_dir": str(tmp_path)}))
    make_night(NIGHT)  # first, as it sets the access rights of the inventory, which has no hostile filters
    tags = ("--tags", "topics,access,filter_worker")
    playbook("deploy", *tags, "-e", f"@{given}")
    yield
    playbook("deploy", *tags)


def containers(system: System) -> str:
    """When the group's worker and sandbox were started."""
    form = "{{.Name}} {{.State.StartedAt}} {{.State.OOMKilled}}"
    return system.on("apps-1", f"docker inspect --format '{form}' zads-filters-moving-1 zads-sandbox-moving-1")


def quiet(packets: list[Packet]) -> set[int]:
    """The candids that the honest filter passes by itself, within its cap."""
    with Sandbox([Spec(HONEST, HONEST)]) as sandbox:
        verdicts, _ = sandbox.run([packet.data for packet in packets])
    counts, passed = Counts(), set()
    for index in sorted(verdicts[HONEST].passed):
        if counts.admit(packets[index].visit, 20):
            passed.add(packets[index].candid)
    return passed


def test_hostile_filters_change_nothing_of_what_others_pass(system: System, attacked: None) -> None:
    before = containers(system)
    packets = []
    for number, (_, members) in enumerate(simulator.simulate(NIGHT, 3, 80, seed=11)):
        drop(system, f"attacked-{number}", dict(members))
        packets += [Packet.trusted(data) for _, data in members]
    public = [packet for packet in packets if packet.programid == 1]
    filters = (HONEST, "known_variable", *ATTACKS)

    def seen() -> dict[str, int]:
        rows = status.counts(client("admin-public"), [NIGHT])
        return {name: rows.get(name, {}).get("seen", 0) for name in filters}

    await_that("every filter was offered the night", lambda: set(seen().values()) == {len(public)}, 150)
    mine = {packet.candid for packet in public}
    passed = [int(dict(one.headers())[names.HEADER_CANDID]) for one in read_topic("alice", names.filter_topic(HONEST))]
    assert Counter(candid for candid in passed if candid in mine) == Counter(quiet(public))
    assert containers(system) == before, "neither the worker nor the sandbox was restarted"

    secrets = ROOT / ".zads/local/secrets/passwords.yml"
    words = [word for line in secrets.read_text().splitlines() if len(word := line.split()[-1].strip("'\"")) > 12]
    assert words
    contents = {packet.data for packet in packets}
    refused = [one for one in read_topic("admin-public", names.REJECTED_TOPIC) if one.value() in contents]
    assert read_topic("admin-public", names.filter_topic("reads_secrets")), "it passes alerts with what it could read"
    for name in ATTACKS:
        for one in [*read_topic("admin-public", names.filter_topic(name)), *refused]:
            texts = b"".join(value or b"" for _, value in one.headers() or ())
            assert not [word for word in words if word.encode() in texts], name
            assert b"kafka.properties" not in texts, f"{name} has read the worker's directory"
    assert not [one for one in refused if names.HEADER_FILTER not in dict(one.headers())], (
        "no packet counts as undecodable"
    )
