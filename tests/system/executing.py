"""Runbooks, executed as they stand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_system import ROOT, run

RUNBOOKS = sorted(path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md") if path.stem != "README")
#: Those that `make drill` executes, since each takes minutes. `make test` executes the others.
LONG = [
    "add-a-broker",
    "add-a-subscriber",
    "an-audit-failed",
    "archive-nights",
    "back-up",
    "broker-is-down",
    "change-a-setting",
    "change-a-subscriber",
    "change-an-authority",
    "change-passwords",
    "clocks-differ",
    "deploy",
    "disk-is-filling",
    "late-nights",
    "latency-is-high",
    "locked-site",
    "lost-control-machine",
    "lost-ensemble",
    "lost-origin",
    "lost-public-site",
    "metrics-are-missing",
    "mirror-is-silent",
    "monitoring-is-away",
    "move-a-site",
    "new-deployment",
    "new-schema",
    "producer-waits",
    "remove-a-broker",
    "rename-a-host",
    "renew-certificates",
    "replace-a-machine",
    "roll-back-a-program",
    "sample-data",
    "stop-and-start-a-site",
    "the-board-is-down",
    "upgrade-kafka",
]


def execute(name: str) -> None:
    """Execute a runbook on the local system. It must undo what it changes in the inventory or the schemas."""
    with _inventory_as_it_was():
        run("scripts/with-engine", ".venv/bin/python", "scripts/runbook.py", "local", name)


@contextmanager
def _inventory_as_it_was() -> Iterator[None]:
    """Restore the inventory and the schemas, also after a runbook that fails; fail if they had to be restored."""
    before = _contents()
    try:
        yield
    finally:
        after = _contents()
        for path in after.keys() - before.keys():
            path.unlink()
        for path, content in before.items():
            path.write_bytes(content)
    assert after == before, "the runbook does not undo what it changes in the inventory or the schemas"


def _contents() -> dict[Path, bytes]:
    places = (ROOT / "inventories" / "local", ROOT / "schemas")
    return {path: path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()}
