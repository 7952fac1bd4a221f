"""`make check`: the deploy playbook in check mode with diff; exits 1 and names the hosts if anything would change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def changed_hosts(recap: Path) -> dict[str, int]:
    """Hosts that a playbook changed, and in how many tasks, from the file that the callback plugin `recap` wrote."""
    counts = json.loads(recap.read_text())
    return {host: count["changed"] for host, count in counts.items() if count["changed"]}


def play(env: str, playbook: str, *options: str) -> tuple[int, dict[str, int]]:
    """Run a playbook. Returns its exit status, and the hosts that it changed or would change; none if it failed."""
    with tempfile.TemporaryDirectory(prefix=f"zads-{playbook}-") as temporary:
        recap = Path(temporary) / "recap.json"
        # This repository's callback plugin writes the counts there.
        environment = {**os.environ, "ZADS_RECAP": str(recap)}
        command = [str(ROOT / "scripts/ansible"), env, playbook, *options]
        status = subprocess.run(command, env=environment, check=False).returncode
        return status, {} if status else changed_hosts(recap)


def main(env: str, options: list[str]) -> int:
    """Run the playbook with further options, and return the exit status that follows from Ansible's own counts."""
    status, drifted = play(env, "deploy", "--check", "--diff", *options)
    if status:
        return status
    if drifted:
        names = ", ".join(f"{host} ({count})" for host, count in sorted(drifted.items()))
        print(
            f"check: differs from the inventory: {names}; the differences are above, `make deploy ENV={env}` applies it"
        )
        return 1
    print(f"check: every host is what inventories/{env} says")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
