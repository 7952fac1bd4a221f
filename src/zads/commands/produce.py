"""``zads produce``: publish a spool's packets to the origin topics, each once."""

from __future__ import annotations

import os
import signal
import threading
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from zads import kafka, metrics, principals, schemas, topics, wholefile
from zads.commands import log_to_stderr
from zads.errors import ZadsError
from zads.producer import Producer
from zads.producer.loop import HUNG_SECONDS, KEEP_SECONDS
from zads.sources.spool import Spool

app = typer.Typer()


def _night(text: str) -> str:
    try:
        return topics.check_night(text)
    except ZadsError as error:
        raise ValueError(str(error)) from error


class Settings(BaseModel):
    """The file of --config: TOML with these names; paths are absolute or relative to where the command runs."""

    model_config = ConfigDict(extra="forbid")

    spool: Path
    kafka: Path
    name: str = Field(principals.program("producer", "manual"), min_length=1)
    metrics_port: int = Field(0, ge=0, le=65535)
    metrics_address: str = "127.0.0.1"
    new_schemas: Literal["refuse", "accept"] = "refuse"
    heartbeat: Path | None = None
    keep_hours: float = Field(KEEP_SECONDS / 3600, ge=0)
    first_night: Annotated[str, AfterValidator(_night)] = topics.FIRST_NIGHT
    last_night: Annotated[str, AfterValidator(_night)] = topics.LAST_NIGHT


@app.command(epilog="Example: zads produce --spool spool --kafka .zads/local/clients/producer.properties --once")
def produce(
    config: Annotated[Path | None, typer.Option(help="Settings in TOML: spool, kafka, name, metrics_port ...")] = None,
    spool: Annotated[Path | None, typer.Option(help="The spool directory; exposures appear in its incoming/.")] = None,
    kafka_properties: Annotated[
        Path | None, typer.Option("--kafka", help="The Kafka client's properties file.", metavar="PROPERTIES")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The producer's name: a second of this name ends the first.")] = None,
    heartbeat: Annotated[Path | None, typer.Option(help="A file that is touched while the producer works.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Answer Prometheus on this port of 127.0.0.1.")] = None,
    new_schemas: Annotated[
        Literal["refuse", "accept"] | None,
        typer.Option(help="What becomes of packets of a new schema that readers of the version it claims can read."),
    ] = None,
    first_night: Annotated[str | None, typer.Option(help="Alerts of earlier nights are refused (YYYYMMDD).")] = None,
    last_night: Annotated[str | None, typer.Option(help="Alerts of later nights are refused (YYYYMMDD).")] = None,
    once: Annotated[bool, typer.Option("--once", help="End when the spool is empty.")] = False,
    health: Annotated[
        Path | None, typer.Option(help="Only tell, by the exit status, whether the heartbeat FILE is young.")
    ] = None,
) -> None:
    """Publish a spool's packets to the origin topics, each once."""
    if health is not None:
        raise typer.Exit(0 if metrics.healthy(health) else 1)
    options = {"spool": spool, "kafka": kafka_properties, "name": name, "heartbeat": heartbeat}
    others = {
        "metrics_port": metrics_port, "new_schemas": new_schemas, "first_night": first_night, "last_night": last_night,
    }  # fmt: skip
    settings = _settings(config, {**options, **others})
    os.umask(os.umask(0) | 0o027)  # receipts and copies of packets are for the spool's group, and for nobody else
    log_to_stderr()
    metrics.serve(settings.metrics_port, settings.metrics_address)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Producer(
        kafka.read_properties(settings.kafka),
        Spool(settings.spool),
        name=settings.name,
        heartbeat=settings.heartbeat,
        keep_seconds=settings.keep_hours * 3600,
        nights=(settings.first_night, settings.last_night),
        watchdog=HUNG_SECONDS,
        stop=stop,
        admission=schemas.Admission(accepts=settings.new_schemas == "accept"),
    ).run(once=once)


def _settings(config: Path | None, options: dict[str, Any]) -> Settings:
    """The file's settings, with the options that were given in their place."""
    found: dict[str, Any] = {}
    if config is not None:
        try:
            found = tomllib.loads(wholefile.read(config).decode())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ZadsError(f"cannot read the settings {config}: {error}") from error
    found |= {key: value for key, value in options.items() if value is not None}
    try:
        return Settings.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ZadsError(
            f"{config or 'the options'}: {where}: {first['msg']}", hint="zads produce --help lists the settings"
        ) from error
