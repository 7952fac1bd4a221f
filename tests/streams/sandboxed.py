"""The sandbox's container, run with the options of the role's unit, on a machine without systemd."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jinja2

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = [ROOT / "roles" / role / "templates" for role in ("filter_worker", "container_program")]
TEMPLATE = "zads-sandbox@.service.j2"
IMAGE = ROOT / ".zads/cache/images/filter-worker.json"
OWNERS, OWNER_MB = 8, 400


@dataclass
class Sandbox:
    """A running container. Filters are in `directory`/filters, and the nursery listens at `socket`."""

    name: str
    directory: Path
    socket: Path

    def users(self) -> list[int]:
        """The user ids of all processes in the container."""
        lines = subprocess.check_output(["docker", "top", self.name, "-o", "pid,uid"], text=True).splitlines()
        return [int(line.split()[1]) for line in lines[1:]]

    def state(self) -> str:
        """Whether it runs, when it was started, and whether it ran out of memory."""
        form = "{{.State.Running}} {{.State.StartedAt}} {{.State.OOMKilled}}"
        return subprocess.check_output(["docker", "inspect", "--format", form, self.name], text=True).strip()


def command(directory: Path, socket: Path, name: str, user: int) -> list[str]:
    """The unit's command, with another directory and another name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True
    )
    unit = environment.get_template(TEMPLATE).render(
        group="attacked", directory=directory, owners=OWNERS, memory_mb=192 + 2 * OWNERS * (OWNER_MB + 64),
        worker_user=user, _filter_worker_image=json.loads(IMAGE.read_text())["tag"],
    )  # fmt: skip
    (line,) = [one for one in unit.replace("\\\n", " ").splitlines() if one.startswith("ExecStart=")]
    line = line.removeprefix("ExecStart=").replace("/run/zads-sandbox-attacked-%i/socket", str(socket.parent))
    return shlex.split(line.replace("zads-sandbox-attacked-%i", name))


@contextmanager
def running(directory: Path) -> Iterator[Sandbox]:
    """Start a sandbox over a directory, and remove it after the body."""
    (directory / "filters").mkdir(exist_ok=True)
    socket = directory / "run" / "socket"
    socket.parent.mkdir()
    socket.parent.chmod(0o777)  # without capabilities even root writes only where everybody may
    name = f"zads-sandbox-test-{uuid.uuid4().hex[:12]}"
    process = subprocess.Popen(command(directory, socket, name, os.getuid()))
    try:
        yield Sandbox(name, directory, socket)
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=False, stdout=subprocess.DEVNULL)
        process.wait(30)
