"""``zads exporter``: what the sites, the mirror and the groups are like, for Prometheus."""

from __future__ import annotations

import functools
import signal
from pathlib import Path
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry, generate_latest

from zads import kafka, metrics
from zads.commands import log_to_stderr
from zads.errors import ZadsError
from zads.exporter import Exporter, Settings

app = typer.Typer()


@app.command()
def exporter(
    settings: Annotated[Path, typer.Option(help="The inventory's data policy and brokers, a JSON file.")],
    origin: Annotated[Path, typer.Option(help="Properties of the exporter's client at origin.")],
    public: Annotated[Path, typer.Option(help="Properties of the exporter's client at public.")],
    heartbeat: Annotated[Path | None, typer.Option(help="A file that is touched while the exporter works.")] = None,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Answer Prometheus on this port of 127.0.0.1; 0: do not.")
    ] = 0,
    once: Annotated[
        bool, typer.Option("--once", help="Look once, send no canary, print the figures; exit 1 if a look failed.")
    ] = False,
) -> None:
    """Tell Prometheus about brokers, disks, groups, the mirror and certificates of both sites, and send canaries.

    Runs until SIGTERM. It changes nothing.

    Example: zads exporter --settings exporter.json --origin .zads/local/clients/admin-origin.properties
    --public .zads/local/clients/admin-public.properties --once
    """
    log_to_stderr()
    service = Exporter(
        {"origin": kafka.read_properties(origin), "public": kafka.read_properties(public)},
        functools.partial(Settings.read, settings),
    )
    if once:
        failures = service.once()
        registry = CollectorRegistry()
        registry.register(service.figures)
        typer.echo(generate_latest(registry).decode(), nl=False)
        if failures:
            raise ZadsError("; ".join(f"{part}: {reason}" for part, reason in sorted(failures.items())))
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    metrics.serve(metrics_port, "canary", service.figures)
    service.run(heartbeat)
