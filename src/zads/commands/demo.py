"""``zads demo``: a night played through a deployed system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from zads import names, warmup, wholefile
from zads.demo import console as words
from zads.demo import night as nights
from zads.demo.play import Play
from zads.demo.spool import RemoteSpool
from zads.errors import ZadsError
from zads.filters import status
from zads.inventory import Inventory, repository
from zads.liveview import LiveView
from zads.report import page as report_page
from zads.report.figures import figures, filter_rows, latency
from zads.report.passed_alerts import read_passed_alerts
from zads.sources import simulator

app = typer.Typer()


@app.command()
def play(
    env: Annotated[str, typer.Option(help="The environment: a directory of inventories/.")] = "local",
    alerts: Annotated[Path | None, typer.Option(help="Real packets: a directory or a .tar.gz of them.")] = None,
    night: Annotated[str, typer.Option(help="The night to simulate; not used with --alerts.")] = "20181129",
    visits: Annotated[int, typer.Option(help="Simulated visits.", min=1)] = 20,
    alerts_per_visit: Annotated[int, typer.Option(help="Simulated alerts of a visit.", min=1)] = 30,
    speed: Annotated[
        float, typer.Option(help="How many times faster than the telescope's visit every 40 s.", min=0.1)
    ] = 40.0,
    warm_seconds: Annotated[
        float, typer.Option("--warm", help="Maximum seconds of warm-up before the night; 0 for none.", min=0.0)
    ] = warmup.LIMIT_SECONDS,
    report_to: Annotated[
        Path | None, typer.Option("--report", help="The report's path without suffix (.zads/ENV/reports/demo).")
    ] = None,
) -> None:
    """Play a night through a deployed system and prove that nothing was lost, doubled or altered.

    Example: zads demo --env local --alerts ~/ztf/20181129 --speed 80
    """
    inventory = Inventory.load(env, repository())
    console = Console()
    say = words.timed_lines(console)
    names.check_night(night)
    target = report_to or inventory.state / "reports" / "demo"
    earlier = _earlier(target.with_suffix(".json"))
    played = nights.recorded(alerts) if alerts else nights.simulated(night, visits, alerts_per_visit)
    say(f"{played.alerts} alerts of {len(played.visits)} visits in {', '.join(played.nights)}")
    play = Play(inventory, played, RemoteSpool(inventory), say, LiveView(console))
    interval = simulator.VISIT_SECONDS / speed
    found = play.run(interval, warm_seconds)
    sites = play.sites
    filters = filter_rows(sites.policy, status.counts(sites.public, played.nights))
    of_night = figures(inventory, played, found, filters, latency(play.latencies(), interval, earlier))
    passed = {name: read_passed_alerts(sites.public, name, played.nights) for name in filters}
    page = report_page.write(target, of_night, play.readers["public"].latencies, passed)
    for line in words.summary(of_night):
        say(line)
    typer.echo(words.ending(inventory, of_night, page, sites.subscriber["sasl.username"]))
    if of_night["disagreements"] or of_night["duplicates"]:
        raise ZadsError(f"the sites disagree: {'; '.join(of_night['disagreements'])}")


def _earlier(report: Path) -> dict[str, Any]:
    """The figures of an earlier demo; {} if there was none. Raises ZadsError if they cannot be read."""
    try:
        found = json.loads(wholefile.read(report)) if report.exists() else {}
        if not isinstance(found, dict):
            raise ValueError("it is not a report")
    except (OSError, ValueError, RecursionError) as error:
        raise ZadsError(
            f"cannot read the earlier report {report}: {error}", hint="remove it, or name another path by --report"
        ) from error
    return found
