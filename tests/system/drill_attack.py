"""A client that asks too much of a broker is refused. The broker lives, and other clients notice nothing."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from local_system import ROOT, System, client, read_topic
from zads import canary

TARGET = "public-1"
NAME = "zads-attack"
ADDRESS = "172.28.77.200"  # in the lab's network, and no host's
CLAIM = 5 * 1024 * 1024  # the largest request that a broker takes: a message and some room
PORTS = ("9093", "9094")
ATTACK = Path(__file__).with_name("attack.py")


@contextmanager
def attacked(system: System) -> Iterator[dict[str, int]]:
    """Attack one broker during the body, from another machine with a subscriber's password."""
    image = json.loads((ROOT / ".zads/cache/images/filter-worker.json").read_text())["tag"]
    reader = client("reader")
    command = [
        "docker", "run", "--rm", "--name", NAME, "--network", system.lab.network_name, "--ip", ADDRESS,
        "--env", "USER", "--env", "PASSWORD", "--volume", f"{ATTACK}:/attack.py:ro", "--entrypoint", "python3",
        image, "-u", "/attack.py", system.inventory.address(TARGET), *PORTS, str(CLAIM),
    ]  # fmt: skip
    account = {"USER": reader["sasl.username"], "PASSWORD": reader["sasl.password"]}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **account})
    try:
        assert running.stdout is not None
        yield json.loads(running.stdout.readline())
    finally:
        subprocess.run(["docker", "rm", "--force", NAME], check=True, stdout=subprocess.DEVNULL)
        running.wait(30)


def test_a_broker_under_attack_lives_and_serves_its_neighbours(
    system: System, public_topic: str, record_property: Callable[[str, object], None]
) -> None:
    def flight() -> float:
        return canary.send(client("admin-origin"), client("admin-public")).read_seconds

    started = system.on(TARGET, "systemctl show -p MainPID -p NRestarts kafka")
    before = max(flight() for _ in range(3))
    with attacked(system) as held:
        assert held["password, claim of 100 MB"] == 0
        assert held["stranger, claim of 100 MB"] == 0
        assert 1 <= sum(held.values()) <= 12, held  # the bounds of one address at both listeners
        during = max(flight() for _ in range(3))
        record_property("slowest canary before and during", f"{before:.2f} s, {during:.2f} s")
        record_property("connections held", sum(held.values()))
        assert during < before + 2, (before, during)
        assert len(read_topic("reader", public_topic)) > 0
    assert system.on(TARGET, "systemctl show -p MainPID -p NRestarts kafka") == started
