#!/usr/bin/python
"""Which versions of Kafka, ZooKeeper, Java and of our images a host has, and which of them run."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: host_versions
short_description: Which versions a host has, and which of them run
description:
  - Runs on the host and changes nothing. It reads units, processes and files, and asks no Kafka.
options:
  daemons:
    description: The daemons that the host is to have, among V(kafka) and V(zookeeper).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look at the versions
  host_versions: {daemons: [kafka, zookeeper]}
"""

RETURN = r"""
daemons:
  description:
    - For each of O(daemons) the C(home) and C(version) of Kafka that its unit starts, the version that C(runs) and the
      directory that it C(runs_from), the versions C(zookeeper) and C(java), whether the home is C(whole), and for a
      broker the C(protocol) of its file and the one that it C(speaks). Unknown ones are empty.
  returned: always
  type: dict
kept: {description: "Whole directories of Kafka, by version", returned: always, type: dict}
programs:
  description:
    - Each program's C(unit), C(image), the image C(before) that a rollback goes to, and the image from which it was
      C(rolled_back).
  returned: always
  type: list
"""

import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.unit_images import UNITS, programs, text

OPT, PROC = Path("/opt"), Path("/proc")
HOME = re.compile(r"(\S*/kafka_[^/\s]+)/libs/\*")
JAVA = re.compile(r"(/[^\s=]+)/bin/java\b")
PROTOCOL = re.compile(r"^inter\.broker\.protocol\.version=(\d+\.\d+)", re.MULTILINE)


def named(line: str) -> str:
    """The directory of Kafka in a unit or a command line; empty if there is none."""
    found = HOME.search(line)
    return found[1] if found else ""


def version(home: str, jar: str = "kafka_2.13") -> str:
    """The version of a jar in a directory of Kafka. If it is gone, what the directory's name says of Kafka."""
    jars = sorted(Path(home, "libs").glob(f"{jar}-[0-9]*.jar")) if home else []
    if jars:
        return jars[0].stem.removeprefix(f"{jar}-")
    found = re.fullmatch(r"kafka_(\d+(?:\.\d+)+).*", Path(home).name)
    return found[1] if found and jar == "kafka_2.13" else ""


def java(unit: str) -> str:
    """The version of the Java that a unit starts: as it says itself, as its directory is named, or the directory."""
    found = JAVA.search(unit)
    if not found:
        return ""
    said = re.search(r'^JAVA_VERSION="([^"]+)"', text(Path(found[1], "release")), re.MULTILINE)
    said = said or re.fullmatch(r".*/java-(\d+)-openjdk-\w+", found[1])
    return said[1] if said else found[1]


def protocol(properties: str, kafka: str) -> str:
    """The protocol in a broker's file. Without one it speaks the newest of its version."""
    found = PROTOCOL.search(properties)
    return found[1] if found else ".".join(kafka.split(".")[:2])


def whole(home: str) -> bool:
    """Whether a directory of Kafka was unpacked to its end."""
    return Path(home, ".whole").is_file()


def kept() -> dict[str, list[str]]:
    """The whole directories of Kafka, by version."""
    found: dict[str, list[str]] = {}
    for path in sorted(OPT.glob("kafka_*")):
        if whole(str(path)):
            found.setdefault(version(str(path)), []).append(str(path))
    return found


def daemon(kind: str, pid: str) -> dict:
    """What a daemon's unit, process and files say; ``pid`` is 0 if it does not run."""
    unit = text(UNITS / f"{kind}.service")
    line = PROC / pid / "cmdline"
    process = line.read_bytes().decode(errors="replace").replace("\0", " ") if pid != "0" and line.exists() else ""
    home, running = named(unit), named(process)
    found = {
        "home": home,
        "version": version(home),
        "runs": version(running),
        "runs_from": running,
        "zookeeper": version(home, "zookeeper"),
        "java": java(unit),
        "whole": bool(home) and whole(home),
        "protocol": "",
        "speaks": "",
    }
    if kind == "kafka" and home:
        # A unit may have been changed after the broker's start, so its process decides what a missing line means.
        kafka = found["runs"] or found["version"]
        found["protocol"] = protocol(text(Path("/etc/kafka/server.properties")), kafka)
        found["speaks"] = protocol(text(Path("/run/kafka/server.properties")), kafka) if running else ""
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={"daemons": {"type": "list", "elements": "str", "default": []}}, supports_check_mode=True
    )
    found = {}
    for kind in module.params["daemons"]:
        _, pid, _ = module.run_command(["systemctl", "show", "--property=MainPID", "--value", f"{kind}.service"])
        found[kind] = daemon(kind, pid.strip() or "0")
    module.exit_json(changed=False, daemons=found, kept=kept(), programs=programs())


if __name__ == "__main__":
    main()
