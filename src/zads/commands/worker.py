"""``zads worker``: a group of filters on the live stream."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Run a group of filters on the public stream.")


@app.command()
def run(
    config: Annotated[Path, typer.Option(help="The group's configuration, a JSON file.")],
    kafka: Annotated[Path, typer.Option(help="Kafka client properties of the group's user.")],
    name: Annotated[str, typer.Option(help="This worker's name: unique, and the same after a restart.")] = "",
    heartbeat: Annotated[Path | None, typer.Option(help="Touch this file in each turn of the loop.")] = None,
    sandbox: Annotated[
        Path | None,
        typer.Option(help="Socket of the nursery that runs the filters; without it, they run in this container."),
    ] = None,
    metrics_port: Annotated[int, typer.Option(help="Serve Prometheus metrics on this port; 0 for none.")] = 0,
) -> None:
    """Run a group of filters on the public stream until SIGTERM; SIGHUP reads configuration and filters again.

    Example: zads worker --config /etc/zads/filters/moving/group.json --kafka kafka.properties --name 1
    """
    from zads.commands import log_to_stderr
    from zads.filters import worker

    log_to_stderr()
    name = name or f"{socket.gethostname()}-1"
    worker.main(config, kafka, name, heartbeat=heartbeat, port=metrics_port, nursery=sandbox)
