"""`make users`: says what changes for the people of an inventory, asks, and then changes it.

    scripts/users.py ENV [--yes] [options of ansible-playbook]

The plan is the playbook `users` in check mode, so it is made from the sites themselves. With `--check` it ends there.
Exits 1 if nobody agrees, or if there is no terminal to ask at.
"""

from __future__ import annotations

import sys

from check import play
from machines import agreed


def main(env: str, options: list[str]) -> int:
    """Plan, ask, apply. Returns the exit status."""
    rest = [option for option in options if option != "--yes"]
    only_plan = "--check" in rest or "-C" in rest
    status, changes = play(env, "users", "--check", *[option for option in rest if option not in ("--check", "-C")])
    if status:
        return status
    if not changes:
        print(f"users: every site is what inventories/{env} says")
        return 0
    if only_plan:
        print(f"users: nothing is changed. make users ENV={env} applies the plan above")
        return 0
    if "--yes" not in options and not agreed(env, "users"):
        return 1
    return play(env, "users", *rest)[0]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: scripts/users.py ENV [--yes] [options of ansible-playbook]")
    sys.exit(main(sys.argv[1], sys.argv[2:]))
