"""`make check`: the deploy playbook in check mode with diff; exit 1 when anything would change, naming it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(env: str, options: list[str]) -> int:
    """Run it, show its output as it comes, and judge by the recap that Ansible itself counts."""
    with tempfile.TemporaryDirectory(prefix="zads-check-") as temporary:
        recap = Path(temporary) / "recap.json"
        # The callback plugin of this repository writes the counts; the screen is for people.
        environment = {**os.environ, "ZADS_RECAP": str(recap)}
        command = [str(ROOT / "scripts/ansible"), env, "deploy", "--check", "--diff", *options]
        status = subprocess.run(command, env=environment, check=False).returncode
        if status:
            return status
        counts = json.loads(recap.read_text())
    drifted = {host: count["changed"] for host, count in counts.items() if count["changed"]}
    if drifted:
        names = ", ".join(f"{host} ({count})" for host, count in sorted(drifted.items()))
        print(f"check: differs from the inventory: {names}; the lines are above, `make deploy ENV={env}` mends it")
        return 1
    print(f"check: every host is what inventories/{env} says")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
