"""`make verify` names every fault, on any host, and finds none after the repair."""

from __future__ import annotations

from local_system import System, run


def test_all_that_is_broken_is_named_at_once(system: System) -> None:
    settings = "/etc/kafka/log4j.properties"
    system.on("apps-1", "systemctl stop zads-filters-moving@1")
    system.on("origin-2", f"cp -p {settings} /var/tmp/kept && echo '# by hand' >> {settings}")
    system.on("public-2", "systemctl stop kafka")
    try:
        found = run("make", "verify", check=False)
    finally:
        system.on("public-2", "systemctl start kafka")
        system.on("origin-2", f"mv /var/tmp/kept {settings}")
        system.on("apps-1", "systemctl start zads-filters-moving@1")
    assert found.returncode != 0
    for line in (
        "FAIL apps-1: zads-filters-moving@1.service is inactive (dead)",
        f"FAIL origin-2: kafka.service runs with older files than are there ({settings})",
        "FAIL public-2: kafka.service is inactive (dead)",
        "FAIL public: broker 2 is not up",
    ):
        assert line in found.stdout, found.stdout[-4000:]
    run("scripts/ansible", "local", "deploy", "--tags", "filter_worker")
    run("make", "verify")
