"""Takes labs down: removes what carries this checkout's labels, and nothing else."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import docker.errors
from docker.models.containers import Container

from zads.build.engine import LABEL
from zads.errors import ZadsError
from zads.lab.lock import alone
from zads.lab.machine import label_filters


def down(root: Path, env: str | None = None) -> int:
    """Remove the containers, networks and volumes that carry the labels of the checkout ``root``; returns how many.

    ``env`` names one environment; None means all. Objects of other checkouts and programs stay.
    """
    with alone(root):
        return _down(root, env)


def down_of(gone: Path, root: Path, env: str | None = None) -> int:
    """The same for a checkout that is gone, whose labs nothing else can take down. ``root``: the present checkout.

    Raises ZadsError if there is something at the path ``gone``.
    """
    if gone.exists():
        raise ZadsError(f"{gone} is there", hint=f"take its lab down there: cd {gone} && make down")
    with alone(root):
        return _down(gone, env)


def _down(root: Path, env: str | None) -> int:
    engine = docker.from_env(timeout=120)
    filters = label_filters({f"{LABEL}.checkout": str(root)} | ({f"{LABEL}.env": env} if env else {}))
    count = 0
    containers = engine.containers.list(all=True, filters=filters, ignore_removed=True)
    with ThreadPoolExecutor(max_workers=8) as pool:
        count += sum(pool.map(_remove_container, containers))
    for network in engine.networks.list(filters=filters):
        network.remove()
        count += 1
    for volume in engine.volumes.list(filters=filters):
        volume.remove(force=True)
        count += 1
    for directory in (root / ".zads").glob(env or "*"):
        # The addresses and facts of these machines, and what is remembered of their users' passwords.
        for name in ("lab", "facts"):
            shutil.rmtree(directory / name, ignore_errors=True)
    return count


def _remove_container(container: Container) -> int:
    try:
        container.remove(force=True, v=True)
    except docker.errors.NotFound:
        return 0
    except docker.errors.APIError as error:
        if error.status_code != 409:  # it is being removed already
            raise
    return 1
