"""``zads warm``: canaries through the mirror until they arrive quickly."""

from __future__ import annotations

from typing import Annotated

import typer

from zads import kafka, warmup
from zads.inventory import Inventory, repository
from zads.site.policy import SITES
from zads.site.topics import canary_topic

app = typer.Typer()


@app.command()
def warm(
    env: Annotated[str, typer.Option(help="The environment: a directory of inventories/.")] = "local",
    seconds: Annotated[
        float | None,
        typer.Option(min=0.0, help="Maximum seconds; by default the inventory's night_warm_seconds, or 60."),
    ] = None,
    at_least: Annotated[
        float, typer.Option(min=0.0, help="Minimum seconds; use 12 just after a night's topics were created.")
    ] = 0.0,
    until_seconds: Annotated[
        float,
        typer.Option(min=0.01, help="Seconds within which 99 % of a round must be read at the public site."),
    ] = warmup.UNTIL_SECONDS,
    rate: Annotated[float, typer.Option(min=1.0, max=200.0, help="Canaries a second.")] = warmup.RATE,
) -> None:
    """Warm up fresh processes before a night: send canaries through the mirror until they arrive quickly.

    Canaries have a topic that no filter and no user reads. Prints what it measured; exit 1 if a canary is lost.

    Example: zads warm --env local --until-seconds 0.5
    """
    inventory = Inventory.load(env, repository())
    topic = canary_topic(inventory.policy())
    if topic is None:
        typer.echo(f"the data policy of {env} puts nothing on the public site: there is nothing to warm")
        return
    if seconds is None:
        seconds = float(inventory.common("night_warm_seconds", warmup.LIMIT_SECONDS))
    origin, public = (kafka.read_properties(inventory.client(f"admin-{site}")) for site in SITES)
    measured = warmup.warm(
        origin,
        public,
        topic,
        seconds=seconds,
        at_least=at_least,
        until_seconds=until_seconds,
        rate=rate,
        say=typer.echo,
    )
    typer.echo(measured)
