"""The report as one page that loads nothing else: verdict, counts and digests, latency, filters' alerts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from zads import pages, wholefile
from zads.alert_card import AlertCard
from zads.report.passed_alerts import PassedAlerts


def write(
    target: Path, figures: Mapping[str, Any], latencies: Sequence[float], passed: Mapping[str, PassedAlerts]
) -> Path:
    """Write the figures as ``TARGET.json`` and the page as ``TARGET.html``; returns the page's path.

    ``latencies`` are seconds in the order of reading, ``passed`` what each filter passed.
    """
    wholefile.write(target.with_suffix(".json"), json.dumps(figures, indent=1) + "\n")
    return wholefile.write(target.with_suffix(".html"), render(figures, latencies, passed))


def render(figures: Mapping[str, Any], latencies: Sequence[float], passed: Mapping[str, PassedAlerts]) -> str:
    """The page as HTML text."""
    # No page knows a simulated object.
    object_page = figures.get("object_page", "") if figures["source"] else ""
    alerts = {
        name: (one.count, [AlertCard.of(packet, note, object_page) for packet, note in one.examples])
        for name, one in passed.items()
    }
    plot = latency_plot(latencies, figures["latency_target_seconds"]) if len(latencies) > 1 else ""
    return pages.render("report.html", figures=figures, plot=plot, alerts=alerts)


def latency_plot(latencies: Sequence[float], target: float) -> str:
    """The share of alerts that were read within each number of seconds, and the target, as inline SVG."""
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
