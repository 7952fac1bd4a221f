"""The results as a table, as JSON and as a page with plots, each beside the committed reference."""

from __future__ import annotations

import json
import math
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.table import Table

from bench.basis import Basis
from bench.result import Result, Series, Verdict
from zads import pages

PAGE = Path(__file__).with_name("page.html")
COLOURS = {"met": "green", "short": "yellow", "worse": "bold red", "measured": None}
_KEPT = ("median", "low", "high")

References = dict[str, Any]


@dataclass
class Report:
    """The results of a run, and the references that they are compared with.

    `references` is the committed file: for each kind of packets the digest of those that were measured, the machine and
    the figures of a former run. Rows are compared only on the same packets, and on as many cores of the same processor.
    """

    basis: Basis
    about: str
    references: References = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)

    @property
    def not_comparable(self) -> str:
        """The sentence that says why no row is compared with the reference; "" if they are."""
        difference = self.basis.difference(self.references.get(self.basis.kind))
        return f"not comparable with the reference: {difference}" if difference else ""

    def add(self, found: Result | Series) -> None:
        """Add a result or a plot. Raises ValueError for a second row of one name."""
        if isinstance(found, Series):
            self.series.append(found)
            return
        if any(key(found) == key(other) for other in self.results):
            raise ValueError(f"there are two rows {key(found)}")
        self.results.append(found)

    def reference(self, result: Result) -> Mapping[str, float] | None:
        """The median, low and high that a row is compared with; None if it is not compared."""
        if self.not_comparable or not result.compared:
            return None
        found: Mapping[str, float] | None = self.references[self.basis.kind]["rows"].get(key(result))
        return found

    def reference_text(self, result: Result) -> str:
        """The same in words: the median, or that it is not comparable."""
        if self.not_comparable and result.compared:
            return "not comparable"
        before = self.reference(result)
        return show(before["median"]) if before else ""

    def verdict(self, result: Result) -> Verdict:
        """The verdict on a row."""
        return result.verdict(self.reference(result))

    @property
    def status(self) -> int:
        """The exit status: 1 if a row is worse than its reference."""
        return int(any(self.verdict(row) == "worse" for row in self.results))

    def kept(self) -> References:
        """The references with the rows of this run. Former rows of the same packets and machine stay beside them."""
        rows = {} if self.not_comparable else dict(self.references[self.basis.kind]["rows"])
        rows |= {key(row): {name: _round(getattr(row, name)) for name in _KEPT} for row in self.results if row.compared}
        kept = {"digest": self.basis.digest, "machine": dict(self.basis.machine), "rows": rows}
        return {**self.references, self.basis.kind: kept}

    def table(self) -> Table:
        """The rows, for a terminal."""
        table = Table("what", "peer", "figure", "range", "goal", "reference", "ours", "peer's", "", title=self.about)
        for row in self.results:
            verdict = self.verdict(row)
            table.add_row(
                row.name, row.peer, figure(row), f"{show(row.low)} to {show(row.high)}", goal(row),
                self.reference_text(row), cost(row, row.ours), cost(row, row.theirs), verdict,
                style=COLOURS[verdict],
            )  # fmt: skip
        return table

    def json(self) -> str:
        """The whole report for programs."""
        rows = [row.record(self.reference(row)) | {"reference": self.reference(row)} for row in self.results]
        whole = {
            "packets": self.basis.kind, "digest": self.basis.digest, "about": self.about,
            "machine": self.basis.machine, "not_comparable": self.not_comparable, "rows": rows,
            "series": [asdict(one) for one in self.series],
        }  # fmt: skip
        return json.dumps(whole, indent=1) + "\n"

    def html(self) -> str:
        """The whole report as a page that needs no other file."""
        template = pages.environment().from_string(PAGE.read_text())
        rows = [
            {
                "row": row, "verdict": self.verdict(row), "figure": figure(row), "goal": goal(row),
                "range": f"{show(row.low)} to {show(row.high)}", "ours": cost(row, row.ours),
                "theirs": cost(row, row.theirs), "reference": self.reference_text(row),
            }
            for row in self.results
        ]  # fmt: skip
        ratios = [row for row in self.results if row.peer and row.sense == "at least"]
        with pages.drawing():
            bars = _bars(ratios) if ratios else ""
            plots = [{"title": one.title, "note": one.note, "svg": _curves(one)} for one in self.series]
        page: str = template.render(
            about=self.about, machine=self.basis.machine, not_comparable=self.not_comparable, rows=rows,
            bars=bars, plots=plots,
        )  # fmt: skip
        return page


def key(result: Result) -> str:
    """A row's name in the reference."""
    return f"{result.name} | {result.peer}" if result.peer else result.name


def show(value: float) -> str:
    """A value with three digits: such a measurement is not more exact."""
    if value and abs(value) < 1000:
        return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    return f"{value:,.0f}"


def figure(row: Result) -> str:
    """The figure with its unit."""
    return f"{show(row.median)} {row.unit}" if row.figure == "ours" else f"{show(row.median)} x"


def goal(row: Result) -> str:
    """The goal in words."""
    return "" if row.goal is None else f"{row.sense} {row.goal:g}"


def cost(row: Result, values: Sequence[float]) -> str:
    """The median of one side of a ratio."""
    if row.figure == "ours" or not values:
        return ""
    return f"{show(statistics.median(values))} {row.unit}"


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def _bars(rows: Sequence[Result]) -> str:
    """How many times as fast as each peer, with the range of the rounds and the goal."""
    drawn = Figure(figsize=(10, 0.9 + 0.5 * len(rows)), layout="constrained")
    axes = drawn.add_subplot()
    for place, row in enumerate(reversed(rows)):
        axes.barh(place, row.median, color="#3a7bc8", height=0.5)
        axes.plot([row.low, row.high], [place, place], color=pages.INK, lw=1.2)
        if row.goal is not None:
            axes.plot([row.goal] * 2, [place - 0.36, place + 0.36], color="#d9544a", lw=2)
    axes.set_yticks(range(len(rows)), [_label(row) for row in reversed(rows)], fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color="grey", lw=0.8)
    axes.set_xlabel("times the peer\n(blue: the median, thin line: the range over the rounds, red: the goal)")
    return pages.svg(drawn)


def _label(row: Result) -> str:
    return f"{row.name}\n{textwrap.shorten(f'beside {row.peer}', 60, placeholder=' ...')}"


def _curves(series: Series) -> str:
    """A plot of lines, each with the range of the rounds as a band."""
    drawn = Figure(figsize=(8, 4), layout="constrained")
    axes = drawn.add_subplot()
    for label, points in series.lines.items():
        x, y, low, high = zip(*points, strict=True)
        (line,) = axes.plot(x, y, marker="o", ms=3, lw=1.2, label=label)
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, lw=0)
    if series.logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(series.xlabel)
    axes.set_ylabel(series.ylabel)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    return pages.svg(drawn)
