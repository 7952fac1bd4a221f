"""``zads demo``: a night played through a deployed system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from zads import demo, report, topics, warmup, wholefile
from zads.errors import ZadsError
from zads.inventory import Inventory, repository
from zads.liveview import LiveView

app = typer.Typer()


@app.command()
def play(
    env: Annotated[str, typer.Option(help="The environment: a directory of inventories/.")] = "local",
    alerts: Annotated[Path | None, typer.Option(help="Real packets: a directory or a .tar.gz of them.")] = None,
    night: Annotated[
        str, typer.Option(help="The night that is simulated when there are no real packets.")
    ] = "20181129",
    visits: Annotated[int, typer.Option(help="Simulated visits.", min=1)] = 20,
    alerts_per_visit: Annotated[int, typer.Option(help="Simulated alerts of a visit.", min=1)] = 30,
    speed: Annotated[float, typer.Option(help="How many times faster than the telescope's 40 s a visit.", min=0.1)] = (
        demo.DEFAULT_SPEED
    ),
    warm_seconds: Annotated[
        float, typer.Option("--warm", help="Warm the chain up for so many seconds at most; 0: not at all.", min=0.0)
    ] = warmup.LIMIT_SECONDS,
    report_to: Annotated[
        Path | None, typer.Option("--report", help="Where the report goes, without suffix (.zads/ENV/reports/demo).")
    ] = None,
) -> None:
    """Play a night through a deployed system and prove that nothing was lost, doubled or altered.

    Example: zads demo --env local --alerts ~/ztf/20181129 --speed 80
    """
    root = repository()
    inventory = Inventory.load(env, root)
    console = Console()
    say = demo.console_lines(console)
    topics.check_night(night)
    target = report_to or inventory.state / "reports" / "demo"
    earlier = _earlier(target.with_suffix(".json"))
    given = demo.recorded(alerts) if alerts else demo.simulated(night, visits, alerts_per_visit)
    say(f"{given.alerts} alerts of {len(given.exposures)} visits in {', '.join(given.nights)}")
    play = demo.Play(inventory, given, demo.RemoteDrop(inventory), say, LiveView(console))
    found = play.run(40.0 / speed, warm_seconds)
    figures = play.report(found, earlier)
    passed = {name: demo.passed_alerts(play.public, name, given.nights) for name in figures["filters"]}
    page = report.write(target, figures, play.readers["public"].latencies, passed)
    counts, latency = figures["alerts"], figures["latency_seconds"]
    say(f"dropped {counts['read']}, origin {counts['origin']}, public {counts['public']}")
    if latency:
        say(f"produced to read: median {latency['p50']:.2f} s, 99 % within {latency['p99']:.2f} s")
    for name, row in figures["filters"].items():
        say(f"filter {name} ({row['state']}): {row['passed']} of {row['seen']} passed, {row['capped']} cut by its cap")
    typer.echo(demo.ending(inventory, figures, page, play.reader["sasl.username"]))
    if figures["disagreements"] or figures["duplicates"]:
        raise ZadsError(f"the sites disagree: {'; '.join(figures['disagreements'])}")


def _earlier(report: Path) -> dict[str, Any]:
    """The figures of an earlier demo. Raises ZadsError before anything is played if they cannot be read."""
    try:
        figures = json.loads(wholefile.read(report)) if report.exists() else {}
        if not isinstance(figures, dict):
            raise ValueError("it is no report")
    except (OSError, ValueError, RecursionError) as error:
        raise ZadsError(
            f"cannot read the earlier report {report}: {error}", hint="remove it, or say --report"
        ) from error
    return figures
