"""``zads replay``: recorded alerts, streamed again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from zads import kafka, names, output, replay
from zads.errors import ZadsError

app = typer.Typer()


@app.command("replay")
def run(
    source: Annotated[Path, typer.Argument(help="An archive, a directory or a file of packets, or a night's topic.")],
    to: Annotated[str, typer.Option(help="The topic to stream into; not one of a night.")],
    properties: Annotated[
        Path, typer.Option("--kafka", help="Properties of a client that may write the topic.", metavar="PROPERTIES")
    ],
    origin: Annotated[
        Path | None,
        typer.Option("--from", help="Properties of a client that may read the night's topic.", metavar="PROPERTIES"),
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.0, help="1: in the night's own pace; 40: forty times as fast; 0: as fast as it goes.")
    ] = 0.0,
    programme: Annotated[
        list[int] | None,
        typer.Option(help="A programme whose alerts may be streamed; may be given several times. [default: 1]"),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Stream also what the topic holds already.")] = False,
) -> None:
    """Stream an archive or a kept night again, into a topic of choice.

    The bytes, keys and headers are those of the original; only the time of production is new. Each packet is in the
    topic once, however often it is interrupted and repeated, unless --again says otherwise.

    Example: zads replay ztf_20181129_programid1.tar.gz --to ztf_sample_spring
    --kafka .zads/local/clients/admin-public.properties --speed 40
    """
    replay.check_target(to)
    programmes = programme or [1]
    if unknown := set(programmes) - set(names.PROGRAMMES):
        raise ZadsError(f"{min(unknown)} is not a programme", hint=names.PROGRAMMES_IN_WORDS)
    conf = kafka.read_properties(properties)
    if source.exists() or names.parse_topic(str(source)) is None:
        packets = replay.of_path(source, programmes)
    else:
        packets = replay.of_topic(kafka.read_properties(origin or properties), str(source), programmes)
    with Console(stderr=True).status("streaming") as status:
        found = replay.replay(
            conf,
            to,
            packets,
            pace=replay.Pace(speed),
            again=again,
            say=lambda count: status.update(f"{count:,} alerts"),
        )
    typer.echo(output.plain(f"{found.written} packets streamed into {to}, {found.already} were there already"))
    typer.echo(f"content {found.contents.digest} of {found.contents.packets} packets")
