"""HTML pages that need nothing else: templates of this package, and an alert's pictures drawn into the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from urllib.parse import quote

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from zads.errors import ZadsError
from zads.packet import Packet, cutout

mpl.use("Agg")
#: ZTF's filters g, r and i in every plot: name, colour (legible on light and dark), shape.
BANDS = {1: ("g", "#2a7f3f", "o"), 2: ("r", "#c0392b", "s"), 3: ("i", "#8e5b2c", "D")}
CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
#: Of a stamp's pixel. Stamps are pieces of the difference image's quadrant as it is: of 20 quadrants the positions of
#: candidates (ra, dec, xpos, ypos) give 1.011 to 1.014 arcsec, north along -y and east along -x within 1.2 degrees.
PIXEL_ARCSEC = 1.01
#: Where people look an object of the survey up; `{object}` is its name. An inventory's `object_page` replaces it.
OBJECT_PAGE = "https://alerce.online/object/{object}"
#: Stands for the page's own colour of text while a plot is drawn, see `drawing`.
INK = "#010203"


@dataclass(frozen=True)
class Shown:
    """An alert on a page: words about it, and its pictures as data addresses."""

    object_id: str
    candid: int
    address: str  # of the object's page, or ""
    facts: list[tuple[str, str]]
    light_curve: str
    cutouts: list[tuple[str, str, str]]  # which, its size on the sky, the picture
    note: str = ""


def render(template: str, **values: Any) -> str:
    """A page as HTML text; whatever comes from outside is escaped."""
    return environment().get_template(template).render(**values)


def environment() -> jinja2.Environment:
    """What renders this package's templates and those that include them."""
    loader = jinja2.FunctionLoader(_template)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def _template(name: str) -> str:
    return (resources.files("zads") / "templates" / name).read_text()


def address(template: str, object_id: str) -> str:
    """The address of an object's page; "" if there is no template. Raises ZadsError for one that is no web address."""
    if not template:
        return ""
    if not template.startswith(("https://", "http://")) or "{object}" not in template:
        hint = "as in https://www.example.org/object/{object}"
        raise ZadsError(f"object_page is {template!r}: no web address with {{object}} in it", hint=hint)
    return template.replace("{object}", quote(object_id, safe=""))


def moment(jd: float) -> str:
    """A Julian date (UTC) to the second, as people read it; "" if it is no date of theirs."""
    try:
        found = datetime.fromtimestamp(round((jd - 2440587.5) * 86400), UTC)
    except (OverflowError, ValueError, OSError):
        return ""
    return f"{found:%Y-%m-%d %H:%M:%S} UTC"


def show(packet: Packet, note: str = "", object_page: str = "") -> Shown:
    """An alert's words and pictures; a note of what else there is to say, and the template of its object's address."""
    record = packet.read(["objectId", "candid", "candidate", "prv_candidates", *CUTOUTS])
    candidate = record["candidate"]
    band = BANDS.get(candidate["fid"], (str(candidate["fid"]),))[0]
    facts = [
        ("time", moment(candidate["jd"])),
        (band, f"{candidate['magpsf']:.2f} ± {candidate['sigmapsf']:.2f} mag"),
        ("RA", f"{candidate['ra']:.5f}°"),
        ("Dec", f"{candidate['dec']:+.5f}°"),
        *_scores(candidate),
    ]
    pictures = [
        (name.removeprefix("cutout"), *shown)
        for name in CUTOUTS
        if record[name] is not None and (shown := picture(record[name]["stampData"])) is not None
    ]
    identity = record["objectId"], record["candid"], address(object_page, record["objectId"])
    return Shown(*identity, facts, light_curve(record), pictures, note)


def _scores(candidate: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The deep network's score of real against bogus, or the older one."""
    for name in ("drb", "rb"):
        if (score := candidate.get(name)) is not None:
            return [(name, f"{score:.2f}")]
    return []


def light_curve(record: Mapping[str, Any]) -> str:
    """Magnitudes of the difference against days before the alert, as an SVG; a triangle is an upper limit.

    Reads candidate and prv_candidates: .jd .fid .magpsf .sigmapsf .diffmaglim.
    """
    with drawing():
        figure = Figure(figsize=(3.2, 1.8), layout="constrained")
        axes = figure.add_subplot()
        now = record["candidate"]["jd"]
        points = [*(record["prv_candidates"] or []), record["candidate"]]
        limited = False
        for number, (band, colour, shape) in BANDS.items():
            mine = [point for point in points if point["fid"] == number]
            seen = [point for point in mine if point["magpsf"] is not None]
            limits = [point for point in mine if point["magpsf"] is None and point["diffmaglim"] is not None]
            if seen:
                axes.errorbar(
                    [point["jd"] - now for point in seen], [point["magpsf"] for point in seen],
                    [point["sigmapsf"] for point in seen], fmt=shape, ms=3, color=colour, label=band,
                )  # fmt: skip
            days = [point["jd"] - now for point in limits]
            axes.plot(days, [point["diffmaglim"] for point in limits], "v", ms=3, color=colour, alpha=0.7)
            limited = limited or bool(limits)
        if limited:
            axes.plot([], [], "v", ms=3, color=INK, alpha=0.7, label="upper limit")
        axes.invert_yaxis()
        axes.set_xlabel("days before the alert", fontsize=8)
        axes.set_ylabel("mag", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=7, frameon=False, borderpad=0.2, handletextpad=0.2)
        return _data("image/svg+xml", svg(figure, _PICTURE_STYLE).encode())


def picture(stamp: bytes) -> tuple[str, str] | None:
    """A cutout's size on the sky, and it in grey between its 1st and 99.5th percentiles as a PNG; None if unreadable.

    North is up and east left (see PIXEL_ARCSEC): the first row of the stamp is its north.
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


def drawing() -> AbstractContextManager[None]:
    """Settings of a plot that is to become an SVG in the page's own colours."""
    context: AbstractContextManager[None] = mpl.rc_context(
        {
            "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "grid.color": INK,
            "xtick.color": INK, "ytick.color": INK, "svg.hashsalt": "zads", "svg.fonttype": "none",
        }
    )  # fmt: skip
    return context


def svg(figure: Figure, style: str = "") -> str:
    """A figure as SVG, without background; text and axes have the colour of the text around it."""
    buffer = io.StringIO()
    # Without metadata: its vocabulary is named by addresses, and the page should name none.
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return text.replace(">", f"><style>{style}</style>", 1) if style else text


#: A picture is a document of its own: the page's colours do not reach it, the reader's scheme does.
_PICTURE_STYLE = "svg{color:#1d2733}@media screen and (prefers-color-scheme:dark){svg{color:#dfe6ee}}"


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
