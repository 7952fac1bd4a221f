"""The report of a night as one page that needs nothing else: verdict, counts and digests, latency, filters' alerts.

Figures come in as plain data (what is written beside the page as JSON) and packets; pictures are drawn here.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from zads.errors import ZadsError
from zads.packet import Packet, cutout

mpl.use("Agg")
#: Colours of ZTF's filters g, r and i in every plot here.
BANDS = {1: ("g", "#2a7f3f"), 2: ("r", "#c0392b"), 3: ("i", "#8e5b2c")}
CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


@dataclass(frozen=True)
class Shown:
    """An alert on the page: words about it, and its pictures as data addresses."""

    title: str
    facts: str
    light_curve: str
    cutouts: list[tuple[str, str]]


def write(
    target: Path, figures: Mapping[str, Any], latencies: Sequence[float], passed: Mapping[str, Sequence[Packet]]
) -> Path:
    """Write ``TARGET.json`` and ``TARGET.html``; returns the page.

    ``latencies`` are seconds in the order of reading, ``passed`` some packets of each filter.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _replace(target.with_suffix(".json"), json.dumps(figures, indent=1) + "\n")
    page = target.with_suffix(".html")
    _replace(page, render(figures, latencies, passed))
    return page


def render(figures: Mapping[str, Any], latencies: Sequence[float], passed: Mapping[str, Sequence[Packet]]) -> str:
    """The page as HTML text."""
    loader = jinja2.FunctionLoader(_template)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    alerts = {name: [show(packet) for packet in packets] for name, packets in passed.items()}
    plot = latency_plot(latencies) if len(latencies) > 1 else ""
    return environment.get_template("report.html").render(figures=figures, plot=plot, alerts=alerts)


def _template(name: str) -> str:
    return (resources.files("zads") / "templates" / name).read_text()


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text)
    partial.rename(path)


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


def show(packet: Packet) -> Shown:
    """An alert's words and pictures."""
    record = packet.read(["objectId", "candid", "candidate", "prv_candidates", *CUTOUTS])
    candidate = record["candidate"]
    band = BANDS.get(candidate["fid"], (str(candidate["fid"]), ""))[0]
    facts = (
        f"{band} = {candidate['magpsf']:.2f} ± {candidate['sigmapsf']:.2f} mag, "
        f"RA {candidate['ra']:.5f}°, Dec {candidate['dec']:+.5f}°"
    )
    pictures = []
    for name in CUTOUTS:
        if record[name] is not None:
            pictures.append((name.removeprefix("cutout"), _picture(record[name]["stampData"])))
    return Shown(f"{record['objectId']} ({record['candid']})", facts, _light_curve(record), pictures)


def _light_curve(record: Mapping[str, Any]) -> str:
    """Magnitudes against days before the alert; a triangle is an upper limit."""
    figure = Figure(figsize=(3.2, 1.7), layout="constrained")
    axes = figure.add_subplot()
    now = record["candidate"]["jd"]
    points = [*(record["prv_candidates"] or []), record["candidate"]]
    for number, (band, colour) in BANDS.items():
        mine = [point for point in points if point["fid"] == number]
        seen = [point for point in mine if point["magpsf"] is not None]
        limits = [point for point in mine if point["magpsf"] is None and point["diffmaglim"] is not None]
        days = [point["jd"] - now for point in seen]
        if seen:
            axes.errorbar(
                days,
                [p["magpsf"] for p in seen],
                [p["sigmapsf"] for p in seen],
                fmt="o",
                ms=3,
                color=colour,
                label=band,
            )
        axes.plot(
            [p["jd"] - now for p in limits], [p["diffmaglim"] for p in limits], "v", ms=3, color=colour, alpha=0.3
        )
    axes.invert_yaxis()
    axes.set_xlabel("days before the alert", fontsize=7)
    axes.set_ylabel("mag", fontsize=7)
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6, frameon=False)
    return _png(figure)


def _picture(stamp: bytes) -> str:
    """A cutout in grey between its 1st and 99.5th percentiles, as a PNG; empty when it cannot be read."""
    try:
        pixels = cutout(stamp)
    except ZadsError:
        return ""
    finite = pixels[np.isfinite(pixels)]
    if not finite.size:
        return ""
    low, high = np.percentile(finite, (1, 99.5))
    figure = Figure(figsize=(0.9, 0.9))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(pixels, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="nearest")
    axes.set_axis_off()
    return _png(figure)


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
