"""``zads lab``: an inventory as containers that boot systemd."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from zads.build.images import Builder
from zads.inventory import Inventory, repository
from zads.lab import machine, removal
from zads.lab.hosts import Lab

app = typer.Typer(no_args_is_help=True, help="An inventory as containers that boot systemd.")
Env = Annotated[str, typer.Argument(help="The inventory: a directory of inventories/.")]


def _lab(env: str) -> Lab:
    inventory = Inventory.load(env, repository(), realised=False)
    return Lab(inventory, lambda line: typer.echo(f"lab: {line}"))


@app.command()
def up(env: Env = "local") -> None:
    """Start every host of an inventory as a container; hosts that run already stay as they are.

    Example: zads lab up local
    """
    started = _lab(env).up()
    typer.echo(f"lab: {len(started)} hosts of {env} are up: {', '.join(host.name for host in started)}")


@app.command()
def down(
    env: Annotated[str | None, typer.Argument(help="The inventory; without it, all labs of this checkout.")] = None,
    of: Annotated[Path | None, typer.Option(help="The absolute path of another checkout, which is gone.")] = None,
) -> None:
    """Remove the containers, networks and volumes of a lab, and nothing else.

    Example: zads lab down local
    """
    count = removal.down(repository(), env) if of is None else removal.down_of(of, repository(), env)
    typer.echo(f"lab: removed {count} containers, networks and volumes")


@app.command()
def status(env: Env = "local") -> None:
    """List the hosts of a lab and their states.

    Example: zads lab status local
    """
    for container in _lab(env).containers():
        typer.echo(f"{container.labels['zads.host']:28} {container.status:10} {container.name}")


@app.command()
def logs(
    host: Annotated[str, typer.Argument(help="A host of the inventory.")],
    env: Annotated[str, typer.Option(help="The inventory.")] = "local",
    lines: Annotated[int, typer.Option(help="Number of lines.")] = 100,
) -> None:
    """Print the end of a host's journal.

    Example: zads lab logs public-2 --lines 50
    """
    typer.echo(machine.logs(_lab(env).container(host), lines))


@app.command()
def image(suite: Annotated[str, typer.Argument(help="A Debian release: bookworm or trixie.")]) -> None:
    """Print how docker makes a host of a Debian release, as JSON: its image and docker's options.

    The image is built if it is missing. The Vagrantfile reads this.

    Example: zads lab image trixie
    """
    tag = Builder(repository(), lambda line: typer.echo(f"lab: {line}", err=True)).host(suite)
    typer.echo(json.dumps({"image": tag, "arguments": machine.arguments()}))


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(
    host: Annotated[str, typer.Argument(help="A host of the inventory.")],
    command: Annotated[list[str], typer.Argument(help="A command and its arguments.")],
    env: Annotated[str, typer.Option(help="The inventory.")] = "local",
) -> None:
    """Run a command on a host, as root.

    Example: zads lab exec origin-1 -- systemctl status kafka
    """
    terminal = ["-it"] if sys.stdin.isatty() and sys.stdout.isatty() else ["-i"]
    name = str(_lab(env).container(host).name)
    raise typer.Exit(subprocess.run(["docker", "exec", *terminal, name, *command], check=False).returncode)
