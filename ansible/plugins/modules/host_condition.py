#!/usr/bin/python
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports
"""Whether the programs on a host run with the deployed files, and have enough disk space."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_condition
short_description: The problems of a host
description:
  - Changes nothing. Reports all problems at once, one a line, each with its remedy.
  - Checks that each unit is active and runs with the present files (it wrote their digests when it started). A
    container must also be healthy and of the image that its unit names. Our enabled units are checked even if they are
    not named.
  - Checks that each disk has O(free_percent) of its space free, and room for O(free_days) at the last day's rate.
  - Checks that no exposure has waited too long in the spool, and that none is deferred.
  - Checks that the clock is synchronised, if the host has a clock of its own.
options:
  units: {description: Units that must run, type: list, elements: str, default: []}
  disks: {description: Directories whose disks must have room, type: list, elements: path, default: []}
  free_percent: {description: Least free space of each disk in percent, type: int, default: 10}
  free_days: {description: Days for which the space must suffice at the last day's rate, type: float, default: 1}
  spool: {description: Where the pipeline drops exposures, type: path}
  patience: {description: Seconds to wait for units that start or stop, type: int, default: 30}
  waiting_minutes: {description: Minutes that an exposure may wait in the spool, type: int, default: 15}
  asked: {description: "The control machine's clock as it asks, seconds since 1970", type: float, default: 0}
"""

EXAMPLES = r"""
- name: Look at the host
  host_condition: {units: [kafka.service], disks: [/var/lib/kafka]}
"""

RETURN = r"""
problems: {description: What is wrong and what to do, returned: always, type: list, elements: str}
asked: {description: The value of O(asked), returned: always, type: float}
clock: {description: Seconds since 1970, returned: always, type: float}
"""

import hashlib
import os
import re
import shutil
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

RUN = Path("/run")
WANTED = Path("/etc/systemd/system/multi-user.target.wants")
OURS = re.compile(r"(zads-.+|kafka|zookeeper)\.service")
SHOWN = "Id,ActiveState,SubState,FragmentPath,NRestarts,ActiveEnterTimestampMonotonic"
DAY = 86_400
YOUNG = 10  # seconds: a unit that systemd restarted more recently may end again
PAUSE = 1


def enabled(directory: Path) -> list[str]:
    """Units of ours that start with the host."""
    return sorted(path.name for path in directory.glob("*.service") if OURS.fullmatch(path.name))


def blocks(output: str) -> dict[str, dict[str, str]]:
    """The output of `systemctl show` for several units, by unit."""
    found = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in output.split("\n\n")]
    return {block["Id"]: block for block in found if "Id" in block}


def older(listing: Path) -> list[str]:
    """The files of a `sha256sum` list that have changed since, or are gone."""
    found = []
    for line in listing.read_text().splitlines() if listing.exists() else []:
        digest, _, name = line.partition("  ")
        path = Path(name)
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            found.append(name)
    return found


def unit_problems(unit: str, shown: dict[str, str], directory: Path) -> list[str]:
    """The problems of a unit, from what systemd reports of it and from the digests in its runtime directory."""
    if shown.get("ActiveState") not in ("active", "reloading"):
        state = f"{shown.get('ActiveState', 'unknown')} ({shown.get('SubState', '')})"
        return [f"{unit} is {state}: journalctl -u {unit} says why, make deploy starts it"]
    if not (directory / "started-with").exists():
        return [f"{unit} does not say what it started with: make deploy"]
    changed = [*older(directory / "started-with"), *older(directory / "reloaded-with")]
    return [f"{unit} runs with older files than are there ({', '.join(changed)}): make deploy"] if changed else []


