"""Backups, as playbooks see them: which member's data go into one, and whether the last one is recent enough."""

from __future__ import annotations

import time
from pathlib import Path

from ansible.errors import AnsibleFilterError

from zads.backup import shelf
from zads.errors import ZadsError

DOCUMENTATION = """
name: ensemble_archives
short_description: The data of one member of each site's ensemble
description:
  - From what the playbook backup registered on each member. All members of an ensemble have the same data.
  - C(backup_metrics) says for Prometheus when the last backup of an environment was made, and its size.
  - C(backup_problems) gives a line if the last backup of an environment is missing or too old.
options:
  _input: {description: hostvars, type: dict, required: true}
  groups: {description: Ansible's groups, type: dict, required: true}
"""

EXAMPLES = """
archives: "{{ hostvars | ensemble_archives(groups) }}"
"""

RETURN = """
_value: {description: An archive in base64 for each site, type: dict}
"""

SITES = ("origin", "public")


def archives(hostvars, groups):
    """The archive of the first member of each site that gave one."""
    found = {}
    for site in SITES:
        members = groups.get(f"{site}_zookeeper", [])
        answers = [(host, hostvars[host].get("backup_ensemble") or {}) for host in members]
        given = [answer["archive"] for _, answer in answers if answer.get("archive")]
        if not given:
            reasons = "; ".join(f"{host}: {answer.get('msg', 'it was not asked')}" for host, answer in answers)
            raise AnsibleFilterError(f"no member of the ensemble of {site} has given its data: {reasons}")
        found[site] = given[0]
    return found


def metrics(state):
    """What Prometheus is told of the last backup; nothing if there is none."""
    about = shelf.last(Path(state))
    return shelf.metrics(about) if about else ""


def problems(state, days):
    """Why the last backup is not what the inventory asks for, in a line; nothing if it asks for none (0 days)."""
    if not float(days):
        return []
    try:
        found = shelf.problem(shelf.last(Path(state)), float(days), time.time())
    except ZadsError as error:
        found = str(error)
    return [f"backup: {found}: make backup (docs/runbooks/back-up.md)"] if found else []


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"ensemble_archives": archives, "backup_metrics": metrics, "backup_problems": problems}
