"""``zads simulate``: packets of a simulated night, into a directory or a spool."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from zads import output
from zads.errors import ZadsError
from zads.sources import simulator
from zads.sources.spool import Spool

app = typer.Typer()


@app.command(epilog="Example: zads simulate --night 20181129 --visits 10 --alerts 100 --seed 1 --out night")
def simulate(
    night: Annotated[str, typer.Option(help="UTC date, YYYYMMDD.")] = "20181129",
    visits: Annotated[int, typer.Option(min=0, help="Exposures, 40 s apart.")] = 10,
    alerts: Annotated[int, typer.Option(min=0, help="Packets in an exposure.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same bytes.")] = 1,
    schema: Annotated[
        list[str] | None, typer.Option(help="A schema version; may be given several times. All if not given.")
    ] = None,
    programme: Annotated[
        list[int] | None, typer.Option(help="A programme; may be given several times. All if not given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write each exposure as a directory below this one.")] = None,
    spool: Annotated[Path | None, typer.Option(help="Drop the exposures into this spool.")] = None,
) -> None:
    """Make packets of a simulated night."""
    if (out is None) == (spool is None):
        raise ZadsError("say where the packets go", hint="give either --out DIRECTORY or --spool DIRECTORY")
    target = Spool(spool).incoming if spool is not None else Path(out or ".")
    target.mkdir(parents=True, exist_ok=True)
    nights = simulator.simulate(
        night,
        visits,
        alerts,
        seed,
        schema_mix=dict.fromkeys(schema, 1.0) if schema else simulator.SCHEMA_MIX,
        programme_mix=dict.fromkeys(programme, 1.0) if programme else simulator.PROGRAMME_MIX,
    )
    count = size = 0
    for name, packets in nights:
        drop(target, name, packets)
        count, size = count + len(packets), size + sum(len(data) for _, data in packets)
    typer.echo(output.plain(f"{count} packets in {visits} exposures, {size / 1e6:.1f} MB, in {target}"))


def drop(target: Path, name: str, packets: list[tuple[str, bytes]]) -> Path:
    """Write an exposure under a hidden name, then rename it into place, as a pipeline does. Returns its path.

    Raises ZadsError if there is one of that name.
    """
    place, hidden = target / name, target / f".{name}"
    if place.exists():
        raise ZadsError(f"{place} exists", hint="remove it, or choose another directory or night")
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir()
    for file, data in packets:
        (hidden / file).write_bytes(data)
    return hidden.rename(place)
