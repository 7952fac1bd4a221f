"""`make bench`: ours beside peers in the same run, as ratios with their spread, against the last committed reference.

    scripts/bench.py [DIRECTORY OF PACKETS] [--rounds N] [--keep]

Packets are simulated when no directory is given. Writes .zads/bench/bench.{json,html}; `--keep` also makes the result
the reference (tests/bench/reference.json). A ratio below its reference by more than both spreads is shown in red.
"""

from __future__ import annotations

import io
import json
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Annotated

import jinja2
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from bench import decode  # noqa: E402  it lies beside the tests, not in the package
from zads.errors import ZadsError  # noqa: E402
from zads.sources import files, simulator  # noqa: E402

REFERENCE = ROOT / "tests" / "bench" / "reference.json"
OUT = ROOT / ".zads" / "bench"
PACKETS = 200


def given_packets(directory: Path | None) -> tuple[str, list[bytes]]:
    """What is measured on: real packets, or simulated ones of the same anatomy."""
    if directory:
        return "real", [data for _, data in files.packets(directory)][:PACKETS]
    visits = simulator.simulate("20181129", 1, PACKETS)
    return "simulated", [data for _, packets in visits for _, data in packets]


def seconds(work: object, packets: list[bytes]) -> float:
    """Processor time that one pass over the packets takes."""
    started = time.process_time()
    for data in packets:
        work(data)
    return time.process_time() - started


def measure(row: decode.Row, packets: list[bytes], rounds: int) -> dict[str, float]:
    """Ratios of a row over the rounds, and what an alert costs both in microseconds."""
    if row.comparable and [row.ours(data) for data in packets] != [row.peer(data) for data in packets]:
        raise ZadsError(f"{row.name}: the two ways do not give the same result")
    pairs = [(seconds(row.ours, packets), seconds(row.peer, packets)) for _ in range(rounds + 1)][1:]
    ratios = [peer / ours for ours, peer in pairs]
    micro = 1e6 / len(packets)
    return {
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "ours_us": statistics.median(ours for ours, _ in pairs) * micro,
        "peer_us": statistics.median(peer for _, peer in pairs) * micro,
    }


def verdict(found: dict[str, float], goal: float, before: dict[str, float] | None) -> str:
    """met, short of the goal, or slower than the reference by more than both spreads."""
    if before and found["high"] < before["low"]:
        return "slower"
    return "met" if found["ratio"] >= goal else "short"


def page(results: dict[str, dict[str, float | str]], about: str) -> str:
    """One page: the table, and the ratios with their ranges beside their goals."""

    figure = Figure(figsize=(8, 0.9 + 0.6 * len(results)), layout="constrained")
    axes = figure.add_subplot()
    names = list(results)[::-1]
    for place, name in enumerate(names):
        row = results[name]
        axes.barh(place, row["ratio"], color="#1f5fa8", height=0.5)
        axes.plot([row["low"], row["high"]], [place, place], color="black", lw=1)
        axes.plot([row["goal"]] * 2, [place - 0.35, place + 0.35], color="#b3261e", lw=2)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("times as fast as the peer (red: the goal; line: the range over the rounds)")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plot = buffer.getvalue()
    template = jinja2.Template((ROOT / "tests/bench/page.html").read_text(), autoescape=True)
    return template.render(about=about, rows=results, plot=plot[plot.index("<svg") :])


def main(
    directory: Annotated[Path | None, typer.Argument(help="Real packets.")] = None,
    rounds: Annotated[int, typer.Option(help="Repetitions.", min=3)] = 7,
    keep: Annotated[bool, typer.Option("--keep", help="Make the result the reference.")] = False,
) -> None:
    """Measure every row, print the table, write the files."""
    kind, packets = given_packets(directory)
    about = f"{len(packets)} {kind} packets, {rounds} rounds, one thread, Python {platform.python_version()}"
    reference = json.loads(REFERENCE.read_text()).get(kind, {}) if REFERENCE.exists() else {}
    results: dict[str, dict[str, float | str]] = {}
    table = Table("what", "peer", "ratio", "range", "goal", "ours, µs", "peer, µs", "", title=about)
    for row in decode.ROWS:
        found = measure(row, packets, rounds)
        said = verdict(found, row.goal, reference.get(row.name))
        results[row.name] = {**found, "goal": row.goal, "peer": row.peer_name, "verdict": said}
        spread = f"{found['low']:.1f} to {found['high']:.1f}"
        cells = (f"{found['ratio']:.1f}", spread, f"{row.goal:g}", f"{found['ours_us']:.0f}", f"{found['peer_us']:.0f}")
        table.add_row(row.name, row.peer_name, *cells, said, style="red" if said == "slower" else None)
    Console(width=150).print(table)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "bench.json").write_text(json.dumps({"about": about, "rows": results}, indent=1) + "\n")
    (OUT / "bench.html").write_text(page(results, about))
    print(f"bench: {OUT / 'bench.html'}")
    if keep:
        kept = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {}
        kept[kind] = {
            name: {key: round(float(row[key]), 2) for key in ("ratio", "low", "high")} for name, row in results.items()
        }
        REFERENCE.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
