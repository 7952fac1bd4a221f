"""``zads trace``: one alert through every hop."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from zads import kafka, names, output
from zads.errors import ZadsError
from zads.inventory import Inventory, repository
from zads.site.entry import Site
from zads.site.policy import SITES, Policy
from zads.trace import Sighting, Trace, follow
from zads.trace.filters import Judge

app = typer.Typer()


@app.command("trace")
def run(
    candid: Annotated[int, typer.Argument(min=1, max=(1 << 63) - 1, help="The alert's candid.")],
    night: Annotated[
        str | None, typer.Option(help="Its night, YYYYMMDD, if the candid does not begin with it.")
    ] = None,
    env: Annotated[
        str | None, typer.Option(help="An environment: look at both sites as its operators, and at its filters.")
    ] = None,
    origin: Annotated[
        Path | None, typer.Option(help="Properties of a client at the origin.", metavar="PROPERTIES")
    ] = None,
    public: Annotated[
        Path | None, typer.Option(help="Properties of a client at the public site.", metavar="PROPERTIES")
    ] = None,
    rerun: Annotated[
        bool, typer.Option(help="With --env: run filters once more that do not have the alert, to tell why.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the trace as JSON.")] = False,
) -> None:
    """Tell where an alert is, when it came there, and what each filter made of it; exit 1 if it is nowhere.

    It tells what the client may read, and nothing of anything else.

    Example: zads trace 697251920115015007 --env local
    """
    if (env is None) == (origin is None and public is None):
        raise typer.BadParameter("name an environment with --env, or clients with --origin and --public")
    wanted = names.check_night(night) if night else None
    sites: dict[Site, dict[str, str]] = {}
    policy: Policy | None = None
    judge: Judge | None = None
    if env is not None:
        inventory = Inventory.load(env, repository())
        policy = inventory.policy()
        sites = {site: kafka.read_properties(inventory.client(f"admin-{site}")) for site in SITES}
        if rerun:
            from zads.trace import rerun as again

            judge = again.judge(inventory.root / "inventories" / env / "filters")
    else:
        given: dict[Site, Path | None] = {"origin": origin, "public": public}
        sites = {site: kafka.read_properties(path) for site, path in given.items() if path is not None}
    found = follow(candid, sites, night=wanted, policy=policy, judge=judge)
    if as_json:
        typer.echo(output.json_text(found.as_json(), indent=1))
    elif found.found:
        for line in lines(found):
            typer.echo(output.plain(line))
    if not found.found:
        if not as_json:
            for note in found.notes:
                typer.echo(output.plain(note))
        raise ZadsError(f"nothing that these clients may read says anything of candid {candid}")


def lines(trace: Trace) -> Iterator[str]:
    """The trace for a terminal, a line for each hop."""
    yield f"candid {trace.candid}" + (f", night {trace.night}" if trace.night else "")
    for row in trace.ledger:
        yield f"{_utc(row.written)}  ledger   exposure {row.exposure}, night {row.night}, sha256 {row.content}…"
    for hop in (*trace.origin, *trace.public):
        yield f"{_utc(hop.received)}  {hop.site:8} {_record(hop)}"
    for refusal in trace.refusals:
        who = f"the filter {refusal.filter} failed on it" if refusal.filter else "refused"
        field = f"{refusal.field}: " if refusal.field else ""
        reason = (refusal.reason.splitlines() or ["no reason given"])[-1]
        yield f"{_utc(refusal.received)}  {refusal.site:8} {who}: {field}{reason} ({refusal.source}; {refusal.place})"
    for one in trace.filters:
        when = _utc(one.record.received) if one.record else " " * len(_utc(0.0))
        reason = (one.reason.strip().splitlines() or [""])[-1]
        told = " ".join(part for part in (one.annotations, one.record.place if one.record else "", reason) if part)
        yield f"{when}  filter   {one.filter}: {one.verdict}" + (f" ({told})" if told else "")
    yield from trace.notes


def _record(hop: Sighting) -> str:
    late = "" if math.isnan(hop.produced) else f", {hop.received - hop.produced:.2f} s after it was produced"
    version = f", version {hop.version}" if hop.version > 1 else ""
    what = f"object {hop.object}, visit {hop.visit}, {hop.size} bytes, sha256 {hop.sha256[:12]}…"
    return f"{hop.place}, {what}{version}{late}"


def _utc(moment: float) -> str:
    return f"{datetime.datetime.fromtimestamp(moment, datetime.UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]
