#!/usr/bin/python
"""The few facts of a host that the roles read."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: host_facts
short_description: The few facts of a host that the roles read
description:
  - Replaces Ansible's own gathering of facts, which takes seconds a host. Facts that Ansible gathers too have the same
    names; the others are in C(ansible_facts.host_facts). Changes nothing.
options:
  asked: {description: "The control machine's clock when it asks, seconds since 1970", type: float, default: 0}
  disks: {description: Directories whose disks are wanted, type: list, elements: path, default: []}
"""

EXAMPLES = r"""
- name: Read each host's facts
  host_facts: {asked: "{{ now().timestamp() }}"}
"""

RETURN = r"""
ansible_facts:
  description:
    - C(distribution), C(distribution_major_version), C(architecture), C(getent_passwd), C(getent_group), and
      C(host_facts) with C(container) (bool), C(memory_mb), C(processors), C(network_mbit) (of the fastest interface
      that is up; 0 if none says its speed), C(disk_gb) (free for /var/lib), C(disks) (for each directory of O(disks)
      the C(device) of its file system and the C(bytes) that it offers, without what others already use if the directory
      is not there yet), C(clock) (seconds since 1970), C(asked) (the value of O(asked)) and C(certificates) (SHA-256 of
      every certificate in each file from which our programs read any).
  returned: always
  type: dict
"""

import glob
import grp
import os
import platform
import pwd
import shutil
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.certificate_text import fingerprints

NETWORKS = Path("/sys/class/net")
CERTIFICATES = ("/etc/kafka/tls/*.pem", "/etc/zookeeper/tls/*.pem", "/etc/zads/*/*.crt", "/etc/zads/*/*/*.crt")


def release(text: str) -> tuple[str, str]:
    """Name and major version from /etc/os-release."""
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return lines.get("ID", "").strip('"').capitalize(), lines.get("VERSION_ID", "").strip('"').partition(".")[0]


def memory_mb(text: str) -> int:
    """The total memory, from /proc/meminfo."""
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("MemTotal:")) // 1024


def network_mbit(networks: Path) -> int:
    """The speed of the fastest interface with hardware that is up, in Mbit/s; 0 if none says it, as in most guests."""
    speeds = [0]
    for interface in networks.iterdir() if networks.is_dir() else []:
        if (interface / "device").exists() or (interface / "bonding").exists():
            try:
                speeds.append(int((interface / "speed").read_text()))
            except (OSError, ValueError):  # an interface that is down has no speed
                continue
    return max(speeds)


def disk(path: str) -> dict[str, int]:
    """The file system that a directory is on, or will be: its device, and the bytes that it offers to the directory."""
    there = next(one for one in (Path(path), *Path(path).parents) if one.exists())
    usage = shutil.disk_usage(there)
    # What is in the directory is ours, so the whole disk counts. Before it is there, others' files take their part.
    return {"device": there.stat().st_dev, "bytes": usage.total if there == Path(path) else usage.free}


def users() -> dict[str, list[str]]:
    """Every account of the host, as `getent passwd` prints it after the name."""
    return {
        one.pw_name: ["x", str(one.pw_uid), str(one.pw_gid), one.pw_gecos, one.pw_dir, one.pw_shell]
        for one in pwd.getpwall()
    }


def groups() -> dict[str, list[str]]:
    """Every group of the host, as `getent group` prints it after the name."""
    return {one.gr_name: ["x", str(one.gr_gid), ",".join(one.gr_mem)] for one in grp.getgrall()}


def certificates() -> dict[str, list[str]]:
    """The certificates that the programs of this host trust or show: path -> fingerprints."""
    paths = sorted(path for pattern in CERTIFICATES for path in glob.glob(pattern))  # noqa: PTH207 absolute patterns
    return {path: fingerprints(Path(path).read_text()) for path in paths}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "asked": {"type": "float", "default": 0},
            "disks": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    distribution, version = release(Path("/etc/os-release").read_text())
    facts = {
        "distribution": distribution,
        "distribution_major_version": version,
        "architecture": platform.machine(),
        "getent_passwd": users(),
        "getent_group": groups(),
        "host_facts": {
            "container": module.run_command(["systemd-detect-virt", "--container", "--quiet"])[0] == 0,
            "memory_mb": memory_mb(Path("/proc/meminfo").read_text()),
            "processors": os.cpu_count() or 1,
            "network_mbit": network_mbit(NETWORKS),
            "disk_gb": shutil.disk_usage("/var/lib").free >> 30,
            "disks": {path: disk(path) for path in module.params["disks"]},
            "clock": time.time(),
            "asked": module.params["asked"],
            "certificates": certificates(),
        },
    }
    module.exit_json(changed=False, ansible_facts=facts)


if __name__ == "__main__":
    main()
