"""The results of a benchmark: rows with their goals, and plots.

A group of rows is a module of this directory that `bench.GROUPS` lists. It has one function, which yields each result
as soon as it is measured:

    def measure(context: Context) -> Iterator[Result | Series]: ...
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

#: A change by less than this part of the reference is never worse: two runs on one machine differ by as much.
SLACK = 0.1

Sense = Literal["at least", "at most"]
Figure = Literal["peer/ours", "ours/peer", "ours"]
Verdict = Literal["met", "short", "worse", "measured"]
Point = tuple[float, float, float, float]


@dataclass(frozen=True)
class Result:
    """One row: the values of ours and of the peer in each round, and the goal.

    `figure` is what the goal applies to. Costs (µs an alert) compare as "peer/ours" and rates (alerts/s) as
    "ours/peer": both say how many times as fast ours is. The figure of a row without a peer is its own value: "ours".
    """

    name: str
    ours: Sequence[float]  # one value a round, in `unit`
    unit: str
    peer: str = ""  # the name of what ours is compared with
    theirs: Sequence[float] = ()  # one value for each of the same rounds, in the same unit
    figure: Figure = "ours"
    goal: float | None = None
    sense: Sense = "at least"
    note: str = ""  # what a reader must know to understand the figure
    compared: bool = True  # whether it is compared with its reference

    def __post_init__(self) -> None:
        if not self.ours:
            raise ValueError(f"{self.name}: nothing was measured")
        if (self.figure == "ours") == bool(self.theirs):
            raise ValueError(f"{self.name}: a figure of {self.figure} with {len(self.theirs)} values of a peer")

    @property
    def figures(self) -> list[float]:
        """The figure of each round."""
        if self.figure == "ours":
            return list(self.ours)
        pairs = list(zip(self.ours, self.theirs, strict=True))
        return [theirs / ours if self.figure == "peer/ours" else ours / theirs for ours, theirs in pairs]

    @property
    def median(self) -> float:
        """The figure: the median of its rounds."""
        return statistics.median(self.figures)

    @property
    def low(self) -> float:
        """The lowest of its rounds."""
        return min(self.figures)

    @property
    def high(self) -> float:
        """The highest of its rounds."""
        return max(self.figures)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the goal; None where no goal is set."""
        if self.goal is None:
            return None
        return self.median >= self.goal if self.sense == "at least" else self.median <= self.goal

    def verdict(self, reference: Mapping[str, float] | None = None) -> Verdict:
        """The verdict, given the median, low and high of its reference, if it has one.

        "worse" than the reference means that the two ranges do not touch and the medians differ by more than SLACK:
        a row of a single round has no range of its own.
        """
        if reference is not None and self._worse(reference):
            return "worse"
        return "measured" if self.met is None else "met" if self.met else "short"

    def _worse(self, reference: Mapping[str, float]) -> bool:
        if self.sense == "at least":
            return self.high < reference["low"] and self.median < (1 - SLACK) * reference["median"]
        return self.low > reference["high"] and self.median > (1 + SLACK) * reference["median"]

    def record(self, reference: Mapping[str, float] | None = None) -> dict[str, Any]:
        """The row for JSON: its values, and what follows from them."""
        return {
            "name": self.name, "peer": self.peer, "unit": self.unit, "ours": list(self.ours),
            "theirs": list(self.theirs), "figure": self.figure, "goal": self.goal, "sense": self.sense,
            "note": self.note, "median": self.median, "low": self.low, "high": self.high,
            "verdict": self.verdict(reference),
        }  # fmt: skip


@dataclass(frozen=True)
class Series:
    """A plot: lines by label, each of points (x, y, lowest y, highest y)."""

    title: str
    xlabel: str
    ylabel: str
    lines: Mapping[str, Sequence[Point]]
    logarithmic: bool = False  # both axes
    note: str = ""


@dataclass(frozen=True)
class Context:
    """The input of every group of rows."""

    packets: Sequence[bytes]  # real ones, or simulated
    rounds: int  # repetitions of each comparison
    say: Callable[[str], None]  # shows a line of progress
    out: Path  # an existing directory for files of a group
    root: Path  # of the repository
    options: Mapping[str, str] = field(default_factory=dict)  # NAME=VALUE of the command line, for single groups

    def number(self, name: str, default: int) -> int:
        """An option that is a whole number."""
        return int(self.options.get(name, default))
