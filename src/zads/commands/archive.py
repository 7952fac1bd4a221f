"""``zads archive``: nights as archives."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from zads import kafka, metrics, names, output
from zads.archive import service
from zads.archive.catalogue import Catalogue
from zads.archive.making import Maker
from zads.archive.room import RESERVE, Room
from zads.commands import log_to_stderr
from zads.errors import ZadsError
from zads.rest import Rest, StopRequested
from zads.site import nights as site_nights
from zads.site.policy import Policy

app = typer.Typer()


@app.command()
def archive(
    directory: Annotated[Path, typer.Option(help="The directory of the archives.")],
    policy: Annotated[Path, typer.Option(help="The data policy of the inventory, a JSON file.")],
    origin: Annotated[Path, typer.Option(help="Properties of a client that may read all nights and the ledger.")],
    public: Annotated[Path, typer.Option(help="Properties of a client that may read the public site's nights.")],
    nights: Annotated[
        list[str] | None, typer.Argument(help="Nights to archive now, YYYYMMDD. Without one it runs as a service.")
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Archive what there is of a night whose alerts have expired in part.")
    ] = False,
    after: Annotated[float, typer.Option(min=0.0, help="Hours between the end of a night and its archive.")] = 2.0,
    quiet: Annotated[
        float, typer.Option(min=0.0, help="Minutes for which nothing was added to a night that is archived.")
    ] = 30.0,
    keep: Annotated[int, typer.Option(min=0, help="Nights whose archives are kept; 0 for all.")] = 0,
    reserve: Annotated[float, typer.Option(min=0.0, help="Gigabytes of the disk that stay free.")] = RESERVE / 1e9,
    interval: Annotated[float, typer.Option(min=1.0, help="Seconds between two rounds.")] = 300.0,
    heartbeat: Annotated[Path | None, typer.Option(help="A file that is touched while it works.")] = None,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Answer Prometheus on this port of 127.0.0.1; 0: do not.")
    ] = 0,
) -> None:
    """Write a night's alerts as tar.gz files, one for each programme, with checksums and an index.

    Without a night it runs until SIGTERM, and archives each night that has ended. A night is archived only if it is
    whole: the origin has what the ledger says, and the public site has the same. If alerts come later, the night is
    archived again, as a new version.

    Example: zads archive 20181129 --directory archive --policy policy.json --origin
    .zads/local/clients/admin-origin.properties --public .zads/local/clients/admin-public.properties
    """
    wanted = [names.check_night(night) for night in nights or ()]
    log_to_stderr()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    rest = Rest(stop, heartbeat, program="archive")
    catalogue = Catalogue(directory)
    maker = Maker(
        {"origin": kafka.read_properties(origin), "public": kafka.read_properties(public)},
        catalogue,
        lambda: rest(0.0),
        room=Room(directory, round(reserve * 1e9)),
        clock=time.time,
    )
    if not wanted:
        metrics.serve(metrics_port, "archive")
        timing = service.Timing(3600 * after, 60 * quiet, keep)
        archivist = service.Archivist(maker, catalogue, lambda: Policy.load(policy), timing)
        service.run(archivist, rest, interval)
        return
    try:
        with catalogue.locked():
            catalogue.tidy()
            for night in wanted:
                _make(maker, night, Policy.load(policy), incomplete=incomplete)
    except StopRequested:
        raise typer.Exit(130) from None


def _make(maker: Maker, night: str, policy: Policy, *, incomplete: bool) -> None:
    if time.time() < site_nights.begin(night) + site_nights.DAY:
        raise ZadsError(f"the night {night} has not ended", hint="it ends at midnight UTC")
    made = maker.make(night, policy, incomplete=incomplete)
    for one in made:
        typer.echo(output.plain(f"{one.file}: {one.files} packets of {one.alerts} alerts, {one.size} bytes"))
    if not made:
        typer.echo(f"{night}: all of it is archived")
