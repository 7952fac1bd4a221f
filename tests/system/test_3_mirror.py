"""The mirror takes up a night whichever site has its topics first."""

from __future__ import annotations

import time
from pathlib import Path

from local_system import System, await_that, drop, playbook, read_topic
from zads.sources import simulator

NIGHT = "20300204"
FOUND = "journalctl -u zads-mirrormaker -o cat | grep -c 'new topic-partitions on origin'"


def test_a_night_that_the_origin_has_first_is_mirrored_when_the_public_site_has_it(system: System) -> None:
    night = ("-e", f"night={NIGHT}", "-e", "night_warm_seconds=0")
    before = system.on("apps-1", FOUND, check=False)
    playbook("night", *night, "--limit", "origin-1")
    await_that("the mirror sees the new night", lambda: system.on("apps-1", FOUND, check=False) != before, 60)
    playbook("night", *night, "--limit", "public-1")
    ((_, packets),) = simulator.simulate(NIGHT, 1, 20, seed=int(time.time()))
    drop(system, f"{NIGHT}-{int(time.time())}-mirror", {Path(name).name: data for name, data in packets})
    topic = f"ztf_{NIGHT}_programid1"
    await_that("alerts are at the origin", lambda: read_topic("admin-origin", topic), 60)
    await_that(
        "they are at the public site",
        lambda: len(read_topic("admin-public", topic)) == len(read_topic("admin-origin", topic)),
        60,
    )
