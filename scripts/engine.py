"""Give this computer what the lab needs: Debian packages and a running container engine.

An existing program or engine from any source is used as it is. ``scripts/prepare`` runs this file in the virtual
environment.
"""

from __future__ import annotations

import json
import os
import platform
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOG = Path("/var/log/zads-dockerd.log")
#: A program, and the package to install if it is missing. `dockerd` may be any vendor's.
PACKAGES = {
    "dot": "graphviz",  # draws the pictures of the documentation
    "dockerd": "docker.io",
    "docker": "docker-cli",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",  # mmdebstrap needs it for an ordinary user
    "mvn": "maven",
    "kcat": "kcat",
    "ssh": "openssh-client",
    "zstd": "zstd",
    "age": "age",  # encrypts backups
}
#: Seconds within which an engine that was started must answer.
START_SECONDS = 60


def say(text: str) -> None:
    """Print what happens on standard error."""
    print(f"prepare: {text}", file=sys.stderr, flush=True)


def engine_answers() -> bool:
    """Whether a Docker engine answers this user."""
    docker = shutil.which("docker")
    return bool(docker) and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


def missing_packages() -> list[str]:
    """Debian packages whose program is missing from PATH and the sbin directories (a user's PATH lacks these)."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = {package for program, package in PACKAGES.items() if shutil.which(program, path=path) is None}
    if engine_answers():
        missing -= {"docker.io", "docker-cli", "iptables"}
    elif "docker-cli" in missing and not has_docker_cli(platform.freedesktop_os_release()):
        missing = missing - {"docker-cli"} | {"docker.io"}
    return sorted(missing)


def has_docker_cli(release: dict[str, str]) -> bool:
    """Whether the engine's client is its own package, as it is since Debian 13; before, docker.io contained it."""
    return release.get("ID") == "debian" and int(release.get("VERSION_ID", "13")) >= 13


def install(packages: list[str]) -> None:
    """Install packages by the playbook; exits if it fails. It uses sudo unless this is root."""
    say(f"installing by apt: {' '.join(packages)}")
    become = [] if os.geteuid() == 0 else ["--become"]
    ask = [] if os.geteuid() == 0 or sudo_needs_no_password() else ["--ask-become-pass"]
    wanted = json.dumps({"prepare_packages": packages})
    playbook = [ROOT / ".venv/bin/ansible-playbook", "-i", "localhost,", ROOT / "ansible/playbooks/prepare.yml"]
    if subprocess.run([*playbook, *become, *ask, "-e", wanted], check=False).returncode:
        sys.exit("prepare: these packages could not be installed; the reason is above")


def sudo_needs_no_password() -> bool:
    """Whether sudo works without asking."""
    return subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0


def as_root(*command: str) -> list[str]:
    """The command, through sudo unless this is root."""
    return list(command) if os.geteuid() == 0 else ["sudo", *command]


def start_engine() -> None:
    """Start the engine, by systemd if that runs this computer, and wait until it answers; exits if it does not."""
    if Path("/run/systemd/system").is_dir():
        say("starting docker.service")
        subprocess.run(as_root("systemctl", "start", "docker.service"), check=True)
    elif subprocess.run(["pgrep", "-x", "dockerd"], capture_output=True, check=False).returncode != 0:
        say(f"starting dockerd (no systemd here); its log is {LOG}")
        # After a crash of the computer its pid files remain, and other processes may have their numbers now.
        stale = ["/var/run/docker.pid", "/var/run/docker/containerd/containerd.pid"]
        subprocess.run(as_root("rm", "-f", *stale), check=True)
        command = f"PATH=$PATH:/usr/sbin:/sbin; setsid nohup dockerd >{LOG} 2>&1 </dev/null &"
        subprocess.run(as_root("sh", "-c", command), check=True)
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(as_root("docker", "info"), capture_output=True, check=False).returncode != 0:
        if time.monotonic() > deadline:
            tail = subprocess.run(as_root("tail", "-n", "20", str(LOG)), capture_output=True, text=True, check=False)
            sys.exit(f"prepare: the container engine does not answer after {START_SECONDS} s\n{tail.stdout}")
        time.sleep(0.3)


def main() -> None:
    """Install what is missing, start the engine, and let this user speak to it."""
    packages = missing_packages()
    if packages:
        install(packages)
    if engine_answers():
        return
    start_engine()
    if not engine_answers():
        user = pwd.getpwuid(os.getuid()).pw_name
        say(f"the engine answers root only: adding {user} to the group docker")
        subprocess.run(as_root("usermod", "-aG", "docker", user), check=True)
        # scripts/with-engine runs later commands under the new group, so that no new login is needed.


if __name__ == "__main__":
    main()
