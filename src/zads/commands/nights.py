"""``zads nights``: the nights' topics and grants, ahead of time."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from zads import kafka, metrics, warmup
from zads.commands import log_to_stderr
from zads.errors import ZadsError
from zads.night_keeper import Keeper
from zads.night_keeper.memory import Memory
from zads.night_keeper.service import run
from zads.rest import Rest, StopRequested
from zads.site.policy import Policy

app = typer.Typer()


@app.command()
def nights(
    policy: Annotated[Path, typer.Option(help="The data policy of the inventory, a JSON file.")],
    origin: Annotated[Path, typer.Option(help="Properties of the night keeper's client at origin.")],
    public: Annotated[Path, typer.Option(help="Properties of the night keeper's client at public.")],
    ahead: Annotated[int, typer.Option(min=1, max=30, help="Nights after the present one that exist.")] = 2,
    past: Annotated[
        int | None,
        typer.Option(
            min=0, help="Nights before the present one that exist at most; all within retention if not given."
        ),
    ] = None,
    turn: Annotated[
        str, typer.Option(help="Time of day (UTC, HH:MM) at which no alerts come: the list of nights moves on.")
    ] = "22:00",
    interval: Annotated[float, typer.Option(min=1.0, help="Seconds between two rounds.")] = 60.0,
    warm_seconds: Annotated[
        float, typer.Option(min=0.0, help="Maximum seconds of the canaries that warm the chain up; 0 for none.")
    ] = warmup.LIMIT_SECONDS,
    state: Annotated[
        Path | None, typer.Option(help="File that remembers, over restarts, which topics have held no record.")
    ] = None,
    heartbeat: Annotated[Path | None, typer.Option(help="A file that is touched while the keeper works.")] = None,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Answer Prometheus on this port of 127.0.0.1; 0: do not.")
    ] = 0,
    once: Annotated[bool, typer.Option("--once", help="Do one round; exit 1 if something failed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what a round would change.")] = False,
) -> None:
    """Make the topics and grants of the coming nights at both sites, and remove those that have ended.

    Runs until SIGTERM, a round a minute. A topic is removed only when retention has ended for its night, and it has
    held no record for a day.

    Example: zads nights --policy policy.json --origin .zads/local/clients/admin-origin.properties
    --public .zads/local/clients/admin-public.properties --dry-run
    """

    def read_policy() -> Policy:
        return Policy.load(policy)

    turn_seconds = seconds_of_day(turn)
    log_to_stderr()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    rest = Rest(stop, heartbeat, program="night keeper")
    keeper = Keeper(
        {"origin": kafka.read_properties(origin), "public": kafka.read_properties(public)},
        read_policy,
        ahead=ahead,
        past=past,
        turn=turn_seconds,
        memory=Memory(state),
        warm_seconds=warm_seconds,
        rest=rest,
    )
    if not (once or dry_run):
        metrics.serve(metrics_port, "nights")
        run(keeper, read_policy, rest, interval)
        return
    try:
        found = keeper.plans() if dry_run else keeper.round()
    except StopRequested:
        raise typer.Exit(130) from None
    for site, plan in sorted(found.plans.items()):
        for line in plan.lines():
            typer.echo(f"{site}: {line}")
        if not plan:
            typer.echo(f"{site}: nothing to change")
    if found.failures:
        raise ZadsError("; ".join(f"{place}: {reason}" for place, reason in sorted(found.failures.items())))


def seconds_of_day(text: str) -> float:
    """The seconds after midnight of a time HH:MM. Raises ZadsError if it is none."""
    match = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", text)
    if match is None:
        raise ZadsError(f"{text!r} is not a time of day", hint="write hours and minutes (UTC), e.g. 22:00")
    return 3600.0 * int(match[1]) + 60.0 * int(match[2])
