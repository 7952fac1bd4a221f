"""``zads auditor``: each night is audited by itself, after its end."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from zads import kafka, metrics, names
from zads.commands import log_to_stderr
from zads.commands.nights import seconds_of_day
from zads.errors import ZadsError
from zads.site.policy import Policy

app = typer.Typer()


@app.command()
def auditor(
    policy: Annotated[Path, typer.Option(help="The data policy of the inventory, a JSON file.")],
    origin: Annotated[Path, typer.Option(help="Properties of the auditor's client at origin.")],
    public: Annotated[Path, typer.Option(help="Properties of the auditor's client at public.")],
    results: Annotated[Path, typer.Option(help="Directory of the results: a JSON file and a page for each night.")],
    keep: Annotated[int, typer.Option(min=1, help="Nights whose results are kept.")] = 400,
    receipts: Annotated[
        Path | None, typer.Option(help="Directory of the pipeline's receipts (done/ in the spool), if it is here.")
    ] = None,
    over: Annotated[
        str, typer.Option(help="Time of day (UTC, HH:MM) at which the night that began at midnight is over.")
    ] = "14:00",
    quiet: Annotated[
        float, typer.Option(min=0.0, help="Seconds without a new alert, after which a night that is over is audited.")
    ] = 900.0,
    interval: Annotated[float, typer.Option(min=1.0, help="Seconds between two rounds.")] = 300.0,
    env: Annotated[str, typer.Option(help="The deployment's name, for mails.")] = "",
    mail: Annotated[Path | None, typer.Option(help="How mail is sent, a JSON file. Without it none is sent.")] = None,
    heartbeat: Annotated[Path | None, typer.Option(help="A file that is touched while the auditor works.")] = None,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Answer Prometheus on this port of 127.0.0.1; 0: do not.")
    ] = 0,
    once: Annotated[
        bool, typer.Option("--once", help="Audit the nights that are due now; exit 1 if not whole.")
    ] = False,
    night: Annotated[
        list[str] | None, typer.Option(help="With --once: this night, due or not; may be given several times.")
    ] = None,
) -> None:
    """Audit each night after its end, and again when late alerts came: receipts, ledger, both sites, filters.

    Runs until SIGTERM, and only reads. Two auditors do no harm.

    Example: zads auditor --policy policy.json --origin .zads/local/clients/admin-origin.properties
    --public .zads/local/clients/admin-public.properties --results audits --once --night 20181129
    """
    from zads.auditor import service
    from zads.auditor.auditor import Auditor
    from zads.auditor.mail import Mail
    from zads.auditor.results import Results
    from zads.rest import Rest, StopRequested

    nights = [names.check_night(text) for text in night or ()]
    if nights and not once:
        raise typer.BadParameter("--night goes with --once", param_hint="--night")
    log_to_stderr()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    rest = Rest(stop, heartbeat, program="auditor")
    made = Auditor(
        {"origin": kafka.read_properties(origin), "public": kafka.read_properties(public)},
        lambda: Policy.load(policy),
        Results(results, keep),
        receipts=receipts,
        over_seconds=seconds_of_day(over),
        quiet_seconds=0.0 if once else quiet,
        mail=Mail.read(env, mail) if mail is not None else None,
        rest=rest,
    )
    if not once:
        metrics.serve(metrics_port, "audit")
        service.run(made, rest, interval)
        return
    try:
        found = made.round(nights or None)
    except StopRequested:
        raise typer.Exit(130) from None
    for result in found:
        typer.echo(result.line)
    if not found:
        typer.echo("no night is due")
    if any(result.status != "whole" for result in found):
        raise ZadsError("not every night is whole", hint="docs/runbooks/an-audit-failed.md")
