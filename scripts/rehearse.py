"""`make rehearse ENV=…`: an inventory realised in containers, from the first deploy to the last clean-up.

Deploy, stream a simulated night, verify, deploy again (nothing may change), check mode, take down. The inventory's own
files are used as they are; the lab adds addresses and the smaller memories of `lab_overrides`. When a step fails the
containers stay for a look, and the last line says how to remove them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ZADS = str(ROOT / ".venv/bin/zads")


def step(title: str, command: list[str], **variables: str) -> None:
    """Run one step, with its title before and its time after; a failure ends the rehearsal."""
    print(f"\nrehearse: {title}", flush=True)
    started = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, check=False).returncode
    if status:
        sys.exit(f"rehearse: failed: {title} (exit {status}); the containers are left: make down ENV={command_env}")
    print(f"rehearse: {title}: {time.monotonic() - started:.0f} s", flush=True)


def deploy_again(env: str) -> None:
    """A second deploy; fails when it changes anything."""
    with tempfile.TemporaryDirectory(prefix="zads-rehearse-") as temporary:
        recap = Path(temporary) / "recap.json"
        step("deploy again", [str(ROOT / "scripts/ansible"), env, "deploy"], ZADS_RECAP=str(recap))
        changed = {host: count["changed"] for host, count in json.loads(recap.read_text()).items() if count["changed"]}
    if changed:
        sys.exit(f"rehearse: a second deploy changed {changed}; the containers are left: make down ENV={env}")


def main(env: str) -> None:
    """Rehearse one environment from nothing."""
    ansible = str(ROOT / "scripts/ansible")
    step("take down what an earlier rehearsal left", [ZADS, "lab", "down", env])
    step("containers", [ZADS, "lab", "up", env])
    step("deploy", [ansible, env, "deploy"])
    step("a night", [ZADS, "demo", "--env", env, "--visits", "6", "--alerts-per-visit", "50"])
    step("verify", [ansible, env, "verify"])
    deploy_again(env)
    step("check", [str(ROOT / ".venv/bin/python"), str(ROOT / "scripts/check.py"), env])
    step("take down", [ZADS, "lab", "down", env])
    print(f"\nrehearse: inventories/{env} deploys, streams, verifies, and changes nothing the second time")


if __name__ == "__main__":
    command_env = sys.argv[1]
    main(command_env)
