#!/usr/bin/python
"""What a broker that does not answer is doing: whether its unit runs, and how far it has recovered its logs."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: broker_condition
short_description: What a broker that does not answer is doing
description:
  - Runs on the broker's host and changes nothing.
  - A broker registers after it has loaded its logs. After an unclean end it first recovers them, which may take many
    minutes. Only its journal shows it.
options:
  host: {description: Address of the broker, type: str, required: true}
  port: {description: Port of its listener for brokers, type: int, required: true}
"""

EXAMPLES = r"""
- name: Ask what the broker does
  broker_condition: {host: 192.0.2.1, port: 9093}
"""

RETURN = r"""
doing: {description: What it does; empty if it accepts connections, returned: always, type: str}
"""

import re
import socket

from ansible.module_utils.basic import AnsibleModule

ANSWER = 3  # seconds that a broker has to accept a connection
UNIT = "kafka.service"
NO_DATA = re.compile(r"has no data, and this broker has had data there")
LOADS = re.compile(r"Loading logs from log dirs")
UNCLEAN = re.compile(r"since no clean shutdown file was found")
LOADED = re.compile(r"LogManager: Loaded \d+ logs")
PART = re.compile(r"\((\d+)/(\d+) completed in ([^)]+)\)")


def doing(active: str, sub: str, lines: list[str]) -> str:
    """What a broker does that accepts no connection, from its unit's state and the journal since its start."""
    if active not in ("active", "activating"):
        return f"its unit is {active} ({sub})"
    if refused := next((line for line in lines if NO_DATA.search(line)), None):
        return f"does not start: {refused.strip()}"
    begun = next((number for number, line in enumerate(lines) if LOADS.search(line)), None)
    if begun is None:
        return "starts"
    lines = lines[begun:]
    if any(LOADED.search(line) for line in lines):
        return "starts: its logs are loaded"
    what = "recovers its logs after an unclean end" if any(UNCLEAN.search(line) for line in lines) else "loads its logs"
    parts = {match[3]: (int(match[1]), int(match[2])) for line in lines if (match := PART.search(line))}
    done, whole = (sum(part[number] for part in parts.values()) for number in (0, 1))
    return f"{what}, {done} of {whole} done" if whole else what


def accepts(host: str, port: int) -> bool:
    """Whether the broker accepts a connection."""
    try:
        socket.create_connection((host, port), timeout=ANSWER).close()
    except OSError:
        return False
    return True


def main() -> None:
    module = AnsibleModule(
        argument_spec={"host": {"type": "str", "required": True}, "port": {"type": "int", "required": True}},
        supports_check_mode=True,
    )
    if accepts(module.params["host"], module.params["port"]):
        module.exit_json(changed=False, doing="")
    shown = module.run_command(["systemctl", "show", "--property=ActiveState,SubState,InvocationID", UNIT])[1]
    state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    # The journal of this start alone: a broker that has run for months serves, and is not asked.
    _, journal, _ = module.run_command(
        ["journalctl", f"_SYSTEMD_INVOCATION_ID={state.get('InvocationID', '')}", "--no-pager", "--output=cat"]
    )
    module.exit_json(
        changed=False, doing=doing(state.get("ActiveState", ""), state.get("SubState", ""), journal.splitlines())
    )


if __name__ == "__main__":
    main()
