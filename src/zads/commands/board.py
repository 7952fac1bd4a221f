"""``zads board``: the Night Board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zads import kafka, metrics
from zads.board import PORT
from zads.commands import log_to_stderr
from zads.errors import ZadsError

app = typer.Typer()


@app.command()
def board(
    public: Annotated[Path | None, typer.Option(help="Properties of a client that reads the public site.")] = None,
    kit: Annotated[
        Path | None, typer.Option(help="A user's kit, in place of --public: the board shows what the kit reads.")
    ] = None,
    origin: Annotated[Path | None, typer.Option(help="Properties of a client that may describe the origin.")] = None,
    settings: Annotated[
        Path | None, typer.Option(help="The data policy and the brokers, a JSON file; without it nobody can sign in.")
    ] = None,
    audits: Annotated[Path | None, typer.Option(help="Directory of audits: NIGHT.json of zads audit --json.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = PORT,
    certificate: Annotated[Path | None, typer.Option(help="The board's certificate, with its chain (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="The key of the certificate (PEM).")] = None,
    session_key: Annotated[
        Path | None,
        typer.Option(help="File with the secret that signs sessions; they end with the process without it."),
    ] = None,
    proxy: Annotated[
        list[str] | None, typer.Option(help="Address of a reverse proxy before the board; may be given several times.")
    ] = None,
    heartbeat: Annotated[Path | None, typer.Option(help="A file that is touched while the board reads.")] = None,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Answer Prometheus on this port of 127.0.0.1; 0: do not.")
    ] = 0,
) -> None:
    """Serve the Night Board until SIGTERM: web pages on which people see the night.

    Without a certificate it is served at this computer alone.

    Example: zads board --kit .zads/local/clients/reader
    """
    from zads.board import service
    from zads.board.settings import SettingsFile

    if (public is None) == (kit is None):
        raise ZadsError("say whose account reads the public site", hint="give either --public FILE or --kit DIRECTORY")
    log_to_stderr()
    listener = service.Listener(host, port, certificate, key, tuple(proxy or ()))
    listener.check()
    confs = {"public": kafka.read_properties(public or Path(kit or ".") / "librdkafka.properties")}
    if origin is not None:
        confs["origin"] = kafka.read_properties(origin)
    metrics.serve(metrics_port, "board")
    typer.echo(f"the board: {'https' if certificate else 'http'}://{host}:{port}/")
    service.run(
        confs,
        listener,
        settings=SettingsFile(settings) if settings else None,
        key=service.read_key(session_key),
        audited=audits,
        heartbeat=heartbeat,
    )
