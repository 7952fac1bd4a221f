"""``zads topics``: what a cluster holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.console import Console

from zads import kafka, names, output, replication

app = typer.Typer(help="List a cluster's nights and filters.")


@app.command()
def list_topics(
    properties: Annotated[Path, typer.Option("--kafka", help="A client's properties file.", show_default=False)],
    night: Annotated[str | None, typer.Option(help="Only this night, YYYYMMDD.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of a table.")] = False,
) -> None:
    """List nights, filters, samples and refused input, with the replication of each.

    Example: zads topics --kafka .zads/local/clients/reader.properties
    """
    wanted = names.check_night(night) if night else None
    conf = kafka.read_properties(properties)
    try:
        found = replication.describe(conf, lambda name: _concerns(name, wanted))
    except KafkaException as error:
        raise kafka.failure(conf, error.args[0]) from error
    if as_json:
        typer.echo(output.json_text([vars(state) for state in found], indent=1))
        return
    columns = ("topic", "partitions", "replicas", "min. in sync", "under-replicated")
    rows = [
        (one.topic, one.partitions, one.replication_factor, one.min_insync_replicas, one.under_replicated)
        for one in found
    ]
    Console(width=120).print(output.table(columns, rows))


def _concerns(name: str, night: str | None) -> bool:
    parsed = names.parse_topic(name)
    if night is not None:
        return parsed is not None and parsed[0] == night
    if names.filter_name(name) is not None or names.sample_name(name) is not None:
        return True
    return parsed is not None or name == names.REJECTED_TOPIC
