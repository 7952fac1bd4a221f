"""`make rehearse ENV=…`: an inventory realised in containers, from nothing to a clean machine.

Deploy, stream a simulated night, verify, deploy again (nothing may change), check, take down. The inventory's files are
used unchanged; the lab adds addresses and the smaller heaps of `lab_overrides`. If a step fails the containers stay up
for inspection, and the last line says how to remove them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from check import changed_hosts

ROOT = Path(__file__).resolve().parent.parent
ANSIBLE, ZADS, PYTHON = (str(ROOT / path) for path in ("scripts/ansible", ".venv/bin/zads", ".venv/bin/python"))


class StepError(Exception):
    """A step of the rehearsal failed."""


def step(title: str, *command: str, **variables: str) -> None:
    """Run one step, with further environment variables; print its title before and its seconds after.

    Raises StepError if the command fails.
    """
    print(f"\nrehearse: {title}", flush=True)
    started = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, check=False).returncode
    if status:
        raise StepError(f"failed: {title} (exit {status})")
    print(f"rehearse: {title}: {time.monotonic() - started:.0f} s", flush=True)


def deploy_again(env: str) -> None:
    """Deploy a second time. Raises StepError if that changes anything."""
    with tempfile.TemporaryDirectory(prefix="zads-rehearse-") as temporary:
        recap = Path(temporary) / "recap.json"
        step("deploy again", ANSIBLE, env, "deploy", ZADS_RECAP=str(recap))
        changed = changed_hosts(recap)
    if changed:
        raise StepError(f"a second deploy changed {changed}")


def rehearse(env: str) -> None:
    """Rehearse one environment from nothing. Raises StepError at the first step that fails."""
    step("take down what an earlier rehearsal left", ZADS, "lab", "down", env)
    step("containers", ZADS, "lab", "up", env)
    step("deploy", ANSIBLE, env, "deploy")
    step("a night", ZADS, "demo", "--env", env, "--visits", "6", "--alerts-per-visit", "50")
    step("verify", ANSIBLE, env, "verify")
    deploy_again(env)
    step("check", PYTHON, str(ROOT / "scripts/check.py"), env)
    step("take down", ZADS, "lab", "down", env)


def main(env: str) -> None:
    """Rehearse, and say how it ended."""
    try:
        rehearse(env)
    except StepError as error:
        sys.exit(f"rehearse: {error}; the containers stay up: make down ENV={env}")
    print(f"\nrehearse: inventories/{env} deploys, streams, verifies, and changes nothing the second time")


if __name__ == "__main__":
    main(sys.argv[1])
