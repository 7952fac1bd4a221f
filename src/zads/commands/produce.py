"""``zads produce``: publish a spool's packets to the origin topics, each once."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Annotated, Literal

import typer

from zads import kafka, metrics, names, schemas
from zads.commands import log_to_stderr
from zads.producer import Producer
from zads.producer.loop import HUNG_SECONDS
from zads.sources.spool import Spool

app = typer.Typer()


@app.command(epilog="Example: zads produce --spool spool --kafka .zads/local/clients/producer.properties --once")
def produce(
    spool: Annotated[Path, typer.Option(help="The spool directory; exposures appear in its incoming/.")],
    kafka_properties: Annotated[
        Path, typer.Option("--kafka", help="The Kafka client's properties file.", metavar="PROPERTIES")
    ],
    name: Annotated[
        str, typer.Option(help="The producer's name. A second producer with this name ends the first.")
    ] = names.program("producer", "manual"),
    heartbeat: Annotated[Path | None, typer.Option(help="Touch this file while the producer works.")] = None,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of 127.0.0.1 for Prometheus metrics; 0 for none.")
    ] = 0,
    new_schemas: Annotated[
        Literal["refuse", "accept"],
        typer.Option(help="Whether to accept a new schema that readers of the version it claims can read."),
    ] = "refuse",
    first_night: Annotated[
        str, typer.Option(help="First night, YYYYMMDD; alerts of earlier nights are refused.")
    ] = names.FIRST_NIGHT,
    last_night: Annotated[
        str, typer.Option(help="Last night, YYYYMMDD; alerts of later nights are refused.")
    ] = names.LAST_NIGHT,
    once: Annotated[bool, typer.Option("--once", help="End when the spool is empty.")] = False,
) -> None:
    """Publish a spool's packets to the origin topics, each once."""
    nights = names.check_night(first_night), names.check_night(last_night)
    os.umask(os.umask(0) | 0o027)  # receipts and copies of packets are for the spool's group, and for nobody else
    log_to_stderr()
    metrics.serve(metrics_port, "producer")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Producer(
        kafka.read_properties(kafka_properties),
        Spool(spool),
        name=name,
        heartbeat=heartbeat,
        nights=nights,
        watchdog=HUNG_SECONDS,
        stop=stop,
        admission=schemas.Admission(accepts=new_schemas == "accept"),
    ).run(once=once)
