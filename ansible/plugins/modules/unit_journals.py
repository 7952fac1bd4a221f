#!/usr/bin/python
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports
"""Reads the newest entries of units' journals."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unit_journals
short_description: The newest entries of the journals of units
description:
  - Changes nothing. Reads from the newest entry backwards, until O(lines) entries are found or O(most_bytes) are read.
  - Entries that systemd writes about a unit (its start, its end) belong to it.
options:
  units: {description: "Names or patterns of units, such as zads-*.service", type: list, elements: str, required: true}
  since: {description: Seconds since 1970 of the oldest entry, type: float, required: true}
  until: {description: Seconds since 1970 of the newest entry; without it there is no bound, type: float}
  directory: {description: "Journals of other hosts, not of this one; entries have a C(host)", type: path}
  pattern: {description: A regular expression that an entry must contain, type: str, default: ""}
  lines: {description: The most entries, type: int, default: 200}
  most_bytes: {description: The most bytes of the journal that are read, type: int, default: 200000000}
  most_characters: {description: The most characters of an entry, type: int, default: 2000}
"""

EXAMPLES = r"""
- name: Read what the brokers wrote in the last hour
  unit_journals: {units: [kafka.service], since: "{{ now().timestamp() - 3600 }}"}
"""

RETURN = r"""
entries:
  description: The entries, the newest first, with the moment (C(at), microseconds since 1970), C(unit) and C(text)
  returned: success
  type: list
  elements: dict
more: {description: Whether there are older entries that were left out, returned: success, type: bool}
clock: {description: "The host's clock, seconds since 1970", returned: success, type: float}
"""

import json
import os
import re
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule

CHUNK = 65_536


def text_of(message) -> str:
    """A message of the journal's JSON: a text, or a list of bytes if it is not printable, or a list of texts."""
    if isinstance(message, list) and all(isinstance(one, int) for one in message):
        return bytes(message).decode("utf-8", "backslashreplace")
    return str("" if message is None else message)


def entry(line: bytes, most_characters: int, with_host: bool = False) -> dict | None:
    """An entry from a line of the journal's JSON; None if the line is not an entry."""
    try:
        found = json.loads(line)
        at = int(found["__REALTIME_TIMESTAMP"])
    except (ValueError, KeyError, TypeError):
        return None
    text = text_of(found.get("MESSAGE"))
    if len(text) > most_characters:
        text = f"{text[:most_characters]}... ({len(text)} characters)"
    # A message of systemd about a unit has the unit's name in UNIT.
    unit = str(found.get("UNIT") or found.get("_SYSTEMD_UNIT") or "?")
    host = {"host": str(found.get("_HOSTNAME") or "?")} if with_host else {}
    return {"at": at, "unit": unit, "text": text, **host}


def newest(
    lines, pattern: re.Pattern | None, count: int, most_bytes: int, most_characters: int, with_host: bool = False
) -> tuple[list, bool]:
    """The first `count` entries with the pattern, and whether the reading ended before the lines did."""
    found: list[dict] = []
    size = 0
    for line in lines:
        size += len(line)
        if len(found) >= count or size > most_bytes:
            return found, True
        one = entry(line, most_characters, with_host)
        if one is not None and (pattern is None or pattern.search(one["text"])):
            found.append(one)
    return found, False


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "since": {"type": "float", "required": True},
            "until": {"type": "float"},
            "directory": {"type": "path"},
            "pattern": {"type": "str", "default": ""},
            "lines": {"type": "int", "default": 200},
            "most_bytes": {"type": "int", "default": 200_000_000},
            "most_characters": {"type": "int", "default": 2000},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        pattern = re.compile(params["pattern"]) if params["pattern"] else None
    except re.error as error:
        module.fail_json(msg=f"{params['pattern']!r} is no regular expression: {error}")
    command = [
        module.get_bin_path("journalctl", required=True), "--quiet", "--no-pager", "--reverse", "--all",
        "--output=json", "--output-fields=MESSAGE,UNIT,_SYSTEMD_UNIT,_HOSTNAME", f"--since=@{params['since']:.0f}",
        *([] if params["until"] is None else [f"--until=@{params['until']:.0f}"]),
        *([] if params["directory"] is None else [f"--directory={params['directory']}"]),
        *(f"--unit={one}" for one in params["units"]),
    ]  # fmt: skip
    with subprocess.Popen(
        command, env={**os.environ, "LC_ALL": "C"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        found, more = newest(
            process.stdout, pattern, params["lines"], params["most_bytes"], params["most_characters"],
            with_host=params["directory"] is not None,
        )  # fmt: skip
        process.kill()  # it may have more to say
        problem = process.stderr.read(CHUNK).decode("utf-8", "backslashreplace").strip()
    # journalctl says this if no unit on the host has a name that fits a pattern.
    if process.returncode > 0 and not found and "No data available" not in problem:
        module.fail_json(msg=f"journalctl fails: {problem or process.returncode}")
    module.exit_json(changed=False, entries=found, more=more, clock=time.time())


if __name__ == "__main__":
    main()