def unsettled(shown: dict[str, dict[str, str]], uptime: float) -> list[str]:
    """Units that cannot be judged yet: they start or stop, or were restarted a moment ago."""
    found = []
    for unit, about in shown.items():
        entered = int(about.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        again = about.get("NRestarts", "0") != "0" and uptime - entered < YOUNG
        if about.get("ActiveState") in ("activating", "deactivating", "reloading") or again:
            found.append(unit)
    return found


def runs_container(text: str) -> bool:
    """Whether a unit's file runs a container. Daemons of Debian's packages run without one."""
    return "\nExecStart=docker run " in text


def container_problems(unit: str, told: str, text: str) -> list[str]:
    """The problem of a unit's container. ``told``: image, its id, the id that the image's name has now, health."""
    image, runs, named, health = (told.split("|") + [""] * 4)[:4]
    if not image:
        return [f"{unit} has no container: journalctl -u {unit}"]
    found = []
    if image not in text or runs != named:
        found.append(f"{unit} runs {image} ({runs[:19]}), not the image that was deployed: make deploy")
    if health not in ("", "healthy", "starting"):
        found.append(f"{unit} is {health}: journalctl -u {unit} says why, systemctl restart {unit} restarts it")
    return found


def disk_problems(path: str, total: int, free: int, written: int, percent: int, days: float) -> list[str]:
    """Whether a disk has room. ``written``: bytes of the last day that are still there."""
    found = []
    if free * 100 < total * percent:
        found.append(f"{path} has {free * 100 // total} % free ({free >> 20} MB), {percent} % is the least")
    if written and free / written < days:
        found.append(
            f"{path} has {free >> 20} MB free, and {written >> 20} MB were written during the last day: room for "
            f"{free / written:.1f} days"
        )
    return [f"{line}; make room, add a disk to kafka_data, or keep nights for less long" for line in found]


def written(path: str, now: float) -> int:
    """Total size of the files below a directory that were written to during the last day, in bytes."""
    size = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                facts = os.stat(os.path.join(directory, name))  # noqa: PTH116, PTH118 - thousands of files
            except OSError:  # a segment that was just deleted
                continue
            if now - facts.st_mtime < DAY:
                size += facts.st_blocks * 512
    return size


def spool_problems(spool: Path, now: float, minutes: int) -> list[str]:
    """Exposures that wait or are deferred."""

    def held(name: str) -> list[tuple[float, str]]:
        directory = spool / name
        entries = directory.iterdir() if directory.is_dir() else []
        return sorted((one.lstat().st_mtime, one.name) for one in entries if not one.name.startswith("."))

    found = []
    waiting = [(since, name) for since, name in held("incoming") if now - since > minutes * 60]
    if waiting:
        found.append(
            f"{len(waiting)} exposures wait in {spool}/incoming for more than {minutes} minutes, the first is "
            f"{waiting[0][1]!r}: journalctl -u zads-producer says what for"
        )
    if deferred := held("deferred"):
        found.append(
            f"{len(deferred)} exposures are deferred in {spool}/deferred, the first is {deferred[0][1]!r}: "
            "journalctl -u zads-producer says what for"
        )
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "default": []},
            "disks": {"type": "list", "elements": "path", "default": []},
            "free_percent": {"type": "int", "default": 10},
            "free_days": {"type": "float", "default": 1},
            "spool": {"type": "path"},
            "patience": {"type": "int", "default": 30},
            "waiting_minutes": {"type": "int", "default": 15},
            "asked": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    params, now = module.params, time.time()
    units = list(dict.fromkeys([*params["units"], *enabled(WANTED)]))
    problems: list[str] = []
    shown = settled(module, units, params["patience"])
    for unit in units:
        about = shown.get(unit, {})
        name = unit.removesuffix(".service").replace("@", "-")
        found = unit_problems(unit, about, RUN / name)
        if not found and runs_container(text := unit_text(about)):
            found = container_problems(unit, container(module, name), text)
        problems += found
    for path in params["disks"]:
        usage = shutil.disk_usage(path)
        problems += disk_problems(
            path, usage.total, usage.free, written(path, now), params["free_percent"], params["free_days"]
        )
    if params["spool"]:
        problems += spool_problems(Path(params["spool"]), now, params["waiting_minutes"])
    if module.run_command(["systemd-detect-virt", "--container", "--quiet"])[0] != 0:
        _, synchronised, _ = module.run_command(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
        if synchronised.strip() != "yes":
            problems.append("its clock is not synchronised: chronyc tracking says why")
    module.exit_json(changed=False, problems=problems, asked=params["asked"], clock=time.time())


def settled(module: AnsibleModule, units: list[str], patience: int) -> dict[str, dict[str, str]]:
    """What systemd reports of the units once none of them starts or stops, or after `patience` seconds."""
    deadline = time.monotonic() + patience
    while units:
        shown = blocks(module.run_command(["systemctl", "show", f"--property={SHOWN}", *units])[1])
        if not unsettled(shown, time.clock_gettime(time.CLOCK_MONOTONIC)) or time.monotonic() > deadline:
            return shown
        time.sleep(PAUSE)
    return {}


def container(module: AnsibleModule, name: str) -> str:
    """A container's image, its id, the id that its name has now, and health, joined by |; empty without a container."""
    form = "{{.Config.Image}}|{{.Image}}|{{if .State.Health}}{{.State.Health.Status}}{{end}}"
    status, output, _ = module.run_command(["docker", "inspect", "--format", form, name])
    if status:
        return ""
    image, runs, health = output.strip().split("|")
    _, named, _ = module.run_command(["docker", "image", "inspect", "--format", "{{.Id}}", image])
    return "|".join((image, runs, named.strip(), health))


def unit_text(shown: dict[str, str]) -> str:
    """The unit's file."""
    path = Path(shown.get("FragmentPath", ""))
    return path.read_text() if path.is_file() else ""


if __name__ == "__main__":
    main()
