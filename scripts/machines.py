"""`make rebalance`, `replace`, `remove`, `rotate`: shows what an operation would do, asks, and does it.

    scripts/machines.py ENV PLAYBOOK [--yes] [options of ansible-playbook]

The plan is the part of the playbook with the tag `plan`, in check mode. With `--check` it ends there. Exits 1 if nobody
agrees, or if there is no terminal to ask at.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def play(env: str, playbook: str, *options: str) -> int:
    """Run the playbook, and return its exit status."""
    return subprocess.run([str(ROOT / "scripts/ansible"), env, playbook, *options], check=False).returncode


def agreed(env: str, playbook: str) -> bool:
    """Whether the operator wants what the plan says. Without a terminal nobody can say so."""
    if not sys.stdin.isatty():
        print(f"{playbook}: nothing is changed: there is no terminal to ask at. YES=1 does not ask")
        return False
    return input(f"{playbook}: do this to {env}? [y/N] ").strip().lower() in ("y", "yes")


def main(env: str, playbook: str, options: list[str]) -> int:
    """Plan, ask, do it. Returns the exit status."""
    rest = [option for option in options if option not in ("--yes", "--check", "-C")]
    if status := play(env, playbook, "--check", "--tags", "plan", *rest):
        return status
    if {"--check", "-C"} & set(options):
        print(f"{playbook}: nothing is changed")
        return 0
    if "--yes" not in options and not agreed(env, playbook):
        return 1
    return play(env, playbook, *rest)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: scripts/machines.py ENV PLAYBOOK [--yes] [options of ansible-playbook]")
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
