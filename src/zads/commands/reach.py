"""``zads reach``: whether the sites can be reached, step by step."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from zads import kafka, names, output, reach
from zads.commands.sites import Env, OneSite
from zads.errors import ZadsError
from zads.inventory import Inventory, repository
from zads.site.policy import SITES

app = typer.Typer()

_GROUP = names.program("reach")


@app.command()
def run(
    env: Env = "local",
    site: OneSite = None,
    user: Annotated[
        str | None, typer.Option(help="As this user or program of the inventory, not as the operators.")
    ] = None,
    properties: Annotated[
        Path | None, typer.Option("--kafka", help="As the client of this properties file; no inventory is read.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="Seconds for each step.")] = reach.SECONDS,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> None:
    """Try to reach each broker: name, connection, certificate, login, advertised addresses, one read.

    Says at which step it fails and what to do; exits 1 then. Nothing is written. A subscriber's kit has the same as
    check_connection.py.

    Example: zads reach --env prod --user broker_north
    """
    steps = []
    for path in [properties] if properties is not None else _files(env, site, user):
        conf = kafka.read_properties(path)
        if not as_json:
            typer.echo(output.plain(f"as {path}"))
        for step in reach.tried(conf, kafka.own_group(conf, _GROUP), seconds):
            steps.append({"client": str(path), **dataclasses.asdict(step)})
            if not as_json:
                for line in step.lines():
                    typer.echo(output.plain(line))
    if as_json:
        typer.echo(output.json_text(steps, indent=1))
    if any(step["state"] == reach.FAIL for step in steps):
        raise typer.Exit(1)


def _files(env: str, site: str | None, user: str | None) -> list[Path]:
    """The properties of a user, or of the operators at each site. Raises ZadsError if there is no such user."""
    inventory = Inventory.load(env, repository())
    if user is None:
        return [inventory.client(f"admin-{one}") for one in SITES if site in (None, one)]
    if not (file := inventory.client(user)).exists():
        known = sorted(path.stem for path in file.parent.glob("*.properties"))
        raise ZadsError(f"{file} is not there", hint=f"make users ENV={env} writes it; there are {', '.join(known)}")
    return [file]
