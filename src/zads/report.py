"""The report of a night as one page that needs nothing else: verdict, counts and digests, latency, filters' alerts.

Figures come in as plain data (what is written beside the page as JSON) and packets.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from zads import pages, wholefile
from zads.packet import Packet


def write(
    target: Path, figures: Mapping[str, Any], latencies: Sequence[float], passed: Mapping[str, Sequence[Packet]]
) -> Path:
    """Write ``TARGET.json`` and ``TARGET.html``; returns the page.

    ``latencies`` are seconds in the order of reading, ``passed`` some packets of each filter.
    """
    wholefile.write(target.with_suffix(".json"), json.dumps(figures, indent=1) + "\n")
    return wholefile.write(target.with_suffix(".html"), render(figures, latencies, passed))


def render(figures: Mapping[str, Any], latencies: Sequence[float], passed: Mapping[str, Sequence[Packet]]) -> str:
    """The page as HTML text."""
    alerts = {name: [pages.show(packet) for packet in packets] for name, packets in passed.items()}
    plot = latency_plot(latencies) if len(latencies) > 1 else ""
    return pages.render("report.html", figures=figures, plot=plot, alerts=alerts)


def latency_plot(latencies: Sequence[float]) -> str:
    """The share of alerts that are younger than each age when they are read, as inline SVG."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.add_subplot()
    ages = np.sort(np.asarray(latencies))
    axes.step(ages, np.arange(1, ages.size + 1) / ages.size, where="post", color="#1f5fa8")
    axes.set(xlabel="seconds from producer to subscriber", ylabel="share of alerts", ylim=(0, 1.02))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "zads", "svg.fonttype": "none"}):
        # Without metadata: its vocabulary is named by addresses, and the page should name none.
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue()
    return text[text.index("<svg") :]
