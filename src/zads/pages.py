"""HTML pages that need nothing else: templates of this package, and an alert's pictures drawn into the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from zads.errors import ZadsError
from zads.packet import Packet, cutout

mpl.use("Agg")
#: Colours of ZTF's filters g, r and i in every plot.
BANDS = {1: ("g", "#2a7f3f"), 2: ("r", "#c0392b"), 3: ("i", "#8e5b2c")}
CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


@dataclass(frozen=True)
class Shown:
    """An alert on a page: words about it, and its pictures as data addresses."""

    title: str
    facts: str
    light_curve: str
    cutouts: list[tuple[str, str]]
    note: str = ""


def render(template: str, **values: Any) -> str:
    """A page as HTML text; whatever comes from outside is escaped."""
    loader = jinja2.FunctionLoader(_template)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template(template).render(**values)


def _template(name: str) -> str:
    return (resources.files("zads") / "templates" / name).read_text()


def show(packet: Packet, note: str = "") -> Shown:
    """An alert's words and pictures; a note of what else there is to say."""
    record = packet.read(["objectId", "candid", "candidate", "prv_candidates", *CUTOUTS])
    candidate = record["candidate"]
    band = BANDS.get(candidate["fid"], (str(candidate["fid"]), ""))[0]
    facts = (
        f"{band} = {candidate['magpsf']:.2f} ± {candidate['sigmapsf']:.2f} mag, "
        f"RA {candidate['ra']:.5f}°, Dec {candidate['dec']:+.5f}°"
    )
    pictures = [
        (name.removeprefix("cutout"), picture(record[name]["stampData"]))
        for name in CUTOUTS
        if record[name] is not None
    ]
    return Shown(f"{record['objectId']} ({record['candid']})", facts, light_curve(record), pictures, note)


def light_curve(record: Mapping[str, Any]) -> str:
    """Magnitudes of the difference against days before the alert, as a PNG; a triangle is an upper limit.

    Reads candidate and prv_candidates: .jd .fid .magpsf .sigmapsf .diffmaglim.
    """
    figure = Figure(figsize=(3.2, 1.7), layout="constrained")
    axes = figure.add_subplot()
    now = record["candidate"]["jd"]
    points = [*(record["prv_candidates"] or []), record["candidate"]]
    for number, (band, colour) in BANDS.items():
        mine = [point for point in points if point["fid"] == number]
        seen = [point for point in mine if point["magpsf"] is not None]
        limits = [point for point in mine if point["magpsf"] is None and point["diffmaglim"] is not None]
        if seen:
            axes.errorbar(
                [point["jd"] - now for point in seen], [point["magpsf"] for point in seen],
                [point["sigmapsf"] for point in seen], fmt="o", ms=3, color=colour, label=band,
            )  # fmt: skip
        days = [point["jd"] - now for point in limits]
        axes.plot(days, [point["diffmaglim"] for point in limits], "v", ms=3, color=colour, alpha=0.3)
    axes.invert_yaxis()
    axes.set_xlabel("days before the alert", fontsize=7)
    axes.set_ylabel("mag", fontsize=7)
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6, frameon=False)
    return _png(figure)


def picture(stamp: bytes) -> str:
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
