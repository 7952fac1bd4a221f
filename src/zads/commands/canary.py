"""``zads canary``: one marked record through the mirror."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zads import canary, kafka, names

app = typer.Typer(help="Send a marked record through the mirror and time it.")


@app.command()
def run(
    origin: Annotated[Path, typer.Option(help="Properties of a client that may write the topic at origin.")],
    public: Annotated[Path, typer.Option(help="Properties of a client that may read the topic at public.")],
    topic: Annotated[str, typer.Option(help="A mirrored topic that does not belong to a night.")] = names.night_topic(
        names.CANARY_NIGHT, 1
    ),
    limit: Annotated[float, typer.Option(min=1.0, help="Seconds to wait for the record.")] = 60.0,
) -> None:
    """Send one marked record to origin and wait for it at the public site; exit 1 if it is lost or changed.

    Example: zads canary --origin .zads/local/clients/admin-origin.properties
    --public .zads/local/clients/admin-public.properties
    """
    flight = canary.send(kafka.read_properties(origin), kafka.read_properties(public), topic, limit=limit)
    typer.echo(
        f"{flight.topic}: acknowledged by origin after {flight.acknowledged_seconds:.3f} s, "
        f"read at public after {flight.read_seconds:.3f} s, unchanged"
    )
