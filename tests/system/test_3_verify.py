"""`make verify` names every fault, on any host and of any kind, at once, and finds none after the repair."""

from __future__ import annotations

from contextlib import ExitStack

from local_system import System, run

SETTINGS = "/etc/kafka/log4j.properties"
AUDIT = "/var/lib/zads/auditor/20300101.json"
#: Host, command that breaks it, command that repairs it, and what verify says.
FAULTS = [
    ("apps-1", "systemctl stop zads-filters-moving@1", "systemctl start zads-filters-moving@1",
     "apps-1: zads-filters-moving@1.service is inactive (dead)"),
    ("apps-1", "systemctl stop zads-night-keeper", "systemctl start zads-night-keeper",
     "apps-1: zads-night-keeper.service is inactive (dead)"),
    ("apps-1", "systemctl stop zads-archive-server", "systemctl start zads-archive-server",
     "apps-1: the list of archives is not served"),
    ("apps-1", f"echo cut > {AUDIT}", f"rm -f {AUDIT}", "apps-1: the result of an audit cannot be read"),
    ("origin-2", f"cp -p {SETTINGS} /var/tmp/kept && echo '# by hand' >> {SETTINGS}", f"mv /var/tmp/kept {SETTINGS}",
     f"origin-2: kafka.service runs with older files than are there ({SETTINGS})"),
    ("public-3", "systemctl stop zads-node-exporter", "systemctl start zads-node-exporter",
     "apps-1: public-3: node tells no metrics"),
    ("public-2", "systemctl stop kafka", "systemctl start kafka", "public-2: kafka.service is inactive (dead)"),
]  # fmt: skip


def test_all_that_is_broken_is_named_at_once(system: System) -> None:
    with ExitStack() as repairs:
        for host, breaking, repair, _ in FAULTS:
            repairs.callback(system.on, host, repair)
            system.on(host, breaking)
        found = run("make", "verify", check=False)
    assert found.returncode != 0
    for said in [*(one[-1] for one in FAULTS), "public: broker 2 is not up"]:
        assert f"FAIL {said}" in found.stdout, found.stdout[-6000:]
    run("scripts/ansible", "local", "deploy", "--tags", "filter_worker")
    run("make", "verify")
