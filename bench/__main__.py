"""`make bench`: measure ours and peers in one run, several times, and compare with the committed reference.

    python -m bench [DIRECTORY OF PACKETS] [--rows GROUP,GROUP] [--rounds N] [--set NAME=VALUE] [--keep]

Runs in the root of the repository. Packets are simulated when no directory is given. Writes
.zads/bench/reports/bench.{json,html}; `--keep` also makes the result the reference (bench/reference.json).

Exits with 1 if a row is worse than its reference. A reference of another machine or of other packets is not comparable,
and no row is worse than it.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import GROUPS, machine
from bench.basis import Basis, digest, given_packets, processors
from bench.report import Report
from bench.result import Context
from zads.errors import ZadsError

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = Path(__file__).with_name("reference.json")
OUT = ROOT / ".zads" / "bench"

console = Console(stderr=True, highlight=False)


def chosen_groups(rows: str) -> list[str]:
    """The groups that are asked for, in the order of GROUPS. Raises ZadsError naming one that does not exist."""
    wanted = [name.strip() for name in rows.split(",") if name.strip()] or list(GROUPS)
    if unknown := sorted(set(wanted) - GROUPS.keys()):
        raise ZadsError(f"there are no rows {unknown[0]!r}", hint=f"choose from {', '.join(GROUPS)}")
    return [name for name in GROUPS if name in wanted]


def run(report: Report, context: Context, groups: list[str]) -> None:
    """Measure group after group, and write the report after each row: an interrupted run leaves what it has."""
    reports = OUT / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    for name in groups:
        context.say(f"{name}: {GROUPS[name]}")
        for found in importlib.import_module(f"bench.{name}").measure(context):
            report.add(found)
            (reports / "bench.json").write_text(report.json())
            (reports / "bench.html").write_text(report.html())


def main(
    directory: Annotated[Path | None, typer.Argument(help="Real packets.")] = None,
    rows: Annotated[str, typer.Option(help="Groups of rows, comma-separated; all when empty.")] = "",
    rounds: Annotated[int, typer.Option(help="Repetitions.", min=3)] = 7,
    options: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE for a group.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Make the result the reference.")] = False,
) -> None:
    """Measure the rows, print the table, write the reports."""
    groups = chosen_groups(rows)
    OUT.mkdir(parents=True, exist_ok=True)
    kind, packets = given_packets(directory)
    basis = Basis(kind, digest(packets), machine.facts(OUT))
    about = f"{len(packets)} packets ({kind}), {rounds} rounds, {processors(basis.machine)}"
    report = Report(basis, about, json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {})
    settings = dict(option.split("=", 1) for option in options or [] if "=" in option)
    context = Context(packets, rounds, lambda line: console.print(f"bench: {line}"), OUT, ROOT, settings)
    try:
        run(report, context, groups)
    finally:  # the rows of an hour are shown even if the next one fails
        if report.results or report.series:  # without any, the page on the disk is an older run's
            Console(width=max(150, console.width)).print(report.table())
            print(f"bench: {(OUT / 'reports/bench.html').relative_to(ROOT)}")
    if report.not_comparable:
        print(f"bench: {report.not_comparable}")
    if keep:
        REFERENCE.write_text(json.dumps(report.kept(), indent=1, sort_keys=True) + "\n")
    raise SystemExit(report.status)


if __name__ == "__main__":
    try:
        typer.run(main)
    except ZadsError as error:
        sys.exit(f"bench: {error}")
