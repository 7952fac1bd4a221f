"""``zads packet``: what is in alert packets, and whether they would be accepted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from zads import names, output, schemas
from zads.errors import ZadsError
from zads.packet import Packet, PacketError
from zads.sources import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zads.avro.differences import Difference

app = typer.Typer(no_args_is_help=True, help="Show what is in alert packets, or validate them.")
Paths = Annotated[list[Path], typer.Argument(help="Packets, directories of them, or tar archives.", show_default=False)]
WIDTH = 220
FACTS = ("schema", "candid", "objectId", "programme", "jd", "night", "visit", "topic", "bytes")


def facts(packet: Packet) -> dict[str, Any]:
    """The facts about a packet, by the names in FACTS; jd in days (UTC), size in bytes."""
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
                typer.echo(output.plain(f"{name}: passed over: {item.passed}"), err=True)
            else:
                yield name, item


def _parse(item: files.Item, admission: schemas.Admission) -> Packet:
    if item.refused:
        raise PacketError(item.refused)
    return Packet.parse(item.data, admission=admission)


def _check_night(packet: Packet) -> None:
    """Raises PacketError if this survey has no alerts of the packet's night."""
    try:
        names.check_survey(packet.night)
    except ZadsError as error:
        raise PacketError(error.message, field="candidate.jd") from error


@app.command()
def inspect(
    paths: Paths,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object in each line; candid_str is the candid as text.")
    ] = False,
) -> None:
    """Show each packet's schema, candid, object, programme, date, topic and size.

    Example: zads packet inspect 697251920115015007.avro
    """
    rows = []
    admission = schemas.Admission(accepts=True)  # nothing is published here
    for name, item in _items(paths):
        try:
            found = facts(_parse(item, admission))
        except PacketError as error:
            raise ZadsError(f"{name}: {error}", hint="zads packet validate lists every refusal") from error
        if as_json:
            typer.echo(output.json_text({"file": name, **found, "candid_str": str(found["candid"])}))
        else:
            rows.append(found.values())
    if not as_json:
        # Not folded to the terminal's width: nobody can use a candid that is split over two lines.
        Console(width=WIDTH, soft_wrap=True).print(output.table(FACTS, rows))


@app.command()
def validate(
    paths: Paths,
    new_schemas: Annotated[
        Literal["refuse", "accept"],
        typer.Option(help="Whether to accept a new schema that readers of the version it claims can read."),
    ] = "refuse",
) -> None:
    """Check packets as the producer does; print each refusal with its field, and exit 1 if there is any.

    For a new schema, print every field that differs from the known one, whether the schema is accepted or not.

    Example: zads packet validate /data/20181129 night.tar.gz
    """
    accepted = refused = 0
    admission = schemas.Admission(accepts=new_schemas == "accept")
    reported: set[str] = set()
    for name, item in _items(paths):
        try:
            packet = _parse(item, admission)
            _check_night(packet)
        except PacketError as error:
            refused += 1
            typer.echo(output.plain(f"{name}: {f'{error.field}: ' if error.field else ''}{error.reason}"))
            _report(reported, error.differences)
        else:
            accepted += 1
            if (new := packet.new_schema) is not None and new.schema.mark not in reported:
                reported.add(new.schema.mark)
                typer.echo(
                    output.plain(f"{name}: valid by a new schema, {new.schema.mark}, compared with {new.nearest.name}")
                )
                _report(reported, new.differences)
    if not accepted + refused:
        raise ZadsError(f"no packets in {', '.join(map(str, paths))}")
    typer.echo(f"{accepted} packets are valid, {refused} are not")
    if refused:
        raise typer.Exit(1)


def _report(reported: set[str], differences: Sequence[Difference]) -> None:
    """Print every field in which a new schema differs, once for all packets of that schema."""
    lines = [f"  {difference}" for difference in differences]
    if lines and (key := "\n".join(lines)) not in reported:
        reported.add(key)
        typer.echo(output.lines(key))
