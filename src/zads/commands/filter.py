"""``zads filter``: list filters, start one, and test one on a recorded night."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from zads import names, output, wholefile
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zads.filters.recorded_night import Progress, RecordedNight
    from zads.filters.rehearsal import Outcome

app = typer.Typer(no_args_is_help=True, help="List filters, start one, or test one on a recorded night.")
Place = Annotated[str, typer.Argument(metavar="FILTER", help="A Python file, FILE:CLASS, or a built-in filter's name.")]
NightOption = Annotated[Path, typer.Option(help="A recorded night: a directory, a tar archive, or a night's topic.")]
Client = Annotated[
    Path | None, typer.Option("--kafka", help="A client's properties file, for a topic.", metavar="PROPERTIES")
]
Cap = Annotated[int | None, typer.Option(min=1, help="Most alerts of a visit, instead of the filter's own cap.")]


@app.command("list")
def list_filters() -> None:
    """List the filters that come with ZADS, with a line on what each passes.

    Example: zads filter list
    """
    from zads.filters import loading

    for name in loading.builtin_names():
        path, _ = loading.locate(name)
        typer.echo(output.plain(f"{name:24} {loading.summary(path)}"))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the filter and of its topic: lower case letters, digits and _.")],
    directory: Annotated[Path, typer.Option(help="Directory for the two files.")] = Path(),
) -> None:
    """Write a filter to start from, and a test of it.

    Example: zads filter new bright_novae
    """
    from zads.filters import starter

    for path in starter.write(name, directory):
        typer.echo(output.plain(f"wrote {path}"))


@app.command()
def test(
    place: Place,
    night: NightOption,
    compare: Annotated[str, typer.Option(help="Another filter: list the alerts that only one of the two passes.")] = "",
    html: Annotated[Path | None, typer.Option(help="Write a page with light curves and cutouts here.")] = None,
    cap: Cap = None,
    client: Client = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, max=5_000, help="Try a fair sample of this many packets, not the whole night."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 1,
    object_page: Annotated[
        str | None, typer.Option(help="Address of an object's page, with {object} in it; '' for none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run a filter over a recorded night as the worker would; exit 1 if it may not go live.

    Example: zads filter test bright_novae.py --night 20181129/ --html novae.html
    """
    from zads.filters import recorded_night, rehearsal, rehearsal_report

    recorded = _recorded(night, client)
    with _progress() as progress:
        alerts = recorded if sample is None else recorded_night.sample(recorded, sample, seed, progress)
        places = [place, compare] if compare else [place]
        outcome, *others = rehearsal.run_all(places, alerts, cap=cap, progress=progress)
        compared = rehearsal.compare(outcome, others[0]) if others else None
        if html is not None:
            wholefile.write(html, rehearsal_report.page(outcome, alerts, compared, object_page))
    if as_json:
        typer.echo(output.json_text(outcome.report() | ({"compare": compared} if compared else {})))
    else:
        if isinstance(alerts, recorded_night.Sample):
            typer.echo(f"a sample of {len(alerts.packets)} of {alerts.of} packets")
        typer.echo(output.lines(rehearsal_report.text(outcome)))
        _print_details(outcome, recorded, compared)
    if reasons := outcome.refusals():
        raise ZadsError(f"{outcome.name} may not go live: {'; '.join(reasons)}")


@contextmanager
def _progress() -> Iterator[Progress]:
    """A status line on the terminal, if there is one, with the numbers of alerts so far."""
    begun = time.monotonic()
    with Console(stderr=True).status("reading") as status:

        def show(read: int, passed: int) -> None:
            rate = read / max(1e-3, time.monotonic() - begun)
            status.update(f"{read:,} alerts, {passed:,} passed, {rate:,.0f} alerts/s")

        yield show


def _recorded(where: Path, client: Path | None) -> RecordedNight:
    """The night's packets: from files, or from a topic if no file has that name."""
    from zads.filters import recorded_night

    if where.exists() or names.parse_topic(str(where)) is None:
        return recorded_night.of_path(where)
    if client is None:
        raise ZadsError(f"{where} is a topic", hint="give a client's properties file with --kafka")
    return recorded_night.of_topic(str(where), client)


def _print_details(outcome: Outcome, recorded: RecordedNight, compared: dict[str, list[int]] | None) -> None:
    for why, count in recorded.passed_over.items():
        typer.echo(output.plain(f"{count} files passed over: {why}"))
    if recorded.refusals:
        first = output.plain(recorded.refused[0])
        typer.echo(f"{recorded.refusals} packets would be refused, no filter sees them; the first: {first}")
    for failure in outcome.failures[:5]:
        typer.echo(f"failed on candid {failure.candid} ({output.plain(failure.file)}):")
        typer.echo(output.lines(failure.reason))
    for what, candids in (compared or {}).items():
        typer.echo(f"{what}: {len(candids)} {' '.join(map(str, candids[:20]))}")


@app.command()
def run(place: Place, night: NightOption, cap: Cap = None, client: Client = None) -> None:
    """Print the alerts of a recorded night that a filter passes, one a line: candid, object, visit and annotations.

    Example: zads filter run fast_riser --night 20181129.tar
    """
    from zads.filters import rehearsal

    with _progress() as progress:
        outcome = rehearsal.run(place, _recorded(night, client), cap=cap, progress=progress)
    for alert in outcome.passed:
        typer.echo(output.plain(f"{alert.candid} {alert.object_id} {alert.visit} {alert.annotations or '{}'}"))
