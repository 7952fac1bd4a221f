"""`make bench`: ours beside peers in the same run, repeated, with the spread, against the last committed reference.

    scripts/bench.py [DIRECTORY OF PACKETS] [--rows GROUP,GROUP] [--rounds N] [--set NAME=VALUE] [--keep]

Packets are simulated when no directory is given. Writes .zads/bench/reports/bench.{json,html}; `--keep` also makes the
result the reference (tests/bench/reference.json). Exits with 1 if a row is worse than its reference.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from bench import GROUPS, machine  # noqa: E402  it lies beside the tests, not in the package
from bench.report import Report  # noqa: E402
from bench.result import Context  # noqa: E402
from zads.errors import ZadsError  # noqa: E402
from zads.packet import Packet  # noqa: E402
from zads.sources import files, simulator  # noqa: E402

REFERENCE = ROOT / "tests" / "bench" / "reference.json"
OUT = ROOT / ".zads" / "bench"
PACKETS = 200

console = Console(stderr=True, highlight=False)


def given_packets(directory: Path | None) -> tuple[str, list[bytes]]:
    """What is measured on, and what to call it: real packets with their versions, or simulated ones of all versions."""
    if directory is None:
        visits = simulator.simulate("20181129", 1, PACKETS)
        return "simulated", [data for _, packets in visits for _, data in packets]
    found = [data for _, data in files.packets(directory)]
    if not found:
        raise ZadsError(f"there are no packets in {directory}")
    chosen = random.Random(1).sample(found, min(PACKETS, len(found)))
    versions = sorted({Packet.trusted(data).schema_version for data in chosen})
    return f"real, schema {', '.join(versions)}", chosen


def chosen_groups(rows: str) -> list[str]:
    """The groups that are asked for, in their order. Errors: ZadsError naming one that does not exist."""
    wanted = [name.strip() for name in rows.split(",") if name.strip()] or list(GROUPS)
    if unknown := sorted(set(wanted) - GROUPS.keys()):
        raise ZadsError(f"there are no rows {unknown[0]!r}", hint=f"choose of {', '.join(GROUPS)}")
    return [name for name in GROUPS if name in wanted]


def run(report: Report, context: Context, groups: list[str]) -> None:
    """Measure group after group; what is found is written at once, so that an interrupted run leaves what it has."""
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
    facts = machine.facts(OUT)
    about = f"{len(packets)} packets ({kind}), {rounds} rounds, {facts['cores']} cores of {facts['processor']}"
    references = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {}
    report = Report(kind, about, facts, references)
    settings = dict(option.split("=", 1) for option in options or [] if "=" in option)
    context = Context(packets, rounds, lambda line: console.print(f"bench: {line}"), OUT, ROOT, settings)
    try:
        run(report, context, groups)
    finally:  # an hour's rows are told even if the next one fails
        if report.results or report.series:  # with none, the page that lies there is an older run's
            Console(width=max(150, console.width)).print(report.table())
            print(f"bench: {(OUT / 'reports/bench.html').relative_to(ROOT)}")
    if keep:
        REFERENCE.write_text(json.dumps(report.kept(), indent=1, sort_keys=True) + "\n")
    if any(report.verdict(row) == "worse" for row in report.results):
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        typer.run(main)
    except ZadsError as error:
        sys.exit(f"bench: {error}")
