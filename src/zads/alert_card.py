"""An alert as a card on a page: its facts in words, its light curve and its cutouts."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import numpy as np
from matplotlib.figure import Figure

from zads import julian
from zads.cutouts import cutout
from zads.errors import ZadsError
from zads.packet import Packet
from zads.pages import INK, drawing, svg

#: ZTF's filters g, r and i in every plot: name, colour (legible on light and dark), shape.
BANDS = {1: ("g", "#2a7f3f", "o"), 2: ("r", "#c0392b", "s"), 3: ("i", "#8e5b2c", "D")}
CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
_POINT = ("jd", "fid", "magpsf", "sigmapsf", "diffmaglim")
#: All that a card reads of an alert; a schema need not have every one of the scores.
FIELDS = (
    "objectId", "candid", "candidate.ra", "candidate.dec", "candidate.drb", "candidate.rb",
    *(f"{record}.{name}" for record in ("candidate", "prv_candidates") for name in _POINT),
    *(f"{name}.stampData" for name in CUTOUTS),
)  # fmt: skip
#: The side of a cutout's pixel. A cutout is a piece of the difference image's quadrant, not rotated or resampled: in 20
#: quadrants the positions of candidates (ra, dec, xpos, ypos) give 1.011 to 1.014 arcsec, north along -y and east along
#: -x within 1.2 degrees.
PIXEL_ARCSEC = 1.01
#: Where people look up an object of the survey; `{object}` is its name. An inventory's `object_page` replaces it.
OBJECT_PAGE = "https://alerce.online/object/{object}"
#: An image in a page does not inherit the page's colours, so it follows the reader's colour scheme itself.
_IMAGE_STYLE = "svg{color:#1d2733}@media screen and (prefers-color-scheme:dark){svg{color:#dfe6ee}}"


@dataclass(frozen=True)
class AlertCard:
    """What a page shows of an alert; images are data addresses.

    ``address`` is the object's page or "", ``facts`` are (name, value), ``cutouts`` (kind, size on the sky, image).
    """

    object_id: str
    candid: int
    address: str
    facts: list[tuple[str, str]]
    light_curve: str
    cutouts: list[tuple[str, str, str]]
    note: str = ""

    @classmethod
    def of(cls, packet: Packet, note: str = "", object_page: str = "") -> AlertCard:
        """The card of a packet, with a note, and a link if there is a template of object pages (`OBJECT_PAGE`).

        Raises ZadsError if ``object_page`` is not a web address.
        """
        record = packet.read(packet.having(FIELDS))
        candidate = record["candidate"]
        band = BANDS.get(candidate["fid"], (str(candidate["fid"]),))[0]
        facts = [
            ("time", utc(candidate["jd"])),
            (band, f"{candidate['magpsf']:.2f} ± {candidate['sigmapsf']:.2f} mag"),
            ("RA", f"{candidate['ra']:.5f}°"),
            ("Dec", f"{candidate['dec']:+.5f}°"),
            *_scores(candidate),
        ]
        images = [
            (name.removeprefix("cutout"), *drawn)
            for name in CUTOUTS
            if record[name] is not None and (drawn := cutout_image(record[name]["stampData"])) is not None
        ]
        identity = record["objectId"], record["candid"], object_address(object_page, record["objectId"])
        return cls(*identity, facts, light_curve(record), images, note)


def _scores(candidate: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The score of real against bogus: the deep network's, or the older one."""
    for name in ("drb", "rb"):
        if (score := candidate.get(name)) is not None:
            return [(name, f"{score:.2f}")]
    return []


def object_address(template: str, object_id: str) -> str:
    """The address of an object's page, "" without a template. Raises ZadsError if that is not a web address."""
    if not template:
        return ""
    if not template.startswith(("https://", "http://")) or "{object}" not in template:
        hint = "as in https://www.example.org/object/{object}"
        raise ZadsError(f"object_page is {template!r}: no web address with {{object}} in it", hint=hint)
    return template.replace("{object}", quote(object_id, safe=""))


def utc(jd: float) -> str:
    """A Julian date (UTC) as year, month, day and time to the second; "" outside of the years 1 to 9999."""
    try:
        found = datetime.fromtimestamp(round(julian.unix_seconds(jd)), UTC)
    except (OverflowError, ValueError, OSError):
        return ""
    return f"{found:%Y-%m-%d %H:%M:%S} UTC"


def light_curve(record: Mapping[str, Any]) -> str:
    """Magnitudes of the difference against days before the alert, as an SVG; a triangle is an upper limit.

    Reads candidate and prv_candidates: .jd .fid .magpsf .sigmapsf .diffmaglim.
    """
    with drawing():
        figure = Figure(figsize=(3.2, 1.8), layout="constrained")
        axes = figure.add_subplot()
        now = record["candidate"]["jd"]
        points = [*(record["prv_candidates"] or []), record["candidate"]]
        has_limits = False
        for fid, (band, colour, shape) in BANDS.items():
            in_band = [point for point in points if point["fid"] == fid]
            seen = [point for point in in_band if point["magpsf"] is not None]
            limits = [point for point in in_band if point["magpsf"] is None and point["diffmaglim"] is not None]
            if seen:
                axes.errorbar(
                    [point["jd"] - now for point in seen], [point["magpsf"] for point in seen],
                    [point["sigmapsf"] for point in seen], fmt=shape, ms=3, color=colour, label=band,
                )  # fmt: skip
            days = [point["jd"] - now for point in limits]
            axes.plot(days, [point["diffmaglim"] for point in limits], "v", ms=3, color=colour, alpha=0.7)
            has_limits = has_limits or bool(limits)
        if has_limits:
            axes.plot([], [], "v", ms=3, color=INK, alpha=0.7, label="upper limit")
        axes.invert_yaxis()
        axes.set_xlabel("days before the alert", fontsize=8)
        axes.set_ylabel("mag", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=7, frameon=False, borderpad=0.2, handletextpad=0.2)
        return _data("image/svg+xml", svg(figure, _IMAGE_STYLE).encode())


def cutout_image(stamp: bytes) -> tuple[str, str] | None:
    """A cutout's size on the sky, and a PNG in grey between its 1st and 99.5th percentiles; None if it is unreadable.

    North is up and east left (see PIXEL_ARCSEC): the first row of pixels is the north.
    """
    try:
        pixels = cutout(stamp)
    except ZadsError:
        return None
    finite = pixels[np.isfinite(pixels)]
    if not finite.size:
        return None
    low, high = np.percentile(finite, (1, 99.5))
    figure = Figure(figsize=(0.9, 0.9))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(pixels, cmap="gray", vmin=low, vmax=high, origin="upper", interpolation="nearest")
    axes.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, transparent=True)
    sides = sorted({round(side * PIXEL_ARCSEC) for side in pixels.shape})
    return " × ".join(f"{side}″" for side in sides), _data("image/png", buffer.getvalue())


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
