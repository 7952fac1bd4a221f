"""``zads packet``: what is in alert packets, and whether they would be accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from zads.errors import ZadsError
from zads.packet import Packet, PacketError
from zads.sources import files

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(no_args_is_help=True, help="Look into alert packets, or validate them.")
Paths = Annotated[list[Path], typer.Argument(help="Packets, directories of them, or tar archives.", show_default=False)]
FACTS = ("schema", "candid", "objectId", "programme", "jd", "night", "visit", "topic", "bytes")


def facts(packet: Packet) -> dict[str, Any]:
    """What a packet says of itself: the fields of FACTS; jd in days (UTC), size in bytes."""
    values = (
        packet.schema_version,
        packet.candid,
        packet.object_id,
        packet.programid,
        packet.jd,
        packet.night,
        packet.visit,
        packet.topic,
        len(packet.data),
    )
    return dict(zip(FACTS, values, strict=True))


def _items(paths: list[Path]) -> Iterator[tuple[str, files.Item]]:
    for path in paths:
        for item in files.read(path):
            name = item.name if path.name == item.name else f"{path}/{item.name}"
            if item.passed:
                typer.echo(f"{name}: passed over: {item.passed}", err=True)
            else:
                yield name, item


def _parse(item: files.Item) -> Packet:
    if item.refused:
        raise PacketError(item.refused)
    return Packet.parse(item.data)


@app.command()
def inspect(
    paths: Paths,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show each packet's schema, candid, object, programme, date, topic and size.

    Example: zads packet inspect 697251920115015007.avro
    """
    table = Table(*FACTS, box=None, header_style="bold")
    for name, item in _items(paths):
        try:
            found = facts(_parse(item))
        except PacketError as error:
            raise ZadsError(f"{name}: {error}", hint="zads packet validate lists every refusal") from error
        if as_json:
            typer.echo(json.dumps({"file": name, **found}))
        else:
            table.add_row(*map(str, found.values()))
    if not as_json:
        # Not folded to the terminal's width: a candid in two lines is of no use to anybody.
        Console(width=160, soft_wrap=True).print(table)


@app.command()
def validate(paths: Paths) -> None:
    """Check packets as the producer does; print each refusal with its field, and exit 1 if there is any.

    Example: zads packet validate /data/20181129 night.tar.gz
    """
    accepted = refused = 0
    for name, item in _items(paths):
        try:
            _parse(item)
        except PacketError as error:
            refused += 1
            typer.echo(f"{name}: {f'{error.field}: ' if error.field else ''}{error.reason}")
        else:
            accepted += 1
    if not accepted + refused:
        raise ZadsError(f"no packets in {', '.join(map(str, paths))}")
    typer.echo(f"{accepted} packets are valid, {refused} are not")
    if refused:
        raise typer.Exit(1)
