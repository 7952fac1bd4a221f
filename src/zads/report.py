"""The report of a night as one page that needs nothing else: verdict, counts and digests, latency, filters' alerts.

Figures come in as plain data (what is written beside the page as JSON) and packets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from zads import pages, wholefile
from zads.packet import Packet


@dataclass
class Passed:
    """What a filter passed of a night: how many alerts, and some of them with their annotations (JSON)."""

    count: int = 0
    some: list[tuple[Packet, str]] = field(default_factory=list)


def write(target: Path, figures: Mapping[str, Any], latencies: Sequence[float], passed: Mapping[str, Passed]) -> Path:
    """Write ``TARGET.json`` and ``TARGET.html``; returns the page.

    ``latencies`` are seconds in the order of reading, ``passed`` what each filter passed.
    """
    wholefile.write(target.with_suffix(".json"), json.dumps(figures, indent=1) + "\n")
    return wholefile.write(target.with_suffix(".html"), render(figures, latencies, passed))


def render(figures: Mapping[str, Any], latencies: Sequence[float], passed: Mapping[str, Passed]) -> str:
    """The page as HTML text."""
    # A simulated object has no page anywhere.
    object_page = figures.get("object_page", "") if figures["source"] else ""
    alerts = {
        name: (one.count, [pages.show(packet, note, object_page) for packet, note in one.some])
        for name, one in passed.items()
    }
    plot = latency_plot(latencies, figures["latency_target_seconds"]) if len(latencies) > 1 else ""
    return pages.render("report.html", figures=figures, plot=plot, alerts=alerts)


def latency_plot(latencies: Sequence[float], target: float) -> str:
    """The share of alerts that are younger than each age when they are read, as inline SVG; and the target's age."""
    with pages.drawing():
        figure = Figure(figsize=(5.4, 2.6), layout="constrained")
        axes = figure.add_subplot()
        ages = np.sort(np.asarray(latencies))
        axes.step(ages, np.arange(1, ages.size + 1) / ages.size, where="post", color="#3a7bc8", label="alerts")
        axes.axvline(target, ls="--", lw=1, color="#b8741a", label=f"target of 99 %: {target:g} s")
        axes.set(xlabel="seconds from producer to subscriber", ylabel="share of alerts", ylim=(0, 1.02))
        axes.set_xlim(left=0)
        axes.grid(alpha=0.2)
        axes.legend(fontsize=9, frameon=False, loc="lower right")
        return pages.svg(figure)
