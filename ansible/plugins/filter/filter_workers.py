"""The units, limits and files that the workers of the filter groups need on their hosts."""

from __future__ import annotations

from pathlib import Path

from zads.site import workers

DOCUMENTATION = """
name: worker_units
short_description: Units, limits and files of the filter workers
description:
  - C(worker_units) names the units that a host runs. The workers of a group are distributed over the hosts in turn.
    Each worker has a sandbox, which starts first.
  - C(due_units) gives, in order, the units to act on and the action for each, from the value RV(host_files#needs) of
    M(host_files). Restarting a sandbox also restarts its worker, so that worker is left out.
  - C(sandbox_limits) gives C(owners), the number of owners for whom a group's sandbox has room, and C(memory_mb), its
    memory.
  - C(filter_paths) gives the paths of a group's filters, their modules and their data, if they are files of the
    deployment.
options:
  _input: {description: "filter_groups, RV(host_files#needs) or filters", type: raw, required: true}
  hosts: {description: "Hosts of the workers, for C(worker_units)", type: list, elements: str}
  host: {description: "The host whose units are wanted, for C(worker_units)", type: str}
  group: {description: "Group of filters, for C(sandbox_limits)", type: str}
  owner_memory: {description: "MB that the filters of one owner may use, for C(sandbox_limits)", type: int}
  groups: {description: "Groups of filters, for C(filter_paths)", type: list, elements: str}
  source: {description: "Directory of the deployment's own files, for C(filter_paths)", type: str}
  directory: {description: "Directory of the groups on the host, for C(filter_paths)", type: str}
"""

EXAMPLES = """
units: "{{ filter_groups | worker_units(groups['workers'], inventory_hostname) }}"
due: "{{ written.needs | due_units }}"
memory: "{{ (filters | sandbox_limits('moving', 400)).memory_mb }}"
paths: "{{ filters | filter_paths(filter_groups, 'inventories/local/filters', '/etc/zads/filters') }}"
"""

RETURN = """
_value: {description: "Unit names, units with what to do, limits or paths", type: raw}
"""

OWNERS_STEP = 4  # room for owners comes in these steps, so that one more owner needs a reload only, not a restart
OWNER_MB = 64  # what an owner's process itself needs, beyond the memory of its filters
SANDBOX_MB = 192  # what the container needs without any owner's process


def worker_units(filter_groups, hosts, host):
    """Units of this host, each sandbox before its worker."""
    return [
        f"zads-{kind}-{group}@{number}.service"
        for group, number in workers.share(filter_groups, hosts, host)
        for kind in ("sandbox", "filters")
    ]


def due_units(needs):
    """``{"key": unit, "value": what it needs}`` for each unit that needs something."""
    return [
        {"key": unit, "value": need}
        for unit, need in needs.items()
        if not (need == "restarted" and is_worker(unit) and needs.get(sandbox_of(unit)) == "restarted")
    ]


def is_worker(unit):
    return unit.startswith("zads-filters-")


def sandbox_of(worker):
    """The unit of a worker's sandbox."""
    return "zads-sandbox-" + worker.removeprefix("zads-filters-")


def sandbox_limits(filters, group, owner_memory):
    """Memory in MB for twice the owners, since a reload starts new processes before the old ones end."""
    owners = len({one.get("owner", "") for one in filters if one["group"] == group})
    room = -(-owners // OWNERS_STEP) * OWNERS_STEP
    return {"owners": room, "memory_mb": SANDBOX_MB + 2 * room * (owner_memory + OWNER_MB)}


def filter_paths(filters, groups, source, directory):
    """Paths on the host, each once, in the order of the filters."""
    names = [(one["group"], name) for one in filters if one["group"] in groups for name in own_names(one)]
    return list(
        dict.fromkeys(f"{directory}/{group}/filters/{name}" for group, name in names if Path(source, name).exists())
    )


def own_names(one):
    """The names of a filter's files: its code, the modules that it imports, its data."""
    code = one.get("file", f"{one['name']}.py").split(":")[0]
    return [code, *one.get("modules", []), *one.get("data", [])]


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {
            "due_units": due_units,
            "filter_paths": filter_paths,
            "sandbox_limits": sandbox_limits,
            "worker_units": worker_units,
        }
