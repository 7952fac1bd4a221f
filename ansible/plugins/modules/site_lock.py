#!/usr/bin/python
"""A host's part of its site's lock: a file that names the operation which has it."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: site_lock
short_description: A host's part of its site's lock
description:
  - Runs on the hosts of a site's brokers. C(zads.site.lock) says how many of them an operation needs.
  - Only one of several calls at the same moment takes the lock of a host. The file appears with its whole content, and
    stays when the host restarts.
  - Check mode never takes, gives back or breaks a lock.
options:
  state:
    description:
      - V(taken) takes the lock if nobody has it. That another has it is no failure of this module.
      - V(shown) changes nothing.
      - V(released) removes the lock of O(token), and no other's.
      - V(broken) removes the lock of O(token) for O(owner), and notes who broke it and why.
    type: str
    choices: [taken, shown, released, broken]
    required: true
  token: {description: Names one run of an operation, type: str, default: ""}
  owner: {description: "Who runs it and where, as USER@MACHINE", type: str, default: ""}
  operation: {description: The playbook, type: str, default: ""}
  reason: {description: Why, type: str, default: ""}
  path: {description: The file, type: path, default: /var/lib/zads-lock.json}
"""

EXAMPLES = r"""
- name: Take the host's lock
  site_lock: {state: taken, token: 6f1c, owner: alice@control-1, operation: deploy, reason: more memory}
"""

RETURN = r"""
lock: {description: "The lock that the host has now, with its age in seconds, or nothing", returned: always, type: dict}
broken: {description: "Who broke the lock of O(token), and why, or nothing", returned: always, type: dict}
"""

import fcntl
import json
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.whole_file import replace

FIELDS = ("token", "owner", "operation", "reason")


@contextmanager
def alone(path: Path):
    """One call at a time: the kernel ends the hold of a process that dies."""
    with path.with_name(f".{path.name}.guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def read(path: Path) -> dict | None:
    """The content of a lock's file. One that cannot be read is a lock whose owner is unknown."""
    try:
        found = json.loads(path.read_text())
        return {**{name: str(found[name]) for name in FIELDS}, "taken": float(found["taken"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return {"token": "", "owner": "somebody unknown", "operation": f"{path} is damaged", "reason": "", "taken": 0.0}


def write(path: Path, content: dict) -> None:
    """Write a file that anybody may read."""
    replace(path, json.dumps(content).encode(), 0o644)


def settle(params: dict, now: float, *, check: bool) -> dict:
    """Do what the state asks for, except in check mode. Returns the module's answer."""
    path, state = Path(params["path"]), params["state"]
    note = path.with_name(f"{path.name}.broken")
    with nullcontext() if check or state == "shown" else alone(path):
        lock, changed = read(path), False
        if state == "taken" and lock is None:
            changed, lock = True, {**{name: params[name] for name in FIELDS}, "taken": now}
            if not check:
                write(path, lock)
        elif state in ("released", "broken") and lock and lock["token"] == params["token"]:
            if not check:
                if state == "broken":
                    write(note, {"token": lock["token"], "by": params["owner"], "reason": params["reason"], "at": now})
                path.unlink()
            changed, lock = True, None
    return {"changed": changed, "lock": with_age(lock, now), "broken": broken(note, params["token"])}


def with_age(lock: dict | None, now: float) -> dict | None:
    """A lock with its age in seconds. A clock that was set back makes it new, not younger than that."""
    return None if lock is None else {**lock, "age": max(now - lock["taken"], 0.0)}


def broken(note: Path, token: str) -> dict | None:
    """The note of whoever broke the lock of this token."""
    try:
        found = json.loads(note.read_text())
        return found if found.get("token") == token else None
    except (OSError, ValueError, AttributeError):
        return None


def main() -> None:
    text = {"type": "str", "default": ""}
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["taken", "shown", "released", "broken"], "required": True},
            "token": {"type": "str", "default": "", "no_log": False},
            "owner": text,
            "operation": text,
            "reason": text,
            "path": {"type": "path", "default": "/var/lib/zads-lock.json"},
        },
        supports_check_mode=True,
    )
    try:
        answer = settle(module.params, time.time(), check=module.check_mode)
    except OSError as error:
        module.fail_json(msg=f"the lock's file cannot be used: {error}")
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
